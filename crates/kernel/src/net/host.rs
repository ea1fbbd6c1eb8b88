//! Sockets of the host that were granted to the guest: listeners, and the connections they accept. Always non-blocking; whoever waits polls the descriptor.

use std::any::Any;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketAddrAny, SocketFlags};

use super::addr::Address;
use crate::errno::Errno;
use crate::file::{File, FileKind, Ready, Stat};
use crate::wait::WakeSource;

/// A listener that the embedding program has bound.
#[derive(Clone)]
pub(super) enum Granted {
    Tcp(Arc<TcpListener>),
    Unix(Arc<UnixListener>),
}

impl AsFd for Granted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A granted listener in use by the guest.
pub struct HostListener {
    granted: Granted,
}

impl HostListener {
    pub(super) fn new(granted: Granted) -> Result<Self, Errno> {
        rustix::io::ioctl_fionbio(&granted, true)?;
        Ok(Self { granted })
    }

    /// The next connection with its peer's address; `EAGAIN` when there is none.
    pub fn accept(&self) -> Result<(HostSocket, Address), Errno> {
        let (fd, peer) = rustix::net::acceptfrom_with(
            &self.granted,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        )?;
        let peer = peer.map_or_else(|| Address::Unix(String::new()), address_of);
        Ok((
            HostSocket {
                fd,
                local: self.local(),
                peer: peer.clone(),
            },
            peer,
        ))
    }

    fn local(&self) -> Address {
        rustix::net::getsockname(&self.granted)
            .map_or_else(|_| Address::Unix(String::new()), address_of)
    }

    pub(super) fn ready(&self) -> Ready {
        poll_now(self.granted.as_fd(), Ready::IN)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.granted.as_fd()
    }

    pub(super) fn wake_source(&self) -> WakeSource<'_> {
        WakeSource::Host(self.granted.as_fd(), PollFlags::IN)
    }
}

fn address_of(any: SocketAddrAny) -> Address {
    SocketAddr::try_from(any).map_or_else(|_| Address::Unix(String::new()), Address::Inet)
}

fn flags_of(interest: Ready) -> PollFlags {
    PollFlags::from_bits_truncate(u16::try_from(interest.bits() & 0x3fff).unwrap_or(0))
}

fn poll_now(fd: BorrowedFd<'_>, interest: Ready) -> Ready {
    let mut polled = [PollFd::from_borrowed_fd(fd, flags_of(interest))];
    let zero = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match rustix::event::poll(&mut polled, Some(&zero)) {
        Ok(_) => Ready::from_bits_truncate(u32::from(polled[0].revents().bits())),
        Err(_) => Ready::empty(),
    }
}

/// An accepted connection of the host. Closed when dropped.
pub struct HostSocket {
    fd: OwnedFd,
    local: Address,
    peer: Address,
}

/// Options that Postgres sets on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostOption {
    /// `TCP_NODELAY`.
    NoDelay,
    /// `SO_KEEPALIVE`.
    KeepAlive,
    /// `TCP_KEEPIDLE`, seconds.
    KeepIdle,
    /// `TCP_KEEPINTVL`, seconds.
    KeepInterval,
    /// `TCP_KEEPCNT`.
    KeepCount,
    /// `TCP_USER_TIMEOUT`, milliseconds.
    UserTimeout,
    /// `SO_SNDBUF`, bytes.
    SendBuffer,
    /// `SO_RCVBUF`, bytes.
    ReceiveBuffer,
}

impl HostSocket {
    /// Our address.
    pub fn local(&self) -> &Address {
        &self.local
    }

    /// The client's.
    pub fn peer(&self) -> &Address {
        &self.peer
    }

    /// Sets an option, on TCP connections only.
    pub fn set_option(&self, option: HostOption, value: u32) -> Result<(), Errno> {
        use rustix::net::sockopt as o;
        let seconds = || std::time::Duration::from_secs(u64::from(value));
        match option {
            HostOption::SendBuffer => o::set_socket_send_buffer_size(&self.fd, value as usize)?,
            HostOption::ReceiveBuffer => o::set_socket_recv_buffer_size(&self.fd, value as usize)?,
            HostOption::KeepAlive => o::set_socket_keepalive(&self.fd, value != 0)?,
            _ if !matches!(self.local, Address::Inet(_)) => return Err(Errno::ENOPROTOOPT),
            HostOption::NoDelay => o::set_tcp_nodelay(&self.fd, value != 0)?,
            HostOption::KeepIdle => o::set_tcp_keepidle(&self.fd, seconds())?,
            HostOption::KeepInterval => o::set_tcp_keepintvl(&self.fd, seconds())?,
            HostOption::KeepCount => o::set_tcp_keepcnt(&self.fd, value)?,
            HostOption::UserTimeout => o::set_tcp_user_timeout(&self.fd, value)?,
        }
        Ok(())
    }

    /// Reads an option.
    pub fn option(&self, option: HostOption) -> Result<u32, Errno> {
        use rustix::net::sockopt as o;
        let seconds = |time: std::time::Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(match option {
            HostOption::SendBuffer => number(o::socket_send_buffer_size(&self.fd)?),
            HostOption::ReceiveBuffer => number(o::socket_recv_buffer_size(&self.fd)?),
            HostOption::KeepAlive => u32::from(o::socket_keepalive(&self.fd)?),
            _ if !matches!(self.local, Address::Inet(_)) => return Err(Errno::ENOPROTOOPT),
            HostOption::NoDelay => u32::from(o::tcp_nodelay(&self.fd)?),
            HostOption::KeepIdle => seconds(o::tcp_keepidle(&self.fd)?),
            HostOption::KeepInterval => seconds(o::tcp_keepintvl(&self.fd)?),
            HostOption::KeepCount => o::tcp_keepcnt(&self.fd)?,
            HostOption::UserTimeout => o::tcp_user_timeout(&self.fd)?,
        })
    }

    /// `shutdown(2)`.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        Ok(rustix::net::shutdown(&self.fd, how)?)
    }

    /// Copies what is there without taking it.
    pub fn peek(&self, out: &mut [u8]) -> Result<usize, Errno> {
        let (n, _) = rustix::net::recv(&self.fd, out, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
        Ok(n)
    }

    /// Bytes that can be read now.
    pub fn available(&self) -> Result<usize, Errno> {
        Ok(usize::try_from(rustix::io::ioctl_fionread(&self.fd)?).unwrap_or(usize::MAX))
    }
}

impl File for HostSocket {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(super::stat_of(FileKind::Socket))
    }

    fn read(&self, out: &mut [u8]) -> Result<usize, Errno> {
        let (n, _) = rustix::net::recv(&self.fd, out, RecvFlags::DONTWAIT)?;
        Ok(n)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        Ok(rustix::net::send(
            &self.fd,
            bytes,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )?)
    }

    fn ready(&self) -> Ready {
        poll_now(self.fd.as_fd(), Ready::IN | Ready::OUT | Ready::RDHUP)
    }

    fn wake_source(&self, interest: Ready) -> Option<WakeSource<'_>> {
        Some(WakeSource::Host(self.fd.as_fd(), flags_of(interest)))
    }

    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
