//! Memories of processes that have ended, for the next ones that begin as they did.
//!
//! To give a memory back and to have another one made is most of what a short process costs: each page is taken, cleared, accounted for and mapped by the host at a fault of its own, and
//! giving them back interrupts the other processors. A few memories are kept instead, mappings and all, by what they began as: a program, or a frozen process. The next one takes such a
//! memory, and only the pages that the one before has written are made what they were.
//!
//! Only where the host tells which pages these are (`PAGEMAP_SCAN`).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::known::union;
use crate::space::{GUARD, Memory, SPAN};
use crate::sys;

/// Most memories of one beginning.
const KEPT: usize = 2;
/// Most bytes that one has written; what is beyond is given back.
const BYTES_MAX: usize = 2 << 20;
/// Most bytes that all of this host process have written.
const TOTAL_MAX: usize = 16 << 20;

/// False once the host has not told what was written: it never will.
static TOLD: AtomicBool = AtomicBool::new(true);
/// Bytes that all have written.
static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// The memories of those that began as one.
#[derive(Default)]
pub(crate) struct Spares(Mutex<Vec<Spare>>);

/// A memory that nobody uses, as its last process left it, without segments.
pub(crate) struct Spare {
    pub(crate) memory: Memory,
    /// Pages that are not what they were: places in the reservation.
    pub(crate) written: Vec<Range<u64>>,
    _counted: Counted,
}

/// Counts in [`TOTAL`].
struct Counted(usize);

impl Counted {
    fn new(bytes: usize) -> Self {
        TOTAL.fetch_add(bytes, Ordering::Relaxed);
        Self(bytes)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        TOTAL.fetch_sub(self.0, Ordering::Relaxed);
    }
}

impl Spares {
    /// True if a memory would be kept now.
    pub(crate) fn have_room(&self) -> bool {
        TOLD.load(Ordering::Relaxed)
            && TOTAL.load(Ordering::Relaxed) < TOTAL_MAX
            && self.list().len() < KEPT
    }

    /// Keeps a memory whose process has ended, if there is room.
    pub(crate) fn keep(&self, memory: Memory) {
        if let Some(spare) = Spare::of(memory) {
            let mut list = self.list();
            if list.len() < KEPT {
                list.push(spare);
            }
        }
    }

    /// The same for those that begin as these, but for pages that are others now: from and to, in the guest's memory.
    pub(crate) fn inherited(self, changed: impl Iterator<Item = (u64, u64)>) -> Self {
        let list = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        if list.is_empty() {
            return Self::default();
        }
        let page = sys::page_size() as u64;
        let place = |at: u64| Memory::offset(0) as u64 + at;
        let changed: Vec<_> = changed
            .map(|(from, to)| place(from / page * page)..place(to.next_multiple_of(page)))
            .collect();
        let heirs = list
            .into_iter()
            .filter_map(|spare| spare.inherited(&changed));
        Self(Mutex::new(heirs.collect()))
    }

    /// One of them.
    pub(crate) fn take(&self) -> Option<Spare> {
        self.list().pop()
    }

    fn list(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spare {
    /// `None` if the host does not tell what was written.
    fn of(memory: Memory) -> Option<Self> {
        let (mut written, mut beyond) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let start = memory.start().addr();
        let told = sys::private_pages(start + GUARD, SPAN - GUARD, |from, to| {
            let kept = (to - from).min(BYTES_MAX - bytes);
            bytes += kept;
            let (from, cut, to) = (from - start, from - start + kept, to - start);
            if from < cut {
                written.push(from as u64..cut as u64);
            }
            if cut < to {
                beyond.push((cut, to - cut));
            }
        });
        if !told {
            TOLD.store(false, Ordering::Relaxed);
            return None;
        }
        // What is given back becomes what the mappings say.
        if memory.is_inherited && !beyond.is_empty() {
            return None;
        }
        for (offset, len) in beyond {
            memory.reservation().discard(offset, len).ok()?;
        }
        Some(Self {
            memory,
            written,
            _counted: Counted::new(bytes),
        })
    }

    fn inherited(self, changed: &[Range<u64>]) -> Option<Self> {
        let Self {
            mut memory,
            written,
            ..
        } = self;
        memory.is_inherited = true;
        let written = union(written, changed.to_vec());
        let bytes: u64 = written.iter().map(|run| run.end - run.start).sum();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        (bytes <= BYTES_MAX).then(|| Self {
            memory,
            written,
            _counted: Counted::new(bytes),
        })
    }
}
