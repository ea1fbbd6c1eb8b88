//! Small unmapped ranges whose memory is kept for the next mapping there.
//!
//! All processes of a kernel share one address space of the host. Giving memory back there interrupts every processor that runs a sibling, and taking it again costs a fault a
//! page; an allocator that maps and unmaps a few pages in every transaction would pay both each time. So small ranges stay as they are, and are
//! cleared when they are mapped again.

use std::collections::BTreeMap;

/// Longer ranges are given back: clearing them would cost more than faults do.
const RANGE_MAX: u32 = 256 << 10;
/// Most bytes kept in one process.
const TOTAL_MAX: u32 = 4 << 20;

/// The ranges, disjoint: start and end.
#[derive(Clone, Default)]
pub(super) struct Stale {
    ranges: BTreeMap<u32, u32>,
    bytes: u32,
}

impl Stale {
    /// Keeps a range that was just unmapped; false if it must be given back.
    pub(super) fn keep(&mut self, start: u32, end: u32) -> bool {
        let len = end - start;
        if len > RANGE_MAX || self.bytes + len > TOTAL_MAX {
            return false;
        }
        self.ranges.insert(start, end);
        self.bytes += len;
        true
    }

    /// The ranges.
    pub(super) fn ranges(&self) -> Vec<(u32, u32)> {
        self.ranges.iter().map(|(&from, &to)| (from, to)).collect()
    }

    /// Takes what is kept in `[start, end)` out and calls `clear(from, to)` for each piece.
    pub(super) fn take<E>(
        &mut self,
        start: u32,
        end: u32,
        mut clear: impl FnMut(u32, u32) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some((&from, &to)) = self.ranges.range(..end).next_back() {
            if to <= start {
                break;
            }
            self.ranges.remove(&from);
            if to > end {
                self.ranges.insert(end, to);
            }
            if from < start {
                self.ranges.insert(from, start);
            }
            let (from, to) = (from.max(start), to.min(end));
            self.bytes -= to - from;
            clear(from, to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(stale: &mut Stale, start: u32, end: u32) -> Vec<(u32, u32)> {
        let mut pieces = Vec::new();
        let outcome = stale.take(start, end, |from, to| {
            pieces.push((from, to));
            Ok::<(), ()>(())
        });
        outcome.unwrap();
        pieces
    }

    #[test]
    fn what_is_mapped_again_is_cleared_once_and_only_there() {
        let mut stale = Stale::default();
        assert!(stale.keep(0x1000, 0x3000) && stale.keep(0x5000, 0x6000));
        assert_eq!(
            taken(&mut stale, 0x2000, 0x5800),
            [(0x5000, 0x5800), (0x2000, 0x3000)]
        );
        assert_eq!(taken(&mut stale, 0x2000, 0x5800), []);
        assert_eq!(
            taken(&mut stale, 0, 0x10000),
            [(0x5800, 0x6000), (0x1000, 0x2000)]
        );
        assert_eq!(stale.bytes, 0);
    }

    #[test]
    fn much_is_given_back() {
        let mut stale = Stale::default();
        assert!(!stale.keep(0, RANGE_MAX + 4096));
        let pieces = TOTAL_MAX / RANGE_MAX;
        for n in 0..pieces {
            assert!(stale.keep(n * RANGE_MAX, (n + 1) * RANGE_MAX));
        }
        assert!(!stale.keep(pieces * RANGE_MAX, pieces * RANGE_MAX + 4096));
    }
}
