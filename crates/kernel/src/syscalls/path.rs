//! Calls that take a path: opening, status, names, links, modes, working directory.

use std::sync::Arc;

use super::Args;
use super::file::kept_flags;
use crate::abi::{
    AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, O_ACCMODE, O_CLOEXEC, O_CREAT,
    O_DIRECTORY, O_DSYNC, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, PATH_MAX,
};
use crate::errno::{Errno, SysResult};
use crate::file::{DirEntry, FileKind, FileTime, OpenFile, Stat};
use crate::fs::{FsUsage, GUEST_GID, GUEST_UID, NAME_MAX, OpenHow, now};
use crate::kernel::Kernel;
use crate::memory::{AddressSpaceExt, GuestAddr};
use crate::process::Process;
use crate::wait::lock;

const O_PATH: u32 = 0o10_000_000;
const O_TMPFILE: u32 = 0o20_000_000;
const AT_EACCESS: u32 = 0x200;
const AT_SYMLINK_FOLLOW: u32 = 0x400;
/// Bits of `AT_STATX_*` and `AT_NO_AUTOMOUNT`, which change nothing here.
const AT_IGNORED: u32 = 0x6000 | 0x800;

/// A path argument: its text and the directory it is relative to.
struct PathArg {
    base: String,
    text: String,
}

impl PathArg {
    fn pair(&self) -> (&str, &str) {
        (&self.base, &self.text)
    }
}

/// The string in slot `n`; `EINVAL` when it is not UTF-8.
fn text(process: &Process, at: GuestAddr) -> Result<String, Errno> {
    let bytes = process.space().read_c_string(at, PATH_MAX)?;
    String::from_utf8(bytes).map_err(|_| Errno::EINVAL)
}

fn cwd(process: &Process) -> String {
    lock(&process.fs).cwd.clone()
}

/// The absolute path of the directory a descriptor refers to.
fn directory_path(open: &OpenFile) -> Result<String, Errno> {
    match &open.path {
        Some(path) if open.file.stat()?.kind == FileKind::Directory => Ok(path.clone()),
        _ => Err(Errno::ENOTDIR),
    }
}

/// The path in slot `n`, relative to the directory descriptor `fd`.
fn path_at(process: &Process, fd: i32, at: GuestAddr) -> Result<PathArg, Errno> {
    let text = text(process, at)?;
    let base = if text.starts_with('/') {
        String::new()
    } else if fd == AT_FDCWD {
        cwd(process)
    } else {
        directory_path(&*process.file(fd)?)?
    };
    Ok(PathArg { base, text })
}

/// The path in slot `n`, relative to the working directory.
fn path(process: &Process, args: &Args, n: usize) -> Result<PathArg, Errno> {
    path_at(process, AT_FDCWD, args.ptr(n))
}

fn masked(process: &Process, mode: u32) -> u32 {
    mode & 0o7777 & !lock(&process.fs).umask
}

fn kernel(process: &Process) -> Result<Arc<Kernel>, Errno> {
    process.kernel()
}

pub(super) fn openat(process: &Process, args: &Args) -> SysResult {
    let path = path_at(process, args.i32(0), args.ptr(1))?;
    let flags = args.u32(2);
    if flags & (O_PATH | O_TMPFILE) != 0 {
        return Err(if flags & O_TMPFILE != 0 {
            Errno::EOPNOTSUPP
        } else {
            Errno::EINVAL
        });
    }
    let access = flags & O_ACCMODE;
    if access == O_ACCMODE || (flags & O_CREAT != 0 && flags & O_DIRECTORY != 0) {
        return Err(Errno::EINVAL);
    }
    let opened = if let Some(fd) = descriptor_path(&path.text) {
        reopen(process, fd, access)?
    } else {
        let how = OpenHow {
            read: access == O_RDONLY || access == O_RDWR,
            write: access == O_WRONLY || access == O_RDWR,
            create: flags & O_CREAT != 0,
            exclusive: flags & O_EXCL != 0,
            truncate: flags & O_TRUNC != 0,
            directory: flags & O_DIRECTORY != 0,
            no_follow: flags & O_NOFOLLOW != 0,
            synchronised: flags & O_DSYNC != 0,
            mode: masked(process, args.u32(3)),
        };
        let (file, absolute) = kernel(process)?.vfs().open(&path.base, &path.text, &how)?;
        OpenFile::new(file, kept_flags(flags), Some(absolute))
    };
    let fd = lock(&process.files).insert(opened, flags & O_CLOEXEC != 0, 0)?;
    u32::try_from(fd).map_err(|_| Errno::EMFILE)
}

/// The descriptor that a path like `/dev/stdout` names: there is no `/proc` to hold links for them.
fn descriptor_path(path: &str) -> Option<i32> {
    match path {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        _ => path
            .strip_prefix("/dev/fd/")
            .or_else(|| path.strip_prefix("/proc/self/fd/"))?
            .parse()
            .ok(),
    }
}

/// A new description of what a descriptor refers to, at most as able.
fn reopen(process: &Process, fd: i32, access: u32) -> Result<Arc<OpenFile>, Errno> {
    let open = process.file(fd).map_err(|_| Errno::ENOENT)?;
    if (access != O_WRONLY && !open.readable()) || (access != O_RDONLY && !open.writable()) {
        return Err(Errno::EACCES);
    }
    Ok(OpenFile::new(
        Arc::clone(&open.file),
        (open.flags() & !O_ACCMODE) | access,
        open.path.clone(),
    ))
}

pub(super) fn statx(process: &Process, args: &Args) -> SysResult {
    let flags = args.u32(2);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_IGNORED) != 0 {
        return Err(Errno::EINVAL);
    }
    let stat = stat_at(process, args.i32(0), args.ptr(1), flags)?;
    process.space().write(args.ptr(4), &statx_bytes(&stat))?;
    Ok(0)
}

/// The status of a path, or of the descriptor itself for an empty one.
fn stat_at(process: &Process, fd: i32, at: GuestAddr, flags: u32) -> Result<Stat, Errno> {
    let empty =
        flags & AT_EMPTY_PATH != 0 && (at.is_null() || process.space().bytes(at, 1)?[0] == 0);
    if !empty {
        let path = path_at(process, fd, at)?;
        return kernel(process)?.vfs().stat(
            &path.base,
            &path.text,
            flags & AT_SYMLINK_NOFOLLOW == 0,
        );
    }
    if fd == AT_FDCWD {
        return kernel(process)?.vfs().stat("/", &cwd(process), true);
    }
    process.file(fd)?.file.stat()
}

/// `struct statx`, 256 bytes.
fn statx_bytes(stat: &Stat) -> [u8; 256] {
    const BASIC_STATS: u32 = 0x7ff;
    let mut out = [0; 256];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    let mode = stat.kind as u32 | stat.mode;
    put(0, &BASIC_STATS.to_le_bytes());
    put(4, &4096_u32.to_le_bytes());
    put(16, &stat.links.to_le_bytes());
    put(20, &stat.uid.to_le_bytes());
    put(24, &stat.gid.to_le_bytes());
    put(28, &mode.to_le_bytes()[..2]);
    put(32, &stat.inode.to_le_bytes());
    put(40, &stat.size.to_le_bytes());
    put(48, &stat.blocks.to_le_bytes());
    for (at, time) in [
        (64, stat.accessed),
        (96, stat.changed),
        (112, stat.modified),
    ] {
        put(at, &time.seconds.to_le_bytes());
        put(at + 8, &time.nanoseconds.to_le_bytes());
    }
    let device = stat.device.to_le_bytes();
    put(
        136,
        &u32::from_le_bytes([device[4], device[5], device[6], device[7]]).to_le_bytes(),
    );
    put(
        140,
        &u32::from_le_bytes([device[0], device[1], device[2], device[3]]).to_le_bytes(),
    );
    out
}

pub(super) fn faccessat(process: &Process, args: &Args) -> SysResult {
    access(process, args, 0)
}

pub(super) fn faccessat2(process: &Process, args: &Args) -> SysResult {
    access(process, args, args.u32(3))
}

/// Checks the owner's bits: the guest owns everything.
fn access(process: &Process, args: &Args, flags: u32) -> SysResult {
    let wanted = args.u32(2);
    if wanted > 7 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let stat = stat_at(process, args.i32(0), args.ptr(1), flags)?;
    if stat.mode >> 6 & wanted != wanted {
        return Err(Errno::EACCES);
    }
    if wanted & 2 != 0
        && matches!(stat.kind, FileKind::Regular | FileKind::Directory)
        && flags & AT_EMPTY_PATH == 0
    {
        let path = path_at(process, args.i32(0), args.ptr(1))?;
        // The link's own file system is not what counts, but a link has been followed already or was not wanted.
        if kernel(process)?.vfs().usage(&path.base, &path.text)?.1 {
            return Err(Errno::EROFS);
        }
    }
    Ok(0)
}

pub(super) fn truncate64(process: &Process, args: &Args) -> SysResult {
    let path = path(process, args, 0)?;
    let len = u64::try_from(args.i64(1)).map_err(|_| Errno::EINVAL)?;
    let how = OpenHow {
        write: true,
        ..OpenHow::default()
    };
    let (file, _) = kernel(process)?.vfs().open(&path.base, &path.text, &how)?;
    if !file.seekable() {
        return Err(Errno::EINVAL);
    }
    file.set_len(len).map(|()| 0)
}

pub(super) fn mkdirat(process: &Process, args: &Args) -> SysResult {
    let path = path_at(process, args.i32(0), args.ptr(1))?;
    let mode = masked(process, args.u32(2));
    kernel(process)?
        .vfs()
        .mkdir(&path.base, &path.text, mode)
        .map(|()| 0)
}

pub(super) fn unlinkat(process: &Process, args: &Args) -> SysResult {
    let path = path_at(process, args.i32(0), args.ptr(1))?;
    let kernel = kernel(process)?;
    match args.u32(2) {
        0 => kernel.vfs().unlink(&path.base, &path.text).map(|()| 0),
        AT_REMOVEDIR => kernel.vfs().rmdir(&path.base, &path.text).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn symlinkat(process: &Process, args: &Args) -> SysResult {
    let target = text(process, args.ptr(0))?;
    let path = path_at(process, args.i32(1), args.ptr(2))?;
    kernel(process)?
        .vfs()
        .symlink(&target, &path.base, &path.text)
        .map(|()| 0)
}

pub(super) fn linkat(process: &Process, args: &Args) -> SysResult {
    let flags = args.u32(4);
    if flags & !AT_SYMLINK_FOLLOW != 0 {
        return Err(Errno::EINVAL);
    }
    let (from, to) = (
        path_at(process, args.i32(0), args.ptr(1))?,
        path_at(process, args.i32(2), args.ptr(3))?,
    );
    kernel(process)?
        .vfs()
        .link(from.pair(), to.pair(), flags & AT_SYMLINK_FOLLOW != 0)
        .map(|()| 0)
}

pub(super) fn renameat(process: &Process, args: &Args) -> SysResult {
    rename(process, args, 0)
}

pub(super) fn renameat2(process: &Process, args: &Args) -> SysResult {
    rename(process, args, args.u32(4))
}

fn rename(process: &Process, args: &Args, flags: u32) -> SysResult {
    const NOREPLACE: u32 = 1;
    if flags & !NOREPLACE != 0 {
        return Err(Errno::EINVAL);
    }
    let (from, to) = (
        path_at(process, args.i32(0), args.ptr(1))?,
        path_at(process, args.i32(2), args.ptr(3))?,
    );
    kernel(process)?
        .vfs()
        .rename(from.pair(), to.pair(), flags & NOREPLACE != 0)
        .map(|()| 0)
}

pub(super) fn readlinkat(process: &Process, args: &Args) -> SysResult {
    if args.i32(3) <= 0 {
        return Err(Errno::EINVAL);
    }
    let path = path_at(process, args.i32(0), args.ptr(1))?;
    let target = kernel(process)?.vfs().read_link(&path.base, &path.text)?;
    let n = target.len().min(args.u32(3) as usize);
    process
        .space()
        .write(args.ptr(2), &target.as_bytes()[..n])?;
    u32::try_from(n).map_err(|_| Errno::EOVERFLOW)
}

pub(super) fn fchmodat(process: &Process, args: &Args) -> SysResult {
    chmod(process, args, 0)
}

pub(super) fn fchmodat2(process: &Process, args: &Args) -> SysResult {
    chmod(process, args, args.u32(3))
}

fn chmod(process: &Process, args: &Args, flags: u32) -> SysResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = path_at(process, args.i32(0), args.ptr(1))?;
    if path.text.is_empty() && flags & AT_EMPTY_PATH != 0 {
        return fchmod(process, &Args([args.u32(0), args.u32(2), 0, 0, 0, 0]));
    }
    let kernel = kernel(process)?;
    if flags & AT_SYMLINK_NOFOLLOW != 0
        && kernel.vfs().stat(&path.base, &path.text, false)?.kind == FileKind::Symlink
    {
        return Err(Errno::EOPNOTSUPP);
    }
    kernel
        .vfs()
        .set_mode(&path.base, &path.text, args.u32(2) & 0o7777)
        .map(|()| 0)
}

pub(super) fn fchmod(process: &Process, args: &Args) -> SysResult {
    process
        .file(args.i32(0))?
        .file
        .set_mode(args.u32(1) & 0o7777)
        .map(|()| 0)
}

/// The guest's own user and group, or -1, are all that files can be given to.
fn check_owner(uid: u32, gid: u32) -> SysResult {
    let own = |id: u32, own: u32| id == own || id == u32::MAX;
    if own(uid, GUEST_UID) && own(gid, GUEST_GID) {
        Ok(0)
    } else {
        Err(Errno::EPERM)
    }
}

pub(super) fn fchownat(process: &Process, args: &Args) -> SysResult {
    stat_at(process, args.i32(0), args.ptr(1), args.u32(4))?;
    check_owner(args.u32(2), args.u32(3))
}

pub(super) fn fchown(process: &Process, args: &Args) -> SysResult {
    process.file(args.i32(0))?;
    check_owner(args.u32(1), args.u32(2))
}

pub(super) fn utimensat(process: &Process, args: &Args) -> SysResult {
    let flags = args.u32(3);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let (accessed, modified) = if args.ptr(2).is_null() {
        (Some(now()), Some(now()))
    } else {
        (
            time(process, args.ptr(2))?,
            time(process, args.ptr(2).offset(16)?)?,
        )
    };
    if args.ptr(1).is_null() {
        return process
            .file(args.i32(0))?
            .file
            .set_times(accessed, modified)
            .map(|()| 0);
    }
    let path = path_at(process, args.i32(0), args.ptr(1))?;
    let kernel = kernel(process)?;
    if flags & AT_SYMLINK_NOFOLLOW != 0
        && kernel.vfs().stat(&path.base, &path.text, false)?.kind == FileKind::Symlink
    {
        return Err(Errno::EOPNOTSUPP);
    }
    kernel
        .vfs()
        .set_times(&path.base, &path.text, accessed, modified)
        .map(|()| 0)
}

/// One `struct timespec` of `utimensat`: a time, now, or (`None`) leave it.
fn time(process: &Process, at: GuestAddr) -> Result<Option<FileTime>, Errno> {
    const UTIME_NOW: u32 = 0x3fff_ffff;
    const UTIME_OMIT: u32 = 0x3fff_fffe;
    let seconds = process.space().read_u64(at)?.cast_signed();
    match process.space().read_u32(at.offset(8)?)? {
        UTIME_NOW => Ok(Some(now())),
        UTIME_OMIT => Ok(None),
        nanoseconds if nanoseconds < 1_000_000_000 => Ok(Some(FileTime {
            seconds,
            nanoseconds,
        })),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn getcwd(process: &Process, args: &Args) -> SysResult {
    let mut path = cwd(process).into_bytes();
    path.push(0);
    let len = u32::try_from(path.len()).map_err(|_| Errno::ERANGE)?;
    if len > args.u32(1) {
        return Err(Errno::ERANGE);
    }
    process.space().write(args.ptr(0), &path)?;
    Ok(len)
}

pub(super) fn chdir(process: &Process, args: &Args) -> SysResult {
    let path = path(process, args, 0)?;
    let directory = kernel(process)?.vfs().directory(&path.base, &path.text)?;
    lock(&process.fs).cwd = directory;
    Ok(0)
}

pub(super) fn fchdir(process: &Process, args: &Args) -> SysResult {
    let path = directory_path(&*process.file(args.i32(0))?)?;
    lock(&process.fs).cwd = path;
    Ok(0)
}

pub(super) fn umask(process: &Process, args: &Args) -> SysResult {
    Ok(std::mem::replace(
        &mut lock(&process.fs).umask,
        args.u32(0) & 0o777,
    ))
}

pub(super) fn statfs64(process: &Process, args: &Args) -> SysResult {
    let path = path(process, args, 0)?;
    let usage = kernel(process)?.vfs().usage(&path.base, &path.text)?;
    put_statfs(process, args, usage)
}

pub(super) fn fstatfs64(process: &Process, args: &Args) -> SysResult {
    let open = process.file(args.i32(0))?;
    let usage = match &open.path {
        // An unlinked file is on its directory's file system.
        Some(path) => {
            let kernel = kernel(process)?;
            let parent =
                path.rsplit_once('/').map_or(
                    "/",
                    |(parent, _)| if parent.is_empty() { "/" } else { parent },
                );
            kernel
                .vfs()
                .usage("/", path)
                .or_else(|_| kernel.vfs().usage("/", parent))?
        }
        None => (
            FsUsage {
                magic: 0x5049_5045,
                block_size: 4096,
                blocks: 0,
                free: 0,
                files: 0,
                files_free: 0,
            },
            false,
        ),
    };
    put_statfs(process, args, usage)
}

/// `struct statfs` of the guest, 88 bytes.
fn put_statfs(process: &Process, args: &Args, (usage, read_only): (FsUsage, bool)) -> SysResult {
    if args.u32(1) < 84 {
        return Err(Errno::EINVAL);
    }
    let mut out = [0; 88];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &usage.magic.to_le_bytes());
    put(4, &usage.block_size.to_le_bytes());
    put(8, &usage.blocks.to_le_bytes());
    put(16, &usage.free.to_le_bytes());
    put(24, &usage.free.to_le_bytes());
    put(32, &usage.files.to_le_bytes());
    put(40, &usage.files_free.to_le_bytes());
    put(56, &u32::try_from(NAME_MAX).unwrap_or(255).to_le_bytes());
    put(60, &usage.block_size.to_le_bytes());
    put(64, &u32::from(read_only).to_le_bytes());
    let n = out.len().min(args.u32(1) as usize);
    process.space().write(args.ptr(2), &out[..n])?;
    Ok(0)
}

pub(super) fn getdents64(process: &Process, args: &Args) -> SysResult {
    let open = process.file(args.i32(0))?;
    let mut position = lock(&open.position);
    let mut listing = lock(&open.listing);
    if *position == 0 || listing.is_none() {
        let own = open.file.stat()?;
        if own.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let dot = |name: &str| DirEntry {
            name: name.to_owned(),
            inode: own.inode,
            kind: FileKind::Directory,
        };
        let mut entries = vec![dot("."), dot("..")];
        entries.append(&mut open.file.read_dir()?);
        *listing = Some(Arc::new(entries));
    }
    let entries = listing.as_ref().map(Arc::clone).unwrap_or_default();
    drop(listing);
    let room = args.u32(2).min(1 << 20);
    let out = process.space().bytes_mut(args.ptr(1), room)?;
    let mut used = 0;
    let mut at = usize::try_from(*position).unwrap_or(usize::MAX);
    while let Some(entry) = entries.get(at) {
        let Some(size) = put_entry(&mut out[used..], entry, at as u64 + 1) else {
            if used == 0 {
                return Err(Errno::EINVAL);
            }
            break;
        };
        used += size;
        at += 1;
    }
    *position = at.min(entries.len().max(1)) as u64;
    u32::try_from(used).map_err(|_| Errno::EOVERFLOW)
}

/// Writes a `struct linux_dirent64`; returns its size, `None` when it does not fit.
fn put_entry(out: &mut [u8], entry: &DirEntry, next: u64) -> Option<usize> {
    const HEAD: usize = 19;
    let size = (HEAD + entry.name.len() + 1).next_multiple_of(8);
    let out = out.get_mut(..size)?;
    out[..8].copy_from_slice(&entry.inode.to_le_bytes());
    out[8..16].copy_from_slice(&next.to_le_bytes());
    out[16..18].copy_from_slice(&u16::try_from(size).ok()?.to_le_bytes());
    // DT_* is the type part of the mode.
    out[18] = u8::try_from(entry.kind as u32 >> 12).ok()?;
    out[HEAD..HEAD + entry.name.len()].copy_from_slice(entry.name.as_bytes());
    out[HEAD + entry.name.len()..].fill(0);
    Some(size)
}
