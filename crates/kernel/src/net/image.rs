//! Streams, sockets and listeners in images.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::addr::Address;
use super::copy::Streams;
use super::event::{Epoll, EventFd, SignalFd};
use super::socket::{Role, Socket};
use super::stream::{Duplex, Queue, Side, StreamEnd};
use super::{HostStream, Listener, Net};
use crate::file::File;
use crate::image::record::{
    AddressRecord, DuplexRecord, EndRecord, FileRecord, Kind, QueueRecord, RoleRecord,
};
use crate::image::{LoadError, SaveError, Saver, file_kind};
use crate::wait::{WaitQueue, lock};

impl StreamEnd {
    pub(super) fn save_end(&self, saver: &mut Saver<'_>) -> Result<EndRecord, SaveError> {
        let whose = (self.side(), self.peer_pid());
        saver.end(self.duplex_address(), whose, || self.duplex().save())
    }
}

impl Duplex {
    fn save(&self) -> DuplexRecord {
        let queue = |side: &Side| {
            let queue = lock(&side.incoming);
            QueueRecord {
                bytes: queue.bytes.iter().copied().collect(),
                finished: queue.finished,
                refused: queue.refused,
                reset: queue.reset,
            }
        };
        DuplexRecord {
            kind: self.kind as u32,
            capacity: self.capacity as u64,
            queues: [queue(&self.sides[0]), queue(&self.sides[1])],
        }
    }

    /// What was saved; its ends are to be made.
    pub(crate) fn load(record: DuplexRecord) -> Result<Arc<Self>, LoadError> {
        let side = |queue: QueueRecord| Side {
            incoming: Mutex::new(Queue {
                bytes: VecDeque::from(queue.bytes),
                finished: queue.finished,
                refused: queue.refused,
                reset: queue.reset,
            }),
            events: WaitQueue::new(),
        };
        Ok(Arc::new(Self {
            sides: record.queues.map(side),
            kind: file_kind(record.kind)?,
            capacity: usize::try_from(record.capacity)
                .map_err(|_| LoadError::Damaged("a stream holds too much"))?,
        }))
    }
}

impl Streams {
    /// Those of an image, and which of their ends were made.
    pub(crate) fn of_image(duplexes: &[(Arc<Duplex>, [bool; 2])]) -> Self {
        let mut this = Self::default();
        for (duplex, made) in duplexes {
            this.note(duplex, *made);
        }
        this
    }
}

impl Net {
    /// Who listens where.
    pub(crate) fn save(&self, saver: &mut Saver<'_>) -> Vec<(String, u32)> {
        let mut local: Vec<_> = lock(&self.local)
            .iter()
            .filter_map(|(path, listener)| {
                let listener = listener.upgrade()?;
                Some((path.clone(), saver.listener(Arc::as_ptr(&listener).addr())))
            })
            .collect();
        local.sort_unstable();
        local
    }

    /// The net that was saved.
    pub(crate) fn load(
        local: &[(String, u32)],
        listener: impl Fn(u32) -> Result<Arc<Listener>, LoadError>,
    ) -> Result<Self, LoadError> {
        let net = Self::new();
        for (path, number) in local {
            lock(&net.local).insert(path.clone(), Arc::downgrade(&listener(*number)?));
        }
        Ok(net)
    }
}

impl HostStream {
    pub(crate) fn save(&self, saver: &mut Saver<'_>) -> Result<EndRecord, SaveError> {
        self.end().save_end(saver)
    }
}

impl Socket {
    pub(super) fn save_socket(&self, saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        let bound = self.bound().map(|address| match address {
            Address::Unix(path) => AddressRecord::Unix(path),
            Address::Inet(address) => AddressRecord::Inet(address),
        });
        let role = match self.role() {
            None => RoleRecord::None,
            Some(Role::Listener(listener)) => {
                RoleRecord::Listener(saver.listener(Arc::as_ptr(listener).addr()))
            }
            Some(Role::Stream(end)) => RoleRecord::Stream(end.save_end(saver)?),
            Some(Role::HostListener(_)) => {
                return Err(SaveError::unsupported("a listener of the host"));
            }
            Some(Role::HostSocket(_)) => {
                return Err(SaveError::unsupported("a connection of the host"));
            }
        };
        Ok(FileRecord(Kind::Socket {
            family: self.family(),
            bound,
            role,
        }))
    }
}

/// The socket that was saved.
pub(crate) fn socket(
    family: u16,
    bound: Option<AddressRecord>,
    role: Option<Role>,
) -> Arc<dyn File> {
    let bound = bound.map(|address| match address {
        AddressRecord::Unix(path) => Address::Unix(path),
        AddressRecord::Inet(address) => Address::Inet(address),
    });
    Arc::new(match role {
        Some(role) => Socket::connected(family, role, bound),
        None => Socket::unconnected(family, bound),
    })
}

impl EventFd {
    pub(super) fn save_count(&self) -> FileRecord {
        let (count, semaphore) = self.state();
        FileRecord(Kind::EventFd { count, semaphore })
    }
}

impl SignalFd {
    pub(super) fn save_mask(&self) -> FileRecord {
        FileRecord(Kind::SignalFd(self.mask().0))
    }
}

impl Epoll {
    pub(super) fn save_watches(&self, saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        let mut watches = Vec::new();
        for (fd, open, watch) in self.watched() {
            watches.push((fd, saver.open(&open)?, watch.events, watch.data));
        }
        Ok(FileRecord(Kind::Epoll(watches)))
    }
}
