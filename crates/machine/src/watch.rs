//! Which parts of a shared object were written since it was last copied, as far as the host tells ([`sys::take_written`]).
//!
//! Every write goes through a mapping of the object, which is watched, or is told of with [`Watch::lose`]. So what no watched mapping has written is what it was, unless something was lost:
//! a mapping that has gone took its account along, and a host may stop telling. Then all of the object has to be compared.

use std::ops::Range;

use crate::sys;

/// With more mappings, asking for each costs more than comparing.
const MAPPINGS_MAX: usize = 64;

/// A place in this process where the object is.
struct Mapping {
    start: usize,
    len: usize,
    /// Of the object's byte at `start`.
    offset: u64,
}

#[derive(Default, PartialEq)]
enum Account {
    /// Not begun: nobody has copied the object twice.
    #[default]
    None,
    /// All mappings are watched; true if nothing was lost.
    Kept(bool),
    /// The host cannot, or there are mappings that nobody watches.
    Impossible,
}

/// The mappings of one object.
#[derive(Default)]
pub(crate) struct Watch {
    mappings: Vec<Mapping>,
    account: Account,
}

impl Watch {
    /// It is mapped there from now on, shared. Nobody has used the mapping yet.
    pub(crate) fn add(&mut self, start: usize, len: usize, offset: u64) {
        let mapping = Mapping { start, len, offset };
        if matches!(self.account, Account::Kept(_)) && !mapping.watch() {
            self.account = Account::Impossible;
        }
        self.mappings.push(mapping);
    }

    /// Mappings in this range go away.
    pub(crate) fn remove(&mut self, range: &Range<usize>) {
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.mappings)
            .into_iter()
            .partition(|mapping| mapping.start < range.end && range.start < mapping.end());
        self.mappings = kept;
        if !gone.is_empty() {
            self.lose();
        }
        // What is left of one would have to be watched apart. PostgreSQL gives segments back as a whole.
        if gone
            .iter()
            .any(|mapping| mapping.start < range.start || range.end < mapping.end())
        {
            self.account = Account::Impossible;
        }
    }

    /// It was written in a way that no mapping knows of.
    pub(crate) fn lose(&mut self) {
        if let Account::Kept(whole) = &mut self.account {
            *whole = false;
        }
    }

    /// What may have been written in these parts of the object since this was last called, in order; `None` if any of it may have been. Nobody writes to it meanwhile. Until
    /// [`Self::copied`], everything counts as lost.
    pub(crate) fn take(&mut self, parts: &[Range<u64>]) -> Option<Vec<Range<u64>>> {
        if self.account == Account::Impossible || self.mappings.len() > MAPPINGS_MAX {
            self.account = Account::Impossible;
            return None;
        }
        let whole = match self.account {
            Account::Kept(whole) => whole,
            _ if self.mappings.iter().all(Mapping::watch) => false,
            _ => {
                self.account = Account::Impossible;
                return None;
            }
        };
        self.account = Account::Kept(false);
        let mut written = Vec::new();
        for mapping in &self.mappings {
            if !mapping.take(parts, &mut written) {
                self.account = Account::Impossible;
                return None;
            }
        }
        written.sort_unstable_by_key(|part| part.start);
        whole.then_some(written)
    }

    /// What [`Self::take`] told of was copied.
    pub(crate) fn copied(&mut self) {
        if let Account::Kept(whole) = &mut self.account {
            *whole = true;
        }
    }
}

impl Mapping {
    fn end(&self) -> usize {
        self.start + self.len
    }

    fn watch(&self) -> bool {
        sys::watch(self.start, self.len)
    }

    fn take(&self, parts: &[Range<u64>], written: &mut Vec<Range<u64>>) -> bool {
        let end = self.offset + self.len as u64;
        let page = sys::page_size() as u64;
        parts.iter().all(|part| {
            let from = part.start.max(self.offset);
            let to = part.end.next_multiple_of(page).min(end);
            let place = |at: u64| self.start + usize::try_from(at - self.offset).unwrap_or(0);
            from >= to
                || sys::take_written(place(from), place(to) - place(from), |from, to| {
                    let at = |address: usize| (address - self.start) as u64 + self.offset;
                    written.push(at(from)..at(to));
                })
        })
    }
}
