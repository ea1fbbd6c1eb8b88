//! Pipes and sockets.
//!
//! Guests reach each other and the embedding program through streams inside this kernel ([`stream`]). Of the host's network they see only the listeners they were granted,
//! and the connections these accept ([`host`]).

pub mod addr;
pub(crate) mod copy;
pub mod direct;
pub mod event;
mod forward;
pub mod host;
pub(crate) mod image;
pub mod pipe;
pub mod socket;
pub mod stream;

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, Weak};

use crate::errno::Errno;
use crate::file::{FileKind, Ready, Stat};
use crate::fs::{GUEST_GID, GUEST_UID};
use crate::wait::{WaitQueue, lock};

pub use direct::HostStream;
use forward::Forward;
use host::{Granted, HostSocket};
use stream::StreamEnd;

/// Connections that may wait for `accept`; postmasters ask for fewer, and more would only hide that nobody accepts.
const BACKLOG: usize = 1024;

/// What `stat` tells of a pipe or socket.
pub(crate) fn stat_of(kind: FileKind) -> Stat {
    let time = crate::fs::now();
    Stat {
        device: 0,
        inode: 1,
        kind,
        mode: 0o600,
        links: 1,
        uid: GUEST_UID,
        gid: GUEST_GID,
        size: 0,
        blocks: 0,
        accessed: time,
        modified: time,
        changed: time,
    }
}

/// A connection that waits to be accepted.
pub enum Incoming {
    /// From inside the kernel, or from the embedding program.
    Stream(StreamEnd),
    /// From the host, with its peer's address.
    Host(HostSocket, addr::Address),
}

/// A listening local socket.
#[derive(Default)]
pub struct Listener {
    waiting: Mutex<VecDeque<Incoming>>,
    events: WaitQueue,
}

impl Listener {
    /// The next connection, or `EAGAIN`.
    pub fn accept(&self) -> Result<Incoming, Errno> {
        lock(&self.waiting).pop_front().ok_or(Errno::EAGAIN)
    }

    fn offer(&self, end: Incoming) -> Result<(), Errno> {
        {
            let mut waiting = lock(&self.waiting);
            if waiting.len() >= BACKLOG {
                return Err(Errno::EAGAIN);
            }
            waiting.push_back(end);
        }
        self.events.wake_all();
        Ok(())
    }

    fn ready(&self) -> Ready {
        if lock(&self.waiting).is_empty() {
            Ready::empty()
        } else {
            Ready::IN
        }
    }
}

/// The sockets of one kernel: who listens where, and what was granted.
#[derive(Default)]
pub struct Net {
    /// By absolute path without links.
    local: Mutex<HashMap<String, Weak<Listener>>>,
    granted_tcp: Mutex<HashMap<SocketAddr, Granted>>,
    granted_unix: Mutex<HashMap<String, Granted>>,
    forwards: Mutex<Vec<Arc<Forward>>>,
}

impl Net {
    /// Nothing granted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the guest listen on `address`; what connects to `listener` is what it accepts. The listener becomes non-blocking.
    pub fn grant_tcp(&self, address: SocketAddr, listener: TcpListener) {
        lock(&self.granted_tcp).insert(address, Granted::Tcp(Arc::new(listener)));
    }

    /// Lets the guest's listener on the path `guest_path` accept what connects to `listener`, a socket of the host. The listener becomes non-blocking.
    pub fn grant_unix(&self, guest_path: &str, listener: UnixListener) {
        lock(&self.granted_unix).insert(guest_path.to_owned(), Granted::Unix(Arc::new(listener)));
    }

    /// Closes the granted listeners, once the guest has closed its own, and those that are forwarded.
    pub fn revoke(&self) {
        lock(&self.granted_tcp).clear();
        lock(&self.granted_unix).clear();
        lock(&self.forwards).clear();
    }

    fn granted(&self, address: &addr::Address) -> Option<Granted> {
        match address {
            addr::Address::Inet(address) => lock(&self.granted_tcp).get(address).cloned(),
            addr::Address::Unix(path) => lock(&self.granted_unix).get(path).cloned(),
        }
    }

    fn listen_local(&self, path: &str) -> Arc<Listener> {
        let listener = Arc::new(Listener::default());
        let mut local = lock(&self.local);
        local.retain(|_, known| known.strong_count() > 0);
        local.insert(path.to_owned(), Arc::downgrade(&listener));
        listener
    }

    /// Connects to the local listener on `path` for `pid`; `ECONNREFUSED` when nobody listens, `EAGAIN` when too many wait already.
    pub fn connect_local(&self, path: &str, pid: i32) -> Result<StreamEnd, Errno> {
        let listener = lock(&self.local)
            .get(path)
            .and_then(Weak::upgrade)
            .ok_or(Errno::ECONNREFUSED)?;
        let (mine, theirs) = StreamEnd::socket_pair([pid, 0]);
        listener.offer(Incoming::Stream(theirs))?;
        Ok(mine)
    }

    /// A connection from the embedding program to the guest that listens on `guest_path`, through memory alone. Does not block.
    ///
    /// # Errors
    /// `ECONNREFUSED` when nobody listens there, `EAGAIN` when too many connections wait for being accepted.
    pub fn connect_unix(&self, guest_path: &str) -> Result<HostStream, Errno> {
        self.connect_local(guest_path, 0).map(HostStream::new)
    }
}
