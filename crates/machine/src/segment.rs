//! Shared memory: a memory object of the host that several spaces map.
//!
//! The segments of a copied kernel begin as *sole* ones: while only one process of the copy runs, it maps them copy-on-write from what they are copies of, and nothing
//! is copied but what it writes. When a second process is to run, [`Segment::share`] makes an object of them. The kernel sees to it that the
//! first one stands still then.

use std::any::Any;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::memory::Segment;

use crate::layer::{Found, Layer};
use crate::sys::{self, Reservation};

/// Layers beyond this are made one.
const LAYERS_MAX: usize = 4;

/// A segment.
pub struct MemorySegment {
    id: u64,
    len: AtomicU64,
    state: Mutex<State>,
}

enum State {
    /// What everybody maps, and what it was when it was last copied.
    Shared {
        file: Arc<File>,
        last: Option<Known>,
    },
    /// Of a copy in which only one process runs, while `sole` says so.
    Sole {
        sole: Arc<AtomicBool>,
        layers: Vec<Arc<Layer>>,
        mapped: Option<Mapped>,
    },
}

/// Contents that layers hold, to be compared with.
struct Known {
    layers: Vec<Arc<Layer>>,
    /// The layers over each other.
    view: Reservation,
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
        Self::Shared { file, last: None }
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
            state: Mutex::new(state),
        }
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
        Ok(())
    }

    /// The space that mapped it at `start` is going away, or maps something else there.
    pub(crate) fn unmapped(&self, start: *const u8) {
        if let State::Sole { mapped, .. } = &mut *self.state()
            && mapped.is_some_and(|mapped| mapped.start.cast_const() == start)
        {
            *mapped = None;
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
        *state = State::shared(Arc::clone(&file));
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

/// The contents of an object as layers: those it was copied as before, with one more where it has changed.
fn copied(file: &File, len: u64, last: &mut Option<Known>) -> Result<Vec<Arc<Layer>>, Errno> {
    let known = last
        .take()
        .filter(|known| known.layers.len() < LAYERS_MAX && known.view.size() as u64 >= len);
    let layer = layer_of(file, len, known.as_ref().map(|known| &known.view))?;
    let mut layers = known.map_or_else(Vec::new, |known| known.layers);
    if !layer.is_empty() || layers.is_empty() {
        layers.push(Arc::new(layer));
    }
    let size = usize::try_from(len)
        .map_err(|_| Errno::ENOMEM)?
        .next_multiple_of(sys::page_size());
    if size > 0 {
        let view = Reservation::new(size)?;
        view.map_zero(0, size)?;
        for layer in &layers {
            layer.map_into(&view, 0, (0, size as u64))?;
        }
        let layers = layers.clone();
        *last = Some(Known { layers, view });
    }
    Ok(layers)
}

/// What a memory object holds, but for its holes and for what `known` shows at the same place.
fn layer_of(file: &File, len: u64, known: Option<&Reservation>) -> Result<Layer, Errno> {
    let view = sys::View::of(file, len)?;
    let mut found = Found::new();
    let page = sys::page_size() as u64;
    let same = |at: u64, bytes: &[u8]| {
        known.is_some_and(|known| {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            // SAFETY: the view is as long as the object, at least; nobody writes to it.
            let old = unsafe {
                std::slice::from_raw_parts(known.start().as_ptr().add(at).cast_const(), bytes.len())
            };
            old == bytes
        })
    };
    let mut at = 0;
    while let Some((start, end)) = sys::next_data(file, at)? {
        let end = end.min(len);
        if start >= end {
            break;
        }
        if known.is_none() {
            found.add(start, (end - start).next_multiple_of(page));
        } else {
            for at in (start..end).step_by(sys::page_size()) {
                if !same(at, view.bytes(at, end.min(at + page))) {
                    found.add(at, page);
                }
            }
        }
        at = end;
    }
    Layer::write(&found, |start, len| view.bytes(start, start + len))
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
        *state = State::shared(file);
        self.len.store(len, Ordering::SeqCst);
        Ok(())
    }

    fn duplicate(&self, sole: &Arc<AtomicBool>) -> Result<Arc<dyn Segment>, Errno> {
        let mut state = self.state();
        let mut layers = match &mut *state {
            State::Shared { file, last } => copied(file, self.len(), last)?,
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
                layers = vec![Arc::new(layer_of(&file, self.len(), None)?)];
            }
        }
        Ok(Arc::new(Self::with(
            self.len(),
            State::Sole {
                sole: Arc::clone(sole),
                layers,
                mapped: None,
            },
        )))
    }

    fn share(&self) -> Result<(), Errno> {
        self.object(&mut self.state()).map(drop)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        Ok(self.object(&mut self.state())?.read_at(out, offset)?)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let room = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        Ok(self
            .object(&mut self.state())?
            .write_at(&bytes[..bytes.len().min(room)], offset)?)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
