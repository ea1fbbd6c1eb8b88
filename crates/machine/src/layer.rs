//! Pieces of memory in files, from which others are mapped copy-on-write: what frozen processes and segments are made of.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::image::{Blob, ImageBytes};

use crate::sys::{self, Reservation, View};

/// Clean pages between two runs of dirty ones that are rather copied than mapped apart.
const GAP_PAGES: u64 = 8;

/// Consecutive bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where they belong.
    pub(crate) start: u64,
    /// How many; whole pages.
    pub(crate) len: u64,
    /// Where they are in the layer's file.
    offset: u64,
}

/// What one copying found, as it was then.
pub(crate) struct Layer {
    /// Where it is, and from which byte on. Made from `packed` if it is not there yet.
    place: OnceLock<(File, u64)>,
    /// What the file is to hold, one after the other.
    packed: Vec<Blob>,
    /// The same as it is, if it is stored so: part of the running program, it may be.
    plain: Option<ImageBytes>,
    /// By their starts.
    runs: Vec<Run>,
    /// The file, if its bytes were asked for.
    view: OnceLock<View>,
}

/// Runs found one after the other; those with little between them become one.
pub(crate) struct Found {
    runs: Vec<(u64, u64)>,
    gap: u64,
    /// Runs before this one are not extended.
    fixed: usize,
}

impl Found {
    pub(crate) fn new() -> Self {
        Self {
            runs: Vec::new(),
            gap: GAP_PAGES * sys::page_size() as u64,
            fixed: 0,
        }
    }

    /// What comes next, from `start` on, is joined with what was found before only if nothing lies between.
    pub(crate) fn separate(&mut self, start: u64) {
        if self
            .runs
            .last()
            .is_some_and(|&(from, len)| from + len != start)
        {
            self.fixed = self.runs.len();
        }
    }

    pub(crate) fn add(&mut self, start: u64, len: u64) {
        match self.runs[self.fixed..].last_mut() {
            Some(last) if start - (last.0 + last.1) <= self.gap => last.1 = start + len - last.0,
            _ => self.runs.push((start, len)),
        }
    }

    pub(crate) fn runs(&self) -> &[(u64, u64)] {
        &self.runs
    }

    /// What any of these runs has.
    pub(crate) fn of<'a>(runs: impl Iterator<Item = &'a Run>) -> Self {
        Self::of_ranges(runs.map(|run| (run.start, run.len)).collect())
    }

    /// The same for starts and lengths.
    pub(crate) fn of_ranges(mut ranges: Vec<(u64, u64)>) -> Self {
        ranges.sort_unstable();
        let mut found = Self::new();
        let mut done = 0;
        for (start, len) in ranges {
            let (start, end) = (start.max(done), start + len);
            if start < end {
                found.add(start, end - start);
                done = end;
            }
        }
        found
    }
}

impl Layer {
    /// Copies what was found; `bytes(start, len)` shows it.
    pub(crate) fn write<'a>(
        found: &Found,
        bytes: impl Fn(u64, u64) -> &'a [u8],
    ) -> Result<Self, Errno> {
        let total: u64 = found.runs.iter().map(|&(_, len)| len).sum();
        let file = sys::memory_object(c"pglite-frozen", total)?;
        let mut runs = Vec::with_capacity(found.runs.len());
        let mut offset = 0;
        for &(start, len) in &found.runs {
            file.write_all_at(bytes(start, len), offset)?;
            runs.push(Run { start, len, offset });
            offset += len;
        }
        Ok(Self {
            place: OnceLock::from((file, 0)),
            packed: Vec::new(),
            plain: None,
            runs,
            view: OnceLock::new(),
        })
    }

    /// What an image holds: whole pages at these starts, of these lengths; the same in one piece, if the image has it so.
    pub(crate) fn packed(
        ranges: &[(u64, u64)],
        packed: Vec<Blob>,
        plain: Option<ImageBytes>,
    ) -> Self {
        let mut runs = Vec::with_capacity(ranges.len());
        let mut offset = 0;
        for &(start, len) in ranges {
            runs.push(Run { start, len, offset });
            offset += len;
        }
        Self {
            place: OnceLock::new(),
            packed,
            plain,
            runs,
            view: OnceLock::new(),
        }
    }

    /// The file, and where in it the layer begins.
    fn place(&self) -> Result<(&File, u64), Errno> {
        let place = match self.place.get() {
            Some(place) => place,
            // If two threads come here, one's work is thrown away.
            None => {
                let made = self.make()?;
                self.place.get_or_init(|| made)
            }
        };
        Ok((&place.0, place.1))
    }

    fn make(&self) -> Result<(File, u64), Errno> {
        if let Some(plain) = &self.plain
            && plain.is_in_memory()
            && let Ok(Some(place)) = plain.look(sys::place_in_file)
        {
            return Ok(place);
        }
        let file = sys::memory_object(c"pglite-frozen", self.len())?;
        let mut piece = Vec::new();
        let mut offset = 0;
        for blob in &self.packed {
            // Writing whole pages is cheaper than faults on a mapping, and a small buffer stays in the processor's cache.
            piece.resize(blob.len(), 0);
            blob.unpack_into(&mut piece).map_err(|_| Errno::EIO)?;
            file.write_all_at(&piece, offset)?;
            offset += piece.len() as u64;
        }
        Ok((file, 0))
    }

    fn view(&self) -> Result<&View, Errno> {
        if let Some(view) = self.view.get() {
            return Ok(view);
        }
        let (file, from) = self.place()?;
        let view = View::of(file, from, self.len())?;
        Ok(self.view.get_or_init(|| view))
    }

    /// What it has at `[start, start + len)`, if it has all of that.
    pub(crate) fn bytes(&self, start: u64, len: u64) -> Result<Option<&[u8]>, Errno> {
        let after = self.runs.partition_point(|run| run.start <= start);
        let Some(run) = after.checked_sub(1).map(|at| self.runs[at]) else {
            return Ok(None);
        };
        if start + len > run.start + run.len {
            return Ok(None);
        }
        let from = run.offset + (start - run.start);
        Ok(Some(self.view()?.bytes(from, from + len)))
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Bytes that it holds.
    pub(crate) fn len(&self) -> u64 {
        self.runs.iter().map(|run| run.len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// True if some of its runs are in the range.
    pub(crate) fn touches(&self, start: u64, end: u64) -> bool {
        self.runs
            .iter()
            .any(|run| run.start < end && start < run.start + run.len)
    }

    /// Maps it copy-on-write where its byte 0 belongs at `at` of the reservation, the part that lies in `[from, to)`.
    pub(crate) fn map_into(
        &self,
        reservation: &Reservation,
        at: usize,
        (from, to): (u64, u64),
    ) -> Result<(), Errno> {
        let (file, from_byte) = self.place()?;
        for run in &self.runs {
            let (start, end) = (run.start.max(from), (run.start + run.len).min(to));
            if start >= end {
                continue;
            }
            let place = usize::try_from(start - from).map_err(|_| Errno::EFAULT)?;
            let len = usize::try_from(end - start).map_err(|_| Errno::EFAULT)?;
            reservation.map_file(
                at + place,
                len,
                file,
                from_byte + run.offset + (start - run.start),
                false,
            )?;
        }
        Ok(())
    }

    /// Writes it to a memory object at the places where it belongs.
    pub(crate) fn copy_to(&self, file: &File) -> Result<(), Errno> {
        let view = self.view()?;
        for run in &self.runs {
            file.write_all_at(view.bytes(run.offset, run.offset + run.len), run.start)?;
        }
        Ok(())
    }
}

/// How many layers, from the lowest on, stay when there are too many and the others become one: the first, unless it is mostly hidden.
pub(crate) fn kept<'a>(layers: impl Iterator<Item = &'a Layer>) -> usize {
    let mut sizes = layers.map(Layer::len);
    let first = sizes.next().unwrap_or(0);
    usize::from(sizes.sum::<u64>() < first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_with_little_between_them_are_one() {
        let page = sys::page_size() as u64;
        let mut found = Found::new();
        found.add(0, page);
        found.add(3 * page, page);
        found.add(100 * page, page);
        found.separate(101 * page);
        found.add(101 * page, 2 * page);
        found.separate(104 * page);
        found.add(104 * page, page);
        assert_eq!(
            found.runs(),
            [(0, 4 * page), (100 * page, 3 * page), (104 * page, page)]
        );
    }

    #[test]
    fn layers_lie_over_each_other_and_writes_stay_private() {
        let page = sys::page_size();
        let bytes: Vec<u8> = [vec![1; page], vec![2; page]].concat();
        let mut found = Found::new();
        found.add(page as u64, 2 * page as u64);
        let layer = Layer::write(&found, |_, _| &bytes).unwrap();
        let memory = || {
            let reservation = Reservation::new(4 * page).unwrap();
            reservation.map_zero(0, 4 * page).unwrap();
            layer
                .map_into(&reservation, 0, (0, 4 * page as u64))
                .unwrap();
            reservation
        };
        let (one, two) = (memory(), memory());
        let at = |memory: &Reservation, page_number: usize| {
            // SAFETY: in the reservation, which is mapped.
            unsafe { memory.start().as_ptr().add(page_number * page) }
        };
        // SAFETY: mapped readable and writable, and nobody else knows these memories.
        unsafe {
            *at(&one, 1) = 7;
            assert_eq!(
                (*at(&one, 0), *at(&one, 1), *at(&one, 2), *at(&one, 3)),
                (0, 7, 2, 0)
            );
            assert_eq!(*at(&two, 1), 1);
        }
        assert_eq!(
            layer.bytes(2 * page as u64, 1).unwrap(),
            Some(&[2_u8][..]),
            "the layer itself does not change"
        );
        assert!(layer.bytes(0, 1).unwrap().is_none());
        assert!(
            layer
                .bytes(2 * page as u64, 2 * page as u64)
                .unwrap()
                .is_none()
        );
        let whole = sys::memory_object(c"test", 4 * page as u64).unwrap();
        layer.copy_to(&whole).unwrap();
        let mut out = [9];
        whole.read_exact_at(&mut out, 2 * page as u64).unwrap();
        assert_eq!(out, [2]);
    }
}
