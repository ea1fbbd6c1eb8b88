//! Sockets and pipes.

use std::sync::Arc;

use super::Args;
use super::io::{read_stream, write_stream};
use crate::abi::{O_CLOEXEC, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY};
use crate::errno::{Errno, SysResult};
use crate::file::{File, OpenFile, Ready};
use crate::fs::{GUEST_GID, GUEST_UID};
use crate::memory::{AddressSpaceExt, GuestAddr};
use crate::net::addr::{ADDRESS_MAX, AF_INET, AF_INET6, AF_UNIX, Address};
use crate::net::host::HostOption;
use crate::net::socket::{Role, Socket};
use crate::net::stream::StreamEnd;
use crate::process::Process;
use crate::wait::{lock, wait_until};

const SOCK_STREAM: u32 = 1;
const SOCK_TYPE: u32 = 0xf;
const MSG_PEEK: u32 = 0x2;
const MSG_DONTWAIT: u32 = 0x40;
const MSG_NOSIGNAL: u32 = 0x4000;
const SOL_SOCKET: u32 = 1;
const IPPROTO_TCP: u32 = 6;

fn number(n: usize) -> SysResult {
    u32::try_from(n).map_err(|_| Errno::EOVERFLOW)
}

fn install(process: &Process, socket: Socket, flags: u32) -> SysResult {
    super::poll::install(process, Arc::new(socket), flags)
}

fn with_socket<T>(
    process: &Process,
    fd: i32,
    run: impl FnOnce(&OpenFile, &Socket) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let open = process.file(fd)?;
    run(
        &open,
        open.file
            .as_any()
            .downcast_ref::<Socket>()
            .ok_or(Errno::ENOTSOCK)?,
    )
}

fn family_of(domain: u32, kind: u32) -> Result<(u16, u32), Errno> {
    let family = u16::try_from(domain)
        .ok()
        .filter(|family| [AF_UNIX, AF_INET, AF_INET6].contains(family))
        .ok_or(Errno::EAFNOSUPPORT)?;
    let flags = kind & !SOCK_TYPE;
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    if kind & SOCK_TYPE != SOCK_STREAM {
        // No datagrams: the guest has no network to send them to.
        return Err(Errno::EPROTONOSUPPORT);
    }
    Ok((family, flags))
}

/// `socket(domain, type, protocol)`.
pub(super) fn socket(process: &Process, args: &Args) -> SysResult {
    let (family, flags) = family_of(args.u32(0), args.u32(1))?;
    install(process, Socket::new(family), flags)
}

/// `socketpair(domain, type, protocol, fds)`.
pub(super) fn socketpair(process: &Process, args: &Args) -> SysResult {
    let (family, flags) = family_of(args.u32(0), args.u32(1))?;
    if family != AF_UNIX {
        return Err(Errno::EOPNOTSUPP);
    }
    let (a, b) = StreamEnd::socket_pair([process.pid.0; 2]);
    let a = Socket::connected(AF_UNIX, Role::Stream(a), None);
    let b = Socket::connected(AF_UNIX, Role::Stream(b), None);
    install_two(
        process,
        [(Arc::new(a), O_RDWR), (Arc::new(b), O_RDWR)],
        flags,
        args.ptr(3),
    )
}

/// `pipe2(fds, flags)`.
pub(super) fn pipe2(process: &Process, args: &Args) -> SysResult {
    let flags = args.u32(1);
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let (reader, writer) = StreamEnd::pipe(process.pid.0);
    install_two(
        process,
        [(Arc::new(reader), O_RDONLY), (Arc::new(writer), O_WRONLY)],
        flags,
        args.ptr(0),
    )
}

fn install_two(
    process: &Process,
    two: [(Arc<dyn File>, u32); 2],
    flags: u32,
    at: GuestAddr,
) -> SysResult {
    process.space().bytes_mut(at, 8)?;
    let mut files = lock(&process.files);
    let mut fds = [0; 2];
    for (n, (file, access)) in two.into_iter().enumerate() {
        match files.insert(
            OpenFile::new(file, access | flags & O_NONBLOCK, None),
            flags & O_CLOEXEC != 0,
            0,
        ) {
            Ok(fd) => fds[n] = fd,
            Err(error) => {
                if n == 1 {
                    let _ = files.remove(fds[0]);
                }
                return Err(error);
            }
        }
    }
    drop(files);
    process.space().write_u32(at, fds[0].cast_unsigned())?;
    process
        .space()
        .write_u32(at.offset(4)?, fds[1].cast_unsigned())?;
    Ok(0)
}

fn read_address(process: &Process, at: GuestAddr, len: u32) -> Result<Address, Errno> {
    if len > ADDRESS_MAX {
        return Err(Errno::EINVAL);
    }
    Address::parse(process.space().bytes(at, len)?)
}

/// Writes an address as `accept` and `getsockname` do: cut to the room there is, with its whole length.
fn write_address(
    process: &Process,
    address: &Address,
    at: GuestAddr,
    len_at: GuestAddr,
) -> Result<(), Errno> {
    if at.is_null() {
        return Ok(());
    }
    let bytes = address.bytes();
    let room = process.space().read_u32(len_at)?;
    let n = bytes.len().min(room as usize);
    process.space().write(at, &bytes[..n])?;
    process
        .space()
        .write_u32(len_at, u32::try_from(bytes.len()).unwrap_or(0))
}

fn context(process: &Process) -> (String, u32) {
    let fs = lock(&process.fs);
    (fs.cwd.clone(), fs.umask)
}

/// `bind(fd, address, len)`.
pub(super) fn bind(process: &Process, args: &Args) -> SysResult {
    let address = read_address(process, args.ptr(1), args.u32(2))?;
    with_socket(process, args.i32(0), |_, socket| {
        let address = match address {
            Address::Unix(path) if socket.family() == AF_UNIX => {
                let (cwd, umask) = context(process);
                let made = process
                    .kernel()?
                    .vfs()
                    .make_socket(&cwd, &path, 0o777 & !umask);
                Address::Unix(made.map_err(|error| {
                    if error == Errno::EEXIST {
                        Errno::EADDRINUSE
                    } else {
                        error
                    }
                })?)
            }
            Address::Inet(_) if socket.family() != AF_UNIX => address,
            _ => return Err(Errno::EINVAL),
        };
        socket.bind(address)
    })?;
    Ok(0)
}

/// `listen(fd, backlog)`.
pub(super) fn listen(process: &Process, args: &Args) -> SysResult {
    let kernel = process.kernel()?;
    with_socket(process, args.i32(0), |_, socket| {
        socket.listen(kernel.net())
    })?;
    Ok(0)
}

fn accept_with(process: &Process, args: &Args, flags: u32) -> SysResult {
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let (accepted, peer) = with_socket(process, args.i32(0), |open, socket| {
        let source = open.file.wake_source(Ready::IN);
        if open.nonblocking() {
            return socket.accept();
        }
        wait_until(process, source.as_slice(), None, || match socket.accept() {
            Err(Errno::EAGAIN) => Ok(None),
            other => other.map(Some),
        })
    })?;
    write_address(process, &peer, args.ptr(1), args.ptr(2))?;
    install(process, accepted, flags)
}

/// `accept(fd, address, len)`.
pub(super) fn accept(process: &Process, args: &Args) -> SysResult {
    accept_with(process, args, 0)
}

/// `accept4(fd, address, len, flags)`.
pub(super) fn accept4(process: &Process, args: &Args) -> SysResult {
    accept_with(process, args, args.u32(3))
}

/// `connect(fd, address, len)`: to guests only. The host's network does not exist for the guest.
pub(super) fn connect(process: &Process, args: &Args) -> SysResult {
    let address = read_address(process, args.ptr(1), args.u32(2))?;
    with_socket(process, args.i32(0), |_, socket| match address {
        Address::Inet(_) if socket.family() == AF_UNIX => Err(Errno::EINVAL),
        Address::Inet(address) if address.ip().is_loopback() => Err(Errno::ECONNREFUSED),
        Address::Inet(_) => Err(Errno::ENETUNREACH),
        Address::Unix(_) if socket.family() != AF_UNIX => Err(Errno::EAFNOSUPPORT),
        Address::Unix(path) => {
            if socket.role().is_some() {
                return Err(Errno::EISCONN);
            }
            let kernel = process.kernel()?;
            let path = kernel.vfs().real_path(&context(process).0, &path)?;
            kernel.vfs().stat("/", &path, true)?;
            socket.connect(kernel.net().connect_local(&path, process.pid.0)?)
        }
    })?;
    Ok(0)
}

/// `getsockname(fd, address, len)`.
pub(super) fn getsockname(process: &Process, args: &Args) -> SysResult {
    let address = with_socket(process, args.i32(0), |_, socket| Ok(socket.local()))?;
    write_address(process, &address, args.ptr(1), args.ptr(2)).map(|()| 0)
}

/// `getpeername(fd, address, len)`.
pub(super) fn getpeername(process: &Process, args: &Args) -> SysResult {
    let address = with_socket(process, args.i32(0), |_, socket| socket.peer())?;
    write_address(process, &address, args.ptr(1), args.ptr(2)).map(|()| 0)
}

fn send(process: &Process, open: &OpenFile, bytes: &[u8], flags: u32) -> SysResult {
    if flags & (MSG_DONTWAIT | MSG_NOSIGNAL) == 0 {
        return number(write_stream(process, open, bytes)?);
    }
    let once = || open.file.write(bytes);
    let n = if open.nonblocking() || flags & MSG_DONTWAIT != 0 {
        once()?
    } else {
        wait_until(
            process,
            open.file.wake_source(Ready::OUT).as_slice(),
            None,
            || match once() {
                Err(Errno::EAGAIN) => Ok(None),
                other => other.map(Some),
            },
        )?
    };
    number(n)
}

fn receive(
    process: &Process,
    open: &OpenFile,
    socket: &Socket,
    out: &mut [u8],
    flags: u32,
) -> SysResult {
    if flags & (MSG_PEEK | MSG_DONTWAIT) == 0 {
        return number(read_stream(process, open, out)?);
    }
    let mut once = || {
        if flags & MSG_PEEK != 0 {
            socket.peek(out)
        } else {
            open.file.read(out)
        }
    };
    if open.nonblocking() || flags & MSG_DONTWAIT != 0 {
        return number(once()?);
    }
    number(wait_until(
        process,
        open.file.wake_source(Ready::IN).as_slice(),
        None,
        || match once() {
            Err(Errno::EAGAIN) => Ok(None),
            other => other.map(Some),
        },
    )?)
}

/// `sendto(fd, bytes, len, flags, address, len)`; the address of a stream is ignored.
pub(super) fn sendto(process: &Process, args: &Args) -> SysResult {
    let bytes = if args.u32(2) == 0 {
        &[][..]
    } else {
        process.space().bytes(args.ptr(1), args.u32(2))?
    };
    with_socket(process, args.i32(0), |open, _| {
        send(process, open, bytes, args.u32(3))
    })
}

/// `recvfrom(fd, bytes, len, flags, address, len)`.
pub(super) fn recvfrom(process: &Process, args: &Args) -> SysResult {
    let out = if args.u32(2) == 0 {
        &mut [][..]
    } else {
        process.space().bytes_mut(args.ptr(1), args.u32(2))?
    };
    if !args.ptr(5).is_null() {
        process.space().write_u32(args.ptr(5), 0)?;
    }
    with_socket(process, args.i32(0), |open, socket| {
        receive(process, open, socket, out, args.u32(3))
    })
}

/// The buffers of a `struct msghdr`: `iov` at 8, its length at 12.
fn vectors(process: &Process, message: GuestAddr) -> Result<Vec<(GuestAddr, u32)>, Errno> {
    let space = process.space();
    let (at, count) = (
        GuestAddr(space.read_u32(message.offset(8)?)?),
        space.read_u32(message.offset(12)?)?,
    );
    if count > 1024 {
        return Err(Errno::EMSGSIZE);
    }
    let one = |n: u32| {
        Ok((
            GuestAddr(space.read_u32(at.offset(n * 8)?)?),
            space.read_u32(at.offset(n * 8 + 4)?)?,
        ))
    };
    (0..count).map(one).collect()
}

/// `sendmsg(fd, message, flags)`; control messages are ignored.
pub(super) fn sendmsg(process: &Process, args: &Args) -> SysResult {
    let mut bytes = Vec::new();
    for (at, len) in vectors(process, args.ptr(1))? {
        bytes.extend_from_slice(if len == 0 {
            &[]
        } else {
            process.space().bytes(at, len)?
        });
    }
    with_socket(process, args.i32(0), |open, _| {
        send(process, open, &bytes, args.u32(2))
    })
}

/// `recvmsg(fd, message, flags)`: into the first buffers that what is there fills.
pub(super) fn recvmsg(process: &Process, args: &Args) -> SysResult {
    let space = process.space();
    let message = args.ptr(1);
    let vectors = vectors(process, message)?;
    let total: usize = vectors.iter().map(|(_, len)| *len as usize).sum();
    let mut bytes = vec![0; total.min(1 << 20)];
    let n = with_socket(process, args.i32(0), |open, socket| {
        receive(process, open, socket, &mut bytes, args.u32(2))
    })?;
    let mut rest = &bytes[..n as usize];
    for (at, len) in vectors {
        let (now, later) = rest.split_at(rest.len().min(len as usize));
        space.write(at, now)?;
        rest = later;
    }
    // No address, no control messages, no flags.
    for at in [4, 20, 24] {
        space.write_u32(message.offset(at)?, 0)?;
    }
    Ok(n)
}

/// `shutdown(fd, how)`.
pub(super) fn shutdown(process: &Process, args: &Args) -> SysResult {
    use rustix::net::Shutdown;
    with_socket(process, args.i32(0), |_, socket| {
        let (read, write, host) = match args.u32(1) {
            0 => (true, false, Shutdown::Read),
            1 => (false, true, Shutdown::Write),
            2 => (true, true, Shutdown::Both),
            _ => return Err(Errno::EINVAL),
        };
        match socket.role() {
            Some(Role::Stream(end)) => {
                if read {
                    end.shut_read();
                }
                if write {
                    end.shut_write();
                }
                Ok(())
            }
            Some(Role::HostSocket(socket)) => socket.shutdown(host),
            _ => Err(Errno::ENOTCONN),
        }
    })?;
    Ok(0)
}

fn host_option(level: u32, name: u32) -> Option<HostOption> {
    Some(match (level, name) {
        (SOL_SOCKET, 7) => HostOption::SendBuffer,
        (SOL_SOCKET, 8) => HostOption::ReceiveBuffer,
        (SOL_SOCKET, 9) => HostOption::KeepAlive,
        (IPPROTO_TCP, 1) => HostOption::NoDelay,
        (IPPROTO_TCP, 4) => HostOption::KeepIdle,
        (IPPROTO_TCP, 5) => HostOption::KeepInterval,
        (IPPROTO_TCP, 6) => HostOption::KeepCount,
        (IPPROTO_TCP, 18) => HostOption::UserTimeout,
        _ => return None,
    })
}

/// `setsockopt(fd, level, name, value, len)`.
pub(super) fn setsockopt(process: &Process, args: &Args) -> SysResult {
    let value = if args.u32(4) >= 4 {
        process.space().read_u32(args.ptr(3))?
    } else {
        0
    };
    with_socket(process, args.i32(0), |_, socket| {
        match (host_option(args.u32(1), args.u32(2)), socket.role()) {
            (Some(option), Some(Role::HostSocket(host))) => host.set_option(option, value),
            // A local stream has nothing to tune; listeners are the embedding program's.
            _ => Ok(()),
        }
    })?;
    Ok(0)
}

/// `getsockopt(fd, level, name, value, len)`.
pub(super) fn getsockopt(process: &Process, args: &Args) -> SysResult {
    const SO_TYPE: u32 = 3;
    const SO_ERROR: u32 = 4;
    const SO_PEERCRED: u32 = 17;
    const SO_ACCEPTCONN: u32 = 30;
    const SO_DOMAIN: u32 = 39;
    let words = with_socket(process, args.i32(0), |_, socket| {
        let listening = matches!(
            socket.role(),
            Some(Role::Listener(_) | Role::HostListener(_))
        );
        Ok(match (args.u32(1), args.u32(2)) {
            (SOL_SOCKET, SO_TYPE) => vec![SOCK_STREAM],
            (SOL_SOCKET, SO_ERROR) => vec![0],
            (SOL_SOCKET, SO_ACCEPTCONN) => vec![u32::from(listening)],
            (SOL_SOCKET, SO_DOMAIN) => vec![u32::from(socket.family())],
            (SOL_SOCKET, SO_PEERCRED) => {
                let Some(Role::Stream(end)) = socket.role() else {
                    return Err(Errno::ENOTCONN);
                };
                vec![end.peer_pid().cast_unsigned(), GUEST_UID, GUEST_GID]
            }
            (level, name) => match (host_option(level, name), socket.role()) {
                (Some(option), Some(Role::HostSocket(host))) => vec![host.option(option)?],
                (Some(HostOption::SendBuffer | HostOption::ReceiveBuffer), _) => vec![212_992],
                (Some(_), _) => vec![0],
                (None, _) => return Err(Errno::ENOPROTOOPT),
            },
        })
    })?;
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    let n = bytes
        .len()
        .min(process.space().read_u32(args.ptr(4))? as usize);
    process.space().write(args.ptr(3), &bytes[..n])?;
    process.space().write_u32(args.ptr(4), number(n)?)?;
    Ok(0)
}

/// Bytes that a pipe or socket has for reading (`FIONREAD`).
pub(super) fn available(open: &OpenFile) -> Option<usize> {
    let any = open.file.as_any();
    if let Some(end) = any.downcast_ref::<StreamEnd>() {
        return Some(end.available());
    }
    match any.downcast_ref::<Socket>()?.role()? {
        Role::Stream(end) => Some(end.available()),
        Role::HostSocket(socket) => socket.available().ok(),
        _ => None,
    }
}
