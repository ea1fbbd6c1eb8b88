//! Shared memory: a memory object of the host that several spaces map.
//!
//! The segments of a copied kernel begin as *sole* ones: while only one process of the copy runs, it maps them copy-on-write from what they are copies of, and nothing
//! is copied but what it writes. When a second process is to run, [`Segment::share`] makes an object of them. The kernel sees to it that the
//! first one stands still then.

use std::any::Any;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::image::{BlobWriter, SaveError};
use pglite_oxide_kernel::memory::Segment;

use crate::known::Known;
use crate::layer::{Found, Layer};
use crate::saved;
use crate::sys::{self, Reservation};
use crate::watch::Watch;

/// Layers beyond this are made one.
const LAYERS_MAX: usize = 4;

/// A segment.
pub struct MemorySegment {
    id: u64,
    len: AtomicU64,
    /// False while nobody can have written since it was last copied.
    touched: AtomicBool,
    state: Mutex<State>,
}

enum State {
    /// What everybody maps, what it was when it began or was last copied, and what was written since.
    Shared {
        file: Arc<File>,
        last: Last,
        watch: Watch,
    },
    /// Of a copy in which only one process runs, while `sole` says so.
    Sole {
        sole: Arc<AtomicBool>,
        layers: Vec<Arc<Layer>>,
        mapped: Option<Mapped>,
    },
}

/// What an object was.
enum Last {
    /// When it began; to be looked at when it is copied.
    Began(Vec<Arc<Layer>>),
    Copied(Known),
}

/// Where the one process has it, whole.
#[derive(Clone, Copy)]
struct Mapped {
    start: *mut u8,
    len: usize,
}

// SAFETY: the address is used only while the process stands still, under the state's lock.
unsafe impl Send for Mapped {}

impl State {
    fn shared(file: Arc<File>) -> Self {
        Self::Shared {
            file,
            last: Last::Began(Vec::new()),
            watch: Watch::default(),
        }
    }
}

impl MemorySegment {
    /// `len` zero bytes.
    pub fn new(len: u64) -> Result<Self, Errno> {
        let file = sys::memory_object(c"pglite-shared", len)?;
        Ok(Self::with(len, State::shared(Arc::new(file))))
    }

    fn with(len: u64, state: State) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            len: AtomicU64::new(len),
            touched: AtomicBool::new(true),
            state: Mutex::new(state),
        }
    }

    /// Somebody who maps it is going to run, or wrote.
    pub(crate) fn touch(&self) {
        self.touched.store(true, Ordering::SeqCst);
    }

    /// One of a kernel in which only one process runs while `sole` says so.
    pub(crate) fn of_layers(len: u64, layers: Vec<Arc<Layer>>, sole: &Arc<AtomicBool>) -> Self {
        let sole = Arc::clone(sole);
        let state = State::Sole {
            sole,
            layers,
            mapped: None,
        };
        Self::with(len, state)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps `len` bytes from `offset` at `at` of a space's reservation.
    pub(crate) fn map_into(
        &self,
        reservation: &Reservation,
        at: usize,
        len: usize,
        offset: u64,
    ) -> Result<(), Errno> {
        self.touch();
        let mut state = self.state();
        if let State::Sole {
            sole,
            layers,
            mapped: mapped @ None,
        } = &mut *state
            && sole.load(Ordering::SeqCst)
            && offset == 0
            && len as u64 >= self.len()
        {
            reservation.map_zero(at, len)?;
            for layer in layers {
                layer.map_into(reservation, at, (0, len as u64))?;
            }
            *mapped = Some(Mapped {
                // SAFETY: inside the reservation, as the mapping just made.
                start: unsafe { reservation.start().as_ptr().add(at) },
                len,
            });
            return Ok(());
        }
        let file = self.object(&mut state)?;
        reservation.map_file(at, len, &file, offset, true)?;
        if let State::Shared { watch, .. } = &mut *state {
            watch.add(reservation.start().addr().get() + at, len, offset);
        }
        Ok(())
    }

    /// A space that has it in this range is going away, or maps something else there.
    pub(crate) fn unmapped(&self, range: &Range<usize>) {
        match &mut *self.state() {
            State::Sole { mapped, .. } => {
                if mapped.is_some_and(|mapped| mapped.start.addr() == range.start) {
                    *mapped = None;
                }
            }
            State::Shared { watch, .. } => watch.remove(range),
        }
    }

    /// The object of the host; made if there is none yet.
    fn object(&self, state: &mut State) -> Result<Arc<File>, Errno> {
        let (layers, mapped) = match state {
            State::Shared { file, .. } => return Ok(Arc::clone(file)),
            State::Sole { layers, mapped, .. } => (layers, *mapped),
        };
        let file = sys::memory_object(c"pglite-shared", self.len())?;
        for layer in layers.iter() {
            layer.copy_to(&file)?;
        }
        if let Some(mapped) = mapped {
            let found = mapped.dirty(self.len());
            for &(start, len) in found.runs() {
                file.write_all_at(mapped.bytes(start, len), start)?;
            }
            // SAFETY: the mapping is this segment's, in a space that is there (else `unmapped` would have been called), and its process stands still.
            unsafe { sys::replace_shared(mapped.start, mapped.len, &file)? };
        }
        let file = Arc::new(file);
        let last = Last::Began(std::mem::take(layers));
        let mut watch = Watch::default();
        if let Some(mapped) = mapped {
            watch.add(mapped.start.addr(), mapped.len, 0);
        }
        *state = State::Shared {
            file: Arc::clone(&file),
            last,
            watch,
        };
        Ok(file)
    }
}

impl Mapped {
    /// The pages below `len` that the process has written; all, if the host cannot tell.
    fn dirty(&self, len: u64) -> Found {
        let page = sys::page_size();
        let len = usize::try_from(len)
            .unwrap_or(self.len)
            .min(self.len)
            .next_multiple_of(page);
        let mut found = Found::new();
        if !sys::dirty_runs(self.start, len, |start, len| {
            found.add(start as u64, len as u64);
        }) {
            found.add(0, len as u64);
        }
        found
    }

    fn bytes(&self, start: u64, len: u64) -> &[u8] {
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(self.len);
        // SAFETY: clamped to the mapping; the process that writes there stands still.
        unsafe {
            std::slice::from_raw_parts(self.start.add(at(start)), at(start + len) - at(start))
        }
    }
}

/// The contents of an object as layers: those of the last copy if it was not `touched` since.
fn copied(
    file: &File,
    len: u64,
    last: &mut Last,
    watch: &mut Watch,
    touched: bool,
) -> Result<Vec<Arc<Layer>>, Errno> {
    let began = match last {
        Last::Copied(known) if known.len() == len && !touched => return Ok(known.layers()),
        Last::Copied(known) if known.len() == len => return known.copy(file, Some(watch)),
        Last::Copied(_) => Vec::new(),
        Last::Began(layers) => std::mem::take(layers),
    };
    let mut known = Known::of(file, len, began)?;
    let layers = known.copy(file, None)?;
    *last = Last::Copied(known);
    Ok(layers)
}

impl Segment for MemorySegment {
    fn id(&self) -> u64 {
        self.id
    }

    fn len(&self) -> u64 {
        self.len.load(Ordering::SeqCst)
    }

    fn resize(&self, len: u64) -> Result<(), Errno> {
        let mut state = self.state();
        let file = self.object(&mut state)?;
        file.set_len(len)?;
        // What is cut off and grown again is zero: not what it was copied as.
        if let State::Shared { last, watch, .. } = &mut *state {
            *last = Last::Began(Vec::new());
            watch.lose();
        }
        self.len.store(len, Ordering::SeqCst);
        Ok(())
    }

    fn duplicate(&self, sole: &Arc<AtomicBool>) -> Result<Arc<dyn Segment>, Errno> {
        let mut state = self.state();
        // Whoever maps it stands still until the copy is made. If that fails, it is looked at again.
        let touched = self.touched.load(Ordering::SeqCst);
        let mut layers = match &mut *state {
            State::Shared { file, last, watch } => {
                let layers = copied(file, self.len(), last, watch, touched)?;
                self.touched.store(false, Ordering::SeqCst);
                layers
            }
            State::Sole { layers, .. } => layers.clone(),
        };
        if let State::Sole {
            mapped: Some(mapped),
            ..
        } = &*state
        {
            let found = mapped.dirty(self.len());
            if layers.len() < LAYERS_MAX {
                let layer = Layer::write(&found, |start, len| mapped.bytes(start, len))?;
                if !layer.is_empty() {
                    layers.push(Arc::new(layer));
                }
            } else {
                let file = self.object(&mut state)?;
                layers = Known::of(&file, self.len(), Vec::new())?.copy(&file, None)?;
            }
        }
        Ok(Arc::new(Self::of_layers(self.len(), layers, sole)))
    }

    fn save(&self, blobs: &mut BlobWriter) -> Result<Vec<u8>, SaveError> {
        match &*self.state() {
            State::Sole {
                layers,
                mapped: None,
                ..
            } => saved::save_segment(self.len(), layers, blobs),
            _ => Err(SaveError::unsupported("shared memory that is in use")),
        }
    }

    fn share(&self) -> Result<(), Errno> {
        self.object(&mut self.state()).map(drop)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        Ok(self.object(&mut self.state())?.read_at(out, offset)?)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        self.touch();
        let room = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut state = self.state();
        let file = self.object(&mut state)?;
        if let State::Shared { watch, .. } = &mut *state {
            watch.lose();
        }
        Ok(file.write_at(&bytes[..bytes.len().min(room)], offset)?)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU8;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_segment_is_compared_again_once_it_was_touched() {
        let page = sys::page_size();
        let segment = MemorySegment::new(4 * page as u64).unwrap();
        let copy = || {
            let mut byte = [0];
            let copy = segment.duplicate(&Arc::new(AtomicBool::new(true))).unwrap();
            copy.read_at(0, &mut byte).unwrap();
            byte[0]
        };
        segment.write_at(0, &[1]).unwrap();
        assert_eq!(copy(), 1);
        segment.write_at(0, &[2]).unwrap();
        assert_eq!(copy(), 2);
        // Behind the segment's back: only who maps it can do this, and touches it.
        let file = segment.object(&mut segment.state()).unwrap();
        file.write_all_at(&[3], 0).unwrap();
        assert_eq!(copy(), 2);
        let space = Reservation::new(4 * page).unwrap();
        segment.map_into(&space, 0, 4 * page, 0).unwrap();
        assert_eq!(copy(), 3);
    }

    /// Pages of the segment in the test below.
    const PAGES: usize = 64;

    /// What happens between two copies.
    #[derive(Clone, Debug)]
    enum Step {
        /// By a thread each, in the mapping of this number: pages and bytes.
        Write(Vec<(usize, Vec<(usize, u8)>)>),
        /// Looking brings pages into a mapping.
        Look(usize, usize),
        Map,
        Unmap(usize),
        /// Something else is mapped over the first half.
        Cut(usize),
        /// By the kernel.
        File(usize, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let writes = || prop::collection::vec((0..PAGES, any::<u8>()), 0..6);
        prop_oneof![
            4 => prop::collection::vec((0..8_usize, writes()), 1..4).prop_map(Step::Write),
            2 => (0..8_usize, 0..PAGES).prop_map(|(map, page)| Step::Look(map, page)),
            2 => Just(Step::Map),
            2 => (0..8_usize).prop_map(Step::Unmap),
            1 => (0..8_usize).prop_map(Step::Cut),
            1 => (0..PAGES, any::<u8>()).prop_map(|(page, byte)| Step::File(page, byte)),
        ]
    }

    struct Map(Reservation);

    impl Map {
        fn of(segment: &MemorySegment) -> Self {
            let len = PAGES * sys::page_size();
            let space = Reservation::new(len).unwrap();
            segment.map_into(&space, 0, len, 0).unwrap();
            Self(space)
        }

        fn byte(&self, page: usize) -> &AtomicU8 {
            // SAFETY: in the mapping, which everybody uses like this.
            unsafe { AtomicU8::from_ptr(self.0.start().as_ptr().add(page * sys::page_size() + 7)) }
        }

        fn range(&self) -> Range<usize> {
            let start = self.0.start().addr().get();
            start..start + self.0.size()
        }
    }

    fn whole(segment: &MemorySegment) -> Vec<u8> {
        let mut out = vec![0; PAGES * sys::page_size()];
        assert_eq!(segment.read_at(0, &mut out), Ok(out.len()));
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

        /// A write that the host's account of written pages lacks would be missing in a copy, and in all after it.
        #[test]
        fn copies_are_the_whole_whoever_wrote_in_between(
            rounds in prop::collection::vec(prop::collection::vec(step(), 0..5), 1..9),
        ) {
            let segment = MemorySegment::new((PAGES * sys::page_size()) as u64).unwrap();
            let mut maps = vec![Map::of(&segment)];
            for steps in rounds {
                segment.touch();
                for step in steps {
                    match step {
                        Step::Write(writers) => std::thread::scope(|scope| {
                            for (map, writes) in &writers {
                                let map = &maps[map % maps.len()];
                                scope.spawn(move || {
                                    for &(page, byte) in writes {
                                        map.byte(page).store(byte, Ordering::Relaxed);
                                    }
                                });
                            }
                        }),
                        Step::Look(map, page) => {
                            maps[map % maps.len()].byte(page).load(Ordering::Relaxed);
                        }
                        Step::Map => maps.push(Map::of(&segment)),
                        Step::Unmap(map) if maps.len() > 1 => {
                            let map = maps.swap_remove(map % maps.len());
                            segment.unmapped(&map.range());
                        }
                        Step::Unmap(_) => {}
                        Step::Cut(map) => {
                            let map = &maps[map % maps.len()];
                            let (start, half) = (map.range().start, map.0.size() / 2);
                            map.0.map_zero(0, half).unwrap();
                            segment.unmapped(&(start..start + half));
                        }
                        Step::File(page, byte) => {
                            segment.write_at((page * sys::page_size()) as u64, &[byte]).unwrap();
                        }
                    }
                }
                let copy = segment.duplicate(&Arc::new(AtomicBool::new(true))).unwrap();
                let copy = copy.as_any().downcast_ref::<MemorySegment>().unwrap();
                prop_assert!(whole(copy) == whole(&segment));
            }
        }
    }

    #[test]
    fn a_host_that_tells_of_writes_is_believed_from_the_second_copy_on() {
        let page = sys::page_size() as u64;
        let segment = MemorySegment::new(PAGES as u64 * page).unwrap();
        let (one, two) = (Map::of(&segment), Map::of(&segment));
        for number in 0..PAGES {
            one.byte(number).store(1, Ordering::Relaxed);
            two.byte(number).load(Ordering::Relaxed);
        }
        let copy = || drop(segment.duplicate(&Arc::new(AtomicBool::new(true))).unwrap());
        let written = |parts: &[Range<u64>]| match &mut *segment.state() {
            State::Shared { watch, .. } => {
                let written = watch.take(parts);
                watch.copied();
                written
            }
            State::Sole { .. } => unreachable!("it is mapped by two"),
        };
        copy();
        segment.touch();
        copy();
        let parts = [0..10 * page, 30 * page..60 * page];
        if !sys::watch(one.range().start, one.0.size()) {
            assert!(written(&parts).is_none());
            return;
        }
        one.byte(3).store(2, Ordering::Relaxed);
        two.byte(40).store(2, Ordering::Relaxed);
        two.byte(41).store(2, Ordering::Relaxed);
        two.byte(50).load(Ordering::Relaxed);
        let found = written(&parts).unwrap();
        assert_eq!(found, [3 * page..4 * page, 40 * page..42 * page]);
        assert_eq!(written(&parts).unwrap(), []);
        segment.unmapped(&one.range());
        assert!(
            written(&parts).is_none(),
            "what one wrote last is not known"
        );
    }
}
