//! Calls on descriptors that move no bytes through guest memory: opening aside, everything from `close` to `copy_file_range`.

use std::sync::Arc;

use super::Args;
use crate::abi::{O_ACCMODE, O_APPEND, O_CLOEXEC, O_NONBLOCK};
use crate::errno::{Errno, SysResult};
use crate::file::{FileKind, OpenFile, SyncKind};
use crate::memory::{AddressSpaceExt, GuestAddr};
use crate::process::Process;
use crate::wait::lock;

/// Bytes moved at a time where a copy cannot be avoided.
const COPY_BUFFER: usize = 64 * 1024;
/// Most bytes one copying call moves.
const MAX_COPY: u64 = 0x7fff_f000;
/// `O_*` flags that `F_SETFL` can change; the last are kept for `F_GETFL` only.
const SETTABLE: u32 = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;
const O_ASYNC: u32 = 0o20_000;
const O_DIRECT: u32 = 0o40_000;
const O_LARGEFILE: u32 = 0o100_000;
const O_NOATIME: u32 = 0o1_000_000;

fn number(fd: i32) -> SysResult {
    u32::try_from(fd).map_err(|_| Errno::EBADF)
}

pub(super) fn close(process: &Process, args: &Args) -> SysResult {
    let descriptor = lock(&process.files).remove(args.i32(0))?;
    // Outside the table's lock: a last close may do work.
    drop(descriptor);
    Ok(0)
}

pub(super) fn close_range(process: &Process, args: &Args) -> SysResult {
    const UNSHARE: u32 = 2;
    const CLOEXEC: u32 = 4;
    let (first, last, flags) = (args.u32(0), args.u32(1), args.u32(2));
    if first > last || flags & !(UNSHARE | CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut closed = Vec::new();
    let mut files = lock(&process.files);
    let numbers: Vec<i32> = files
        .numbers()
        .filter(|&fd| u32::try_from(fd).is_ok_and(|fd| (first..=last).contains(&fd)))
        .collect();
    for fd in numbers {
        if flags & CLOEXEC != 0 {
            files.set_close_on_exec(fd, true)?;
        } else {
            closed.push(files.remove(fd)?);
        }
    }
    drop(files);
    drop(closed);
    Ok(0)
}

pub(super) fn dup(process: &Process, args: &Args) -> SysResult {
    let mut files = lock(&process.files);
    let open = files.get(args.i32(0))?;
    number(files.insert(open, false, 0)?)
}

pub(super) fn dup3(process: &Process, args: &Args) -> SysResult {
    let (old, new, flags) = (args.i32(0), args.i32(1), args.u32(2));
    if old == new || flags & !O_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    let mut files = lock(&process.files);
    let open = files.get(old)?;
    let replaced = files.replace(new, open, flags & O_CLOEXEC != 0)?;
    drop(files);
    drop(replaced);
    number(new)
}

pub(super) fn fcntl64(process: &Process, args: &Args) -> SysResult {
    const F_DUPFD: u32 = 0;
    const F_GETFD: u32 = 1;
    const F_SETFD: u32 = 2;
    const F_GETFL: u32 = 3;
    const F_SETFL: u32 = 4;
    const F_SETOWN: u32 = 8;
    const F_GETOWN: u32 = 9;
    const F_GETLK: u32 = 12;
    const F_SETLK: u32 = 13;
    const F_SETLKW: u32 = 14;
    const F_DUPFD_CLOEXEC: u32 = 1030;
    let (fd, argument) = (args.i32(0), args.u32(2));
    let open = process.file(fd)?;
    match args.u32(1) {
        command @ (F_DUPFD | F_DUPFD_CLOEXEC) => {
            let from = i32::try_from(argument).map_err(|_| Errno::EINVAL)?;
            number(lock(&process.files).insert(open, command == F_DUPFD_CLOEXEC, from)?)
        }
        F_GETFD => Ok(u32::from(
            lock(&process.files).descriptor(fd)?.close_on_exec,
        )),
        F_SETFD => lock(&process.files)
            .set_close_on_exec(fd, argument & 1 != 0)
            .map(|()| 0),
        F_GETFL => Ok(open.flags() | O_LARGEFILE),
        F_SETFL => {
            open.set_flags((open.flags() & !SETTABLE) | (argument & SETTABLE));
            Ok(0)
        }
        F_SETOWN | F_GETOWN => Ok(0),
        command @ (F_GETLK | F_SETLK | F_SETLKW) => {
            record_lock(process, &open, command == F_GETLK, args.ptr(2))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `struct flock` of the guest: two 16-bit fields, padding, two 64-bit ones and the pid. Locks never conflict.
fn record_lock(process: &Process, open: &OpenFile, get: bool, at: GuestAddr) -> SysResult {
    const F_RDLCK: u32 = 0;
    const F_WRLCK: u32 = 1;
    const F_UNLCK: u32 = 2;
    let head = process.space().read_u32(at)?;
    let (wanted, whence) = (head & 0xffff, head >> 16);
    if wanted > F_UNLCK || whence > 2 {
        return Err(Errno::EINVAL);
    }
    if get {
        process.space().write_u32(at, whence << 16 | F_UNLCK)?;
        return Ok(0);
    }
    if (wanted == F_RDLCK && !open.readable()) || (wanted == F_WRLCK && !open.writable()) {
        return Err(Errno::EBADF);
    }
    Ok(0)
}

pub(super) fn flock(process: &Process, args: &Args) -> SysResult {
    process.file(args.i32(0))?;
    // LOCK_NB aside, one of LOCK_SH, LOCK_EX, LOCK_UN.
    if matches!(args.u32(1) & !4, 1 | 2 | 8) {
        Ok(0)
    } else {
        Err(Errno::EINVAL)
    }
}

pub(super) fn ioctl(process: &Process, args: &Args) -> SysResult {
    const FIONREAD: u32 = 0x541B;
    const TIOCGWINSZ: u32 = 0x5413;
    const FIONBIO: u32 = 0x5421;
    const FIONCLEX: u32 = 0x5450;
    const FIOCLEX: u32 = 0x5451;
    let fd = args.i32(0);
    let open = process.file(fd)?;
    match args.u32(1) {
        FIONREAD if open.file.seekable() => {
            let left = open.file.size()?.saturating_sub(*lock(&open.position));
            process.space().write_u32(
                args.ptr(2),
                u32::try_from(left.min(i32::MAX as u64)).unwrap_or(0),
            )?;
            Ok(0)
        }
        FIONREAD => {
            let n = super::socket::available(&open).ok_or(Errno::ENOTTY)?;
            process
                .space()
                .write_u32(args.ptr(2), u32::try_from(n).unwrap_or(u32::MAX))?;
            Ok(0)
        }
        TIOCGWINSZ => {
            let size = open.file.window_size().ok_or(Errno::ENOTTY)?;
            let words = u64::from(size.rows) | u64::from(size.columns) << 16;
            process.space().write_u64(args.ptr(2), words)?;
            Ok(0)
        }
        FIONBIO => {
            let on = process.space().read_u32(args.ptr(2))? != 0;
            open.set_flags(if on {
                open.flags() | O_NONBLOCK
            } else {
                open.flags() & !O_NONBLOCK
            });
            Ok(0)
        }
        command @ (FIOCLEX | FIONCLEX) => lock(&process.files)
            .set_close_on_exec(fd, command == FIOCLEX)
            .map(|()| 0),
        _ => Err(Errno::ENOTTY),
    }
}

/// `_llseek(fd, high, low, &result, whence)`.
pub(super) fn llseek(process: &Process, args: &Args) -> SysResult {
    const SEEK_SET: u32 = 0;
    const SEEK_CUR: u32 = 1;
    const SEEK_END: u32 = 2;
    const SEEK_DATA: u32 = 3;
    const SEEK_HOLE: u32 = 4;
    let open = process.file(args.i32(0))?;
    let offset = (u64::from(args.u32(1)) << 32 | u64::from(args.u32(2))).cast_signed();
    if !open.file.seekable() && open.file.stat()?.kind != FileKind::Directory {
        return Err(Errno::ESPIPE);
    }
    let mut position = lock(&open.position);
    let base = match args.u32(4) {
        SEEK_SET => 0,
        SEEK_CUR => *position,
        SEEK_END => open.file.size()?,
        whence @ (SEEK_DATA | SEEK_HOLE) => {
            // Every byte counts as data: allowed, and holes are only an optimisation.
            let size = open.file.size()?;
            let from = u64::try_from(offset)
                .ok()
                .filter(|&from| from < size)
                .ok_or(Errno::ENXIO)?;
            *position = if whence == SEEK_DATA { from } else { size };
            return process
                .space()
                .write_u64(args.ptr(3), *position)
                .map(|()| 0);
        }
        _ => return Err(Errno::EINVAL),
    };
    let target = base
        .checked_add_signed(offset)
        .filter(|&target| i64::try_from(target).is_ok())
        .ok_or(Errno::EINVAL)?;
    process.space().write_u64(args.ptr(3), target)?;
    *position = target;
    Ok(0)
}

pub(super) fn ftruncate64(process: &Process, args: &Args) -> SysResult {
    let open = process.file(args.i32(0))?;
    let len = u64::try_from(args.i64(1)).map_err(|_| Errno::EINVAL)?;
    if !open.writable() {
        return Err(Errno::EINVAL);
    }
    open.file.set_len(len).map(|()| 0)
}

pub(super) fn fallocate(process: &Process, args: &Args) -> SysResult {
    const KEEP_SIZE: u32 = 1;
    let open = process.file(args.i32(0))?;
    let (Ok(offset), Ok(len @ 1..)) = (u64::try_from(args.i64(2)), u64::try_from(args.i64(4)))
    else {
        return Err(Errno::EINVAL);
    };
    if !open.writable() {
        return Err(Errno::EBADF);
    }
    if !open.file.seekable() {
        return Err(Errno::ESPIPE);
    }
    match args.u32(1) {
        mode @ (0 | KEEP_SIZE) => open
            .file
            .allocate(offset, len, mode == KEEP_SIZE)
            .map(|()| 0),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// For calls that are advice to the system: checks the descriptor.
fn advice(process: &Process, args: &Args) -> SysResult {
    let open = process.file(args.i32(0))?;
    if open.file.seekable() {
        Ok(0)
    } else {
        Err(Errno::ESPIPE)
    }
}

pub(super) fn fadvise64_64(process: &Process, args: &Args) -> SysResult {
    if args.u32(5) > 5 {
        return Err(Errno::EINVAL);
    }
    advice(process, args)
}

pub(super) fn readahead(process: &Process, args: &Args) -> SysResult {
    advice(process, args)
}

pub(super) fn sync_file_range(process: &Process, args: &Args) -> SysResult {
    if args.i64(1) < 0 || args.i64(3) < 0 || args.u32(5) > 7 {
        return Err(Errno::EINVAL);
    }
    advice(process, args)
}

pub(super) fn fsync(process: &Process, args: &Args) -> SysResult {
    process
        .file(args.i32(0))?
        .file
        .sync(SyncKind::All)
        .map(|()| 0)
}

pub(super) fn fdatasync(process: &Process, args: &Args) -> SysResult {
    process
        .file(args.i32(0))?
        .file
        .sync(SyncKind::Data)
        .map(|()| 0)
}

pub(super) fn sync(process: &Process, _args: &Args) -> SysResult {
    // Cannot fail, says POSIX.
    let _ = process.kernel()?.vfs().sync(None);
    Ok(0)
}

pub(super) fn syncfs(process: &Process, args: &Args) -> SysResult {
    let open = process.file(args.i32(0))?;
    match &open.path {
        Some(path) => process.kernel()?.vfs().sync(Some(path)).map(|()| 0),
        None => Ok(0),
    }
}

/// An optional 64-bit offset in guest memory, or the description's position.
enum Cursor {
    Guest(GuestAddr, u64),
    Position(u64),
}

impl Cursor {
    fn new(process: &Process, open: &OpenFile, at: GuestAddr) -> Result<Self, Errno> {
        if !open.file.seekable() {
            return Err(Errno::EINVAL);
        }
        if at.is_null() {
            return Ok(Self::Position(*lock(&open.position)));
        }
        let offset = process.space().read_u64(at)?;
        if i64::try_from(offset).is_err() {
            return Err(Errno::EINVAL);
        }
        Ok(Self::Guest(at, offset))
    }

    const fn offset(&self) -> u64 {
        match self {
            Self::Guest(_, offset) | Self::Position(offset) => *offset,
        }
    }

    fn advance(&self, process: &Process, open: &OpenFile, by: u64) -> Result<(), Errno> {
        let offset = self.offset().saturating_add(by);
        match self {
            Self::Guest(at, _) => process.space().write_u64(*at, offset),
            Self::Position(_) => {
                *lock(&open.position) = offset;
                Ok(())
            }
        }
    }
}

pub(super) fn copy_file_range(process: &Process, args: &Args) -> SysResult {
    let (source, target) = (process.file(args.i32(0))?, process.file(args.i32(2))?);
    if !source.readable() || !target.writable() || target.flags() & O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    if args.u32(5) != 0 {
        return Err(Errno::EINVAL);
    }
    for open in [&source, &target] {
        match open.file.stat()?.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
    }
    let (from, to) = (
        Cursor::new(process, &source, args.ptr(1))?,
        Cursor::new(process, &target, args.ptr(3))?,
    );
    let len = u64::from(args.u32(4)).min(MAX_COPY);
    let same = Arc::ptr_eq(&source.file, &target.file) || {
        let (a, b) = (source.file.stat()?, target.file.stat()?);
        (a.device, a.inode) == (b.device, b.inode)
    };
    if same
        && from.offset() < to.offset().saturating_add(len)
        && to.offset() < from.offset().saturating_add(len)
    {
        return Err(Errno::EINVAL);
    }
    let done = match target
        .file
        .clone_range(&*source.file, from.offset(), to.offset(), len)
    {
        Err(Errno::EOPNOTSUPP) => copy_through_buffer(&source, from.offset(), len, |at, bytes| {
            target.file.write_at(to.offset().saturating_add(at), bytes)
        })?,
        other => other?,
    };
    from.advance(process, &source, done)?;
    to.advance(process, &target, done)?;
    u32::try_from(done).map_err(|_| Errno::EOVERFLOW)
}

pub(super) fn sendfile64(process: &Process, args: &Args) -> SysResult {
    let (target, source) = (process.file(args.i32(0))?, process.file(args.i32(1))?);
    if !source.readable() || !target.writable() {
        return Err(Errno::EBADF);
    }
    if target.flags() & O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let from = Cursor::new(process, &source, args.ptr(2))?;
    let len = u64::from(args.u32(3)).min(MAX_COPY);
    let done = if target.file.seekable() {
        let to = Cursor::new(process, &target, GuestAddr::NULL)?;
        let done = copy_through_buffer(&source, from.offset(), len, |at, bytes| {
            target.file.write_at(to.offset().saturating_add(at), bytes)
        })?;
        to.advance(process, &target, done)?;
        done
    } else {
        copy_through_buffer(&source, from.offset(), len, |_, bytes| {
            super::io::write_stream(process, &target, bytes)
        })?
    };
    from.advance(process, &source, done)?;
    u32::try_from(done).map_err(|_| Errno::EOVERFLOW)
}

/// Gives `len` bytes of `source` to `put` piece by piece, with how far it is; ends early at the source's end or a short `put`.
fn copy_through_buffer(
    source: &OpenFile,
    offset: u64,
    len: u64,
    mut put: impl FnMut(u64, &[u8]) -> Result<usize, Errno>,
) -> Result<u64, Errno> {
    let mut buffer = vec![0; COPY_BUFFER.min(usize::try_from(len).unwrap_or(COPY_BUFFER))];
    let mut done = 0;
    while done < len {
        let want = usize::try_from(len - done)
            .unwrap_or(COPY_BUFFER)
            .min(buffer.len());
        let step = source
            .file
            .read_at(offset.saturating_add(done), &mut buffer[..want])
            .and_then(|n| {
                if n == 0 {
                    Ok((0, 0))
                } else {
                    put(done, &buffer[..n]).map(|put| (n, put))
                }
            });
        match step {
            Ok((0, _)) => break,
            Ok((read, put)) => {
                done += put as u64;
                if put < read {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// The extended attribute calls.
pub(super) fn no_attributes(_process: &Process, _args: &Args) -> SysResult {
    Err(Errno::EOPNOTSUPP)
}

/// The splice calls.
pub(super) fn no_splice(_process: &Process, _args: &Args) -> SysResult {
    Err(Errno::EINVAL)
}

/// The access mode and status flags a description keeps of those it was opened with.
pub(super) const fn kept_flags(flags: u32) -> u32 {
    flags & (O_ACCMODE | SETTABLE | crate::abi::O_SYNC | crate::abi::O_DIRECTORY)
}
