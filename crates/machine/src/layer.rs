//! Pieces of memory in files, from which others are mapped copy-on-write: what frozen processes and segments are made of.

use std::fs::File;
use std::os::unix::fs::FileExt;

use pglite_oxide_kernel::Errno;

use crate::sys::{self, Reservation};

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
    file: File,
    runs: Vec<Run>,
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

    /// What comes next is not joined with what was found before.
    pub(crate) fn separate(&mut self) {
        self.fixed = self.runs.len();
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
        Ok(Self { file, runs })
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
                &self.file,
                run.offset + (start - run.start),
                false,
            )?;
        }
        Ok(())
    }

    /// Writes it to a memory object at the places where it belongs.
    pub(crate) fn copy_to(&self, file: &File) -> Result<(), Errno> {
        let total = self.file.metadata()?.len();
        let view = sys::View::of(&self.file, total)?;
        for run in &self.runs {
            file.write_all_at(view.bytes(run.offset, run.offset + run.len), run.start)?;
        }
        Ok(())
    }
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
        found.separate();
        found.add(101 * page, 2 * page);
        assert_eq!(
            found.runs(),
            [(0, 4 * page), (100 * page, page), (101 * page, 2 * page)]
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
        let whole = sys::memory_object(c"test", 4 * page as u64).unwrap();
        layer.copy_to(&whole).unwrap();
        let mut out = [9];
        whole.read_exact_at(&mut out, 2 * page as u64).unwrap();
        assert_eq!(out, [2]);
    }
}
