//! A guest's socket: what it becomes (listener, connection) is decided once, by `listen`, `connect` or `accept`.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, OnceLock};

use super::addr::{AF_INET, AF_INET6, AF_UNIX, Address};
use super::host::{HostListener, HostSocket};
use super::stream::StreamEnd;
use super::{Incoming, Listener, Net};
use crate::copy::Copier;
use crate::errno::Errno;
use crate::file::{File, FileKind, Ready, Stat};
use crate::image::{FileRecord, SaveError, Saver};
use crate::wait::{WaitQueue, WakeSource, lock};

/// What a socket has become.
pub enum Role {
    /// Listens for connections inside the kernel.
    Listener(Arc<Listener>),
    /// Listens through a listener of the host.
    HostListener(HostListener),
    /// A connection inside the kernel.
    Stream(StreamEnd),
    /// A connection of the host.
    HostSocket(HostSocket),
}

/// A stream socket.
pub struct Socket {
    family: u16,
    bound: Mutex<Option<Address>>,
    role: OnceLock<Role>,
}

impl Socket {
    /// A new socket of a family.
    #[must_use]
    pub fn new(family: u16) -> Self {
        Self::unconnected(family, None)
    }

    /// A connected one, with the address it was accepted on.
    #[must_use]
    pub fn connected(family: u16, role: Role, local: Option<Address>) -> Self {
        let this = Self::unconnected(family, local);
        let _ = this.role.set(role);
        this
    }

    /// One that has become nothing yet.
    pub(super) fn unconnected(family: u16, bound: Option<Address>) -> Self {
        Self {
            family,
            bound: Mutex::new(bound),
            role: OnceLock::new(),
        }
    }

    pub(super) fn bound(&self) -> Option<Address> {
        lock(&self.bound).clone()
    }

    /// True if whoever is on the other side of this connection has no part in the copy.
    pub(crate) fn is_orphan(&self, streams: &super::copy::Streams) -> bool {
        match self.role() {
            Some(Role::Stream(end)) => streams.is_orphan(end),
            Some(Role::HostSocket(_)) => true,
            _ => false,
        }
    }

    /// `AF_*`.
    #[must_use]
    pub fn family(&self) -> u16 {
        self.family
    }

    /// What it has become, if anything.
    #[must_use]
    pub fn role(&self) -> Option<&Role> {
        self.role.get()
    }

    /// Remembers a name; `EINVAL` if there is one. The node of a local path must exist already.
    pub fn bind(&self, address: Address) -> Result<(), Errno> {
        let mut bound = lock(&self.bound);
        if bound.is_some() || self.role.get().is_some() {
            return Err(Errno::EINVAL);
        }
        *bound = Some(address);
        Ok(())
    }

    /// Begins to accept connections; a second time it changes nothing.
    pub fn listen(&self, net: &Net) -> Result<(), Errno> {
        match self.role.get() {
            Some(Role::Listener(_) | Role::HostListener(_)) => return Ok(()),
            Some(_) => return Err(Errno::EINVAL),
            None => {}
        }
        let address = lock(&self.bound).clone().ok_or(Errno::EDESTADDRREQ)?;
        let role = match (net.granted(&address), &address) {
            (Some(granted), _) => Role::HostListener(HostListener::new(granted)?),
            (None, Address::Unix(path)) => Role::Listener(net.listen_local(path)),
            (None, Address::Inet(_)) => return Err(Errno::EACCES),
        };
        self.role.set(role).map_err(|_| Errno::EINVAL)
    }

    /// The next connection and its peer's address; `EAGAIN` when there is none.
    pub fn accept(&self) -> Result<(Self, Address), Errno> {
        match self.role.get() {
            Some(Role::Listener(listener)) => match listener.accept()? {
                Incoming::Stream(end) => {
                    let local = self.bound();
                    Ok((
                        Self::connected(self.family, Role::Stream(end), local),
                        Address::Unix(String::new()),
                    ))
                }
                Incoming::Host(socket, peer) => Ok((self.accepted(socket), peer)),
            },
            Some(Role::HostListener(listener)) => {
                let (socket, peer) = listener.accept()?;
                Ok((self.accepted(socket), peer))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// The end of a connection of the host that this one accepted.
    fn accepted(&self, socket: HostSocket) -> Self {
        let (family, local) = match socket.local() {
            Address::Unix(_) => (AF_UNIX, self.bound()),
            address @ Address::Inet(inet) => {
                let family = if inet.is_ipv4() { AF_INET } else { AF_INET6 };
                (family, Some(address.clone()))
            }
        };
        Self::connected(family, Role::HostSocket(socket), local)
    }

    /// Becomes the end of a local connection.
    pub fn connect(&self, end: StreamEnd) -> Result<(), Errno> {
        self.role.set(Role::Stream(end)).map_err(|_| Errno::EISCONN)
    }

    /// Its own address; unnamed if it has none.
    #[must_use]
    pub fn local(&self) -> Address {
        lock(&self.bound).clone().unwrap_or_else(|| self.unnamed())
    }

    /// The address of the other side.
    pub fn peer(&self) -> Result<Address, Errno> {
        match self.role.get() {
            Some(Role::Stream(_)) => Ok(Address::Unix(String::new())),
            Some(Role::HostSocket(socket)) => Ok(socket.peer().clone()),
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn unnamed(&self) -> Address {
        match self.family {
            AF_UNIX => Address::Unix(String::new()),
            AF_INET6 => Address::Inet((std::net::Ipv6Addr::UNSPECIFIED, 0).into()),
            _ => Address::Inet((std::net::Ipv4Addr::UNSPECIFIED, 0).into()),
        }
    }

    fn stream(&self) -> Result<&dyn File, Errno> {
        match self.role.get() {
            Some(Role::Stream(end)) => Ok(end),
            Some(Role::HostSocket(socket)) => Ok(socket),
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// Copies what is there without taking it; `EAGAIN` when there is nothing.
    pub fn peek(&self, out: &mut [u8]) -> Result<usize, Errno> {
        match self.role.get() {
            Some(Role::Stream(end)) => end.peek(out),
            Some(Role::HostSocket(socket)) => socket.peek(out),
            _ => Err(Errno::ENOTCONN),
        }
    }
}

impl File for Socket {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(super::stat_of(FileKind::Socket))
    }

    fn read(&self, out: &mut [u8]) -> Result<usize, Errno> {
        self.stream()?.read(out)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.stream()?.write(bytes)
    }

    fn ready(&self) -> Ready {
        match self.role.get() {
            None => Ready::OUT | Ready::HUP,
            Some(Role::Listener(listener)) => listener.ready(),
            Some(Role::HostListener(listener)) => listener.ready(),
            Some(Role::Stream(end)) => end.ready(),
            Some(Role::HostSocket(socket)) => socket.ready(),
        }
    }

    fn wake_source(&self, interest: Ready) -> Option<WakeSource<'_>> {
        match self.role.get()? {
            Role::Listener(listener) => Some(WakeSource::Queue(&listener.events)),
            Role::HostListener(listener) => Some(listener.wake_source()),
            Role::Stream(end) => end.wake_source(interest),
            Role::HostSocket(socket) => socket.wake_source(interest),
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        match self.role.get()? {
            Role::Listener(listener) => Some(&listener.events),
            Role::Stream(end) => end.wait_queue(),
            Role::HostListener(_) | Role::HostSocket(_) => None,
        }
    }

    fn copy(&self, _this: &Arc<dyn File>, copier: &mut Copier) -> Result<Arc<dyn File>, Errno> {
        Ok(Arc::new(self.copy_socket(copier)))
    }

    fn save(&self, saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        self.save_socket(saver)
    }

    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        match self.role.get()? {
            Role::HostSocket(socket) => socket.host_fd(),
            Role::HostListener(listener) => Some(listener.descriptor()),
            Role::Listener(_) | Role::Stream(_) => None,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
