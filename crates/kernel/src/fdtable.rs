//! A process's descriptors.

use std::sync::Arc;

use crate::errno::Errno;
use crate::file::OpenFile;

/// Descriptors per process (`RLIMIT_NOFILE`).
pub const MAX_FDS: usize = 4096;

/// One descriptor.
#[derive(Clone)]
pub struct Descriptor {
    /// What it refers to.
    pub open: Arc<OpenFile>,
    /// `FD_CLOEXEC`.
    pub close_on_exec: bool,
}

/// The table: lowest free number first.
#[derive(Clone, Default)]
pub struct FdTable {
    slots: Vec<Option<Descriptor>>,
}

impl FdTable {
    /// The open file behind `fd`, or `EBADF`.
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        self.descriptor(fd)
            .map(|descriptor| Arc::clone(&descriptor.open))
    }

    /// The descriptor `fd`, or `EBADF`.
    pub fn descriptor(&self, fd: i32) -> Result<&Descriptor, Errno> {
        usize::try_from(fd)
            .ok()
            .and_then(|at| self.slots.get(at))
            .and_then(Option::as_ref)
            .ok_or(Errno::EBADF)
    }

    /// Puts `open` at the lowest free number not below `from`; `EMFILE` when the table is full.
    pub fn insert(
        &mut self,
        open: Arc<OpenFile>,
        close_on_exec: bool,
        from: i32,
    ) -> Result<i32, Errno> {
        let from = usize::try_from(from).map_err(|_| Errno::EINVAL)?;
        let at = (from..MAX_FDS)
            .find(|&at| self.slots.get(at).is_none_or(Option::is_none))
            .ok_or(Errno::EMFILE)?;
        self.put(
            at,
            Descriptor {
                open,
                close_on_exec,
            },
        );
        i32::try_from(at).map_err(|_| Errno::EMFILE)
    }

    /// Puts `open` at exactly `fd` (`dup3`) and returns what was there.
    pub fn replace(
        &mut self,
        fd: i32,
        open: Arc<OpenFile>,
        close_on_exec: bool,
    ) -> Result<Option<Descriptor>, Errno> {
        let at = usize::try_from(fd)
            .ok()
            .filter(|&at| at < MAX_FDS)
            .ok_or(Errno::EBADF)?;
        Ok(self.put(
            at,
            Descriptor {
                open,
                close_on_exec,
            },
        ))
    }

    /// Takes `fd` out. The caller drops it after releasing the table's lock, since a last close may do work.
    pub fn remove(&mut self, fd: i32) -> Result<Descriptor, Errno> {
        usize::try_from(fd)
            .ok()
            .and_then(|at| self.slots.get_mut(at))
            .and_then(Option::take)
            .ok_or(Errno::EBADF)
    }

    /// Sets `FD_CLOEXEC`.
    pub fn set_close_on_exec(&mut self, fd: i32, on: bool) -> Result<(), Errno> {
        let slot = usize::try_from(fd)
            .ok()
            .and_then(|at| self.slots.get_mut(at))
            .and_then(Option::as_mut)
            .ok_or(Errno::EBADF)?;
        slot.close_on_exec = on;
        Ok(())
    }

    /// The same numbers for other open files.
    pub(crate) fn map(
        &self,
        mut change: impl FnMut(&Arc<OpenFile>) -> Result<Arc<OpenFile>, Errno>,
    ) -> Result<Self, Errno> {
        let mut slots = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            slots.push(match slot {
                None => None,
                Some(descriptor) => Some(Descriptor {
                    open: change(&descriptor.open)?,
                    close_on_exec: descriptor.close_on_exec,
                }),
            });
        }
        Ok(Self { slots })
    }

    /// The copy an exec'd program gets: without the close-on-exec descriptors.
    #[must_use]
    pub fn for_exec(&self) -> Self {
        let slots = self
            .slots
            .iter()
            .map(|slot| {
                slot.as_ref()
                    .filter(|descriptor| !descriptor.close_on_exec)
                    .cloned()
            })
            .collect();
        Self { slots }
    }

    /// The open numbers in ascending order.
    pub fn numbers(&self) -> impl Iterator<Item = i32> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.is_some())
            .filter_map(|(at, _)| i32::try_from(at).ok())
    }

    fn put(&mut self, at: usize, descriptor: Descriptor) -> Option<Descriptor> {
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        self.slots[at].replace(descriptor)
    }
}
