//! Descriptors that only tell of events: `eventfd`, `signalfd`, `epoll`.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use crate::copy::Copier;
use crate::errno::Errno;
use crate::file::{File, FileKind, OpenFile, Ready, Stat};
use crate::image::{FileRecord, SaveError, Saver};
use crate::process::signal::SigSet;
use crate::wait::{WaitQueue, WakeSource, lock};

/// `eventfd(2)`.
pub struct EventFd {
    count: Mutex<u64>,
    semaphore: bool,
    events: WaitQueue,
}

impl EventFd {
    /// A counter; `semaphore` makes reads take one at a time.
    #[must_use]
    pub fn new(count: u64, semaphore: bool) -> Self {
        Self {
            count: Mutex::new(count),
            semaphore,
            events: WaitQueue::new(),
        }
    }

    /// The count, and whether it is a semaphore.
    pub(super) fn state(&self) -> (u64, bool) {
        (*lock(&self.count), self.semaphore)
    }
}

impl File for EventFd {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(super::stat_of(FileKind::CharDevice))
    }

    fn read(&self, out: &mut [u8]) -> Result<usize, Errno> {
        let out = out.first_chunk_mut::<8>().ok_or(Errno::EINVAL)?;
        let taken = {
            let mut count = lock(&self.count);
            let taken = match *count {
                0 => return Err(Errno::EAGAIN),
                _ if self.semaphore => 1,
                all => all,
            };
            *count -= taken;
            taken
        };
        *out = taken.to_le_bytes();
        self.events.wake_all();
        Ok(8)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let add = u64::from_le_bytes(*bytes.first_chunk::<8>().ok_or(Errno::EINVAL)?);
        if add == u64::MAX {
            return Err(Errno::EINVAL);
        }
        {
            let mut count = lock(&self.count);
            *count = count
                .checked_add(add)
                .filter(|&sum| sum < u64::MAX)
                .ok_or(Errno::EAGAIN)?;
        }
        self.events.wake_all();
        Ok(8)
    }

    fn ready(&self) -> Ready {
        let count = *lock(&self.count);
        let mut ready = Ready::empty();
        ready.set(Ready::IN, count > 0);
        ready.set(Ready::OUT, count < u64::MAX - 1);
        ready
    }

    fn wake_source(&self, _interest: Ready) -> Option<WakeSource<'_>> {
        Some(WakeSource::Queue(&self.events))
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.events)
    }

    fn copy(&self, _this: &Arc<dyn File>, _copier: &mut Copier) -> Result<Arc<dyn File>, Errno> {
        Ok(Arc::new(Self::new(*lock(&self.count), self.semaphore)))
    }

    fn save(&self, _saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        Ok(self.save_count())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `signalfd(2)`. It shows the pending signals of whoever reads or polls it, as Linux's does; so the system calls, which know the process, look after it.
pub struct SignalFd {
    mask: Mutex<SigSet>,
}

impl SignalFd {
    /// For the signals in `mask`.
    #[must_use]
    pub fn new(mask: SigSet) -> Self {
        Self {
            mask: Mutex::new(mask),
        }
    }

    /// The signals it shows.
    pub fn mask(&self) -> SigSet {
        *lock(&self.mask)
    }

    /// Replaces them.
    pub fn set_mask(&self, mask: SigSet) {
        *lock(&self.mask) = mask;
    }
}

impl File for SignalFd {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(super::stat_of(FileKind::CharDevice))
    }

    fn ready(&self) -> Ready {
        Ready::empty()
    }

    fn copy(&self, _this: &Arc<dyn File>, _copier: &mut Copier) -> Result<Arc<dyn File>, Errno> {
        Ok(Arc::new(Self::new(self.mask())))
    }

    fn save(&self, _saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        Ok(self.save_mask())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What an `epoll` watches a descriptor for.
#[derive(Clone)]
pub struct Watch {
    /// The open file; gone when all its descriptors are closed.
    pub open: Weak<OpenFile>,
    /// `EPOLL*` bits.
    pub events: u32,
    /// Given back with the event.
    pub data: u64,
}

/// `epoll(7)`, level-triggered.
#[derive(Default)]
pub struct Epoll {
    watched: Mutex<BTreeMap<i32, Watch>>,
}

/// `EPOLLONESHOT`.
const ONE_SHOT: u32 = 1 << 30;

impl Epoll {
    /// `EPOLL_CTL_ADD`; `EEXIST` if it is watched already.
    pub fn add(&self, fd: i32, open: &Arc<OpenFile>, events: u32, data: u64) -> Result<(), Errno> {
        let mut watched = lock(&self.watched);
        if watched.get(&fd).is_some_and(|watch| {
            watch.open.strong_count() > 0 && watch.open.ptr_eq(&Arc::downgrade(open))
        }) {
            return Err(Errno::EEXIST);
        }
        watched.insert(
            fd,
            Watch {
                open: Arc::downgrade(open),
                events,
                data,
            },
        );
        Ok(())
    }

    /// `EPOLL_CTL_MOD`; `ENOENT` if it is not watched.
    pub fn modify(&self, fd: i32, events: u32, data: u64) -> Result<(), Errno> {
        let mut watched = lock(&self.watched);
        let watch = watched.get_mut(&fd).ok_or(Errno::ENOENT)?;
        (watch.events, watch.data) = (events, data);
        Ok(())
    }

    /// `EPOLL_CTL_DEL`; `ENOENT` if it is not watched.
    pub fn remove(&self, fd: i32) -> Result<(), Errno> {
        lock(&self.watched)
            .remove(&fd)
            .map(drop)
            .ok_or(Errno::ENOENT)
    }

    /// What is watched and still open.
    pub fn watched(&self) -> Vec<(i32, Arc<OpenFile>, Watch)> {
        let mut watched = lock(&self.watched);
        let mut live = Vec::with_capacity(watched.len());
        watched.retain(|&fd, watch| match watch.open.upgrade() {
            Some(open) => {
                live.push((fd, open, watch.clone()));
                true
            }
            None => false,
        });
        live
    }

    /// Disarms a one-shot watch that has fired.
    pub fn fired(&self, fd: i32) {
        if let Some(watch) = lock(&self.watched)
            .get_mut(&fd)
            .filter(|watch| watch.events & ONE_SHOT != 0)
        {
            watch.events = 0;
        }
    }
}

impl File for Epoll {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(super::stat_of(FileKind::CharDevice))
    }

    fn ready(&self) -> Ready {
        let any = self
            .watched()
            .iter()
            .any(|(_, open, watch)| open.file.ready().bits() & watch.events & 0xffff != 0);
        if any { Ready::IN } else { Ready::empty() }
    }

    fn copy(&self, _this: &Arc<dyn File>, copier: &mut Copier) -> Result<Arc<dyn File>, Errno> {
        let copy = Self::default();
        for (fd, open, watch) in self.watched() {
            // What is watched is open somewhere, so the copy is, too.
            let open = Arc::downgrade(&copier.open(&open)?);
            lock(&copy.watched).insert(fd, Watch { open, ..watch });
        }
        Ok(Arc::new(copy))
    }

    fn save(&self, saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        self.save_watches(saver)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eventfd_counts_and_blocks_at_its_ends() {
        let fd = EventFd::new(0, false);
        let mut out = [0; 8];
        assert_eq!(fd.read(&mut out), Err(Errno::EAGAIN));
        fd.write(&3_u64.to_le_bytes()).unwrap();
        fd.write(&4_u64.to_le_bytes()).unwrap();
        assert_eq!(fd.read(&mut out), Ok(8));
        assert_eq!(u64::from_le_bytes(out), 7);
        fd.write(&(u64::MAX - 1).to_le_bytes()).unwrap();
        assert_eq!(fd.write(&1_u64.to_le_bytes()), Err(Errno::EAGAIN));
        assert_eq!(fd.ready(), Ready::IN);
        let one_by_one = EventFd::new(2, true);
        assert_eq!(one_by_one.read(&mut out), Ok(8));
        assert_eq!(
            (u64::from_le_bytes(out), one_by_one.ready()),
            (1, Ready::IN | Ready::OUT)
        );
    }

    #[test]
    fn epoll_forgets_what_was_closed() {
        let epoll = Epoll::default();
        let open = OpenFile::new(Arc::new(EventFd::new(1, false)), 0, None);
        epoll
            .add(5, &open, Ready::IN.bits() | ONE_SHOT, 77)
            .unwrap();
        assert_eq!(epoll.add(5, &open, 1, 0), Err(Errno::EEXIST));
        assert_eq!(epoll.ready(), Ready::IN);
        epoll.fired(5);
        assert_eq!(epoll.ready(), Ready::empty());
        drop(open);
        assert!(epoll.watched().is_empty());
        assert_eq!(epoll.remove(5), Err(Errno::ENOENT));
    }
}
