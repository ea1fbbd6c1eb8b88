//! One directory of the host, and nothing outside it.
//!
//! **Invariant:** the host never resolves a symbolic link, an absolute path or `..` for the guest. Paths arrive normalised; each
//! component is opened relative to a descriptor below the root with `O_NOFOLLOW` (on Linux in one `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`),
//! and links are reported to the vfs, which resolves their text in the guest's name space. Only regular files and directories
//! are opened; devices, pipes and sockets that lie in the directory are not.
//!
//! Everything is reported as owned by the guest's user. The host's own permission checks and its umask apply.

mod beneath;
mod directory;
mod file;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Timestamps};

use self::beneath::Beneath;
use self::directory::HostDirectory;
use self::file::{HostFile, OpenFiles};
use super::{FileSystem, FsError, FsResult, FsUsage, GUEST_GID, GUEST_UID, OpenHow, next_device};
use crate::errno::Errno;
use crate::file::{DirEntry, File, FileKind, FileTime, Stat};

/// A directory of the host as a file system. `fsync` is the host's; see [`File::sync`].
pub struct HostFs {
    root: Beneath,
    device: u64,
    open: Arc<OpenFiles>,
}

impl HostFs {
    /// The directory `dir` of the host, which must exist. It stays this directory even if it is renamed.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let root = rustix::fs::open(dir, flags, Mode::empty())?;
        Ok(Self {
            root: Beneath::new(root),
            device: next_device(),
            open: Arc::default(),
        })
    }

    /// Host descriptors held for regular files: one for each file and way of opening it, however many guests have it open.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.open.count()
    }

    /// Runs `op` on the directory of `path` and its last name; a root path is `root_error`.
    fn at<T>(
        &self,
        path: &str,
        root_error: Errno,
        op: impl FnOnce(BorrowedFd<'_>, &str) -> Result<T, Errno>,
    ) -> FsResult<T> {
        if path.is_empty() {
            return Err(root_error.into());
        }
        let (parent, name) = self.root.parent(path)?;
        Ok(op(parent.as_fd(), name)?)
    }

    /// The link at the end of `path` as the vfs wants it, if there is one.
    fn link_at(&self, parent: BorrowedFd<'_>, name: &str, path: &str) -> FsResult<()> {
        match beneath::read_link(parent, name) {
            Ok(target) => Err(FsError::Symlink {
                consumed: path.len(),
                target,
            }),
            Err(_) => Ok(()),
        }
    }

    fn open_at(&self, parent: BorrowedFd<'_>, name: &str, how: &OpenHow) -> Result<OwnedFd, Errno> {
        let mut flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags |= match (how.read, how.write) {
            (_, false) => OFlags::RDONLY,
            (false, true) => OFlags::WRONLY,
            (true, true) => OFlags::RDWR,
        };
        for (wanted, flag) in [
            (how.create, OFlags::CREATE),
            (how.create && how.exclusive, OFlags::EXCL),
            (how.truncate, OFlags::TRUNC),
            (how.directory, OFlags::DIRECTORY),
            (how.synchronised, OFlags::DSYNC),
        ] {
            flags.set(flag, wanted);
        }
        Ok(retry(|| {
            rustix::fs::openat(parent, name, flags, mode(how.mode))
        })?)
    }

    fn wrap(&self, fd: OwnedFd, how: &OpenHow) -> Result<Arc<dyn File>, Errno> {
        let stat = retry(|| rustix::fs::fstat(&fd))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Arc::new(HostDirectory::new(fd, self.device))),
            FileType::RegularFile => Ok(HostFile::shared(&self.open, fd, &stat, how, self.device)),
            _ => Err(Errno::ENXIO),
        }
    }
}

impl FileSystem for HostFs {
    fn open(&self, path: &str, how: &OpenHow) -> FsResult<Arc<dyn File>> {
        if path.is_empty() {
            if how.write || how.create {
                return Err(Errno::EISDIR.into());
            }
            let fd = retry(|| {
                rustix::fs::openat(
                    &self.root,
                    ".",
                    OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                )
            })
            .map_err(Errno::from)?;
            return Ok(self.wrap(fd, how)?);
        }
        let (parent, name) = self.root.parent(path)?;
        match self.open_at(parent.as_fd(), name, how) {
            Ok(fd) => Ok(self.wrap(fd, how)?),
            // ELOOP (EMLINK on some systems, ENOTDIR with O_DIRECTORY): a link where none is followed.
            Err(errno @ (Errno::ELOOP | Errno::EMLINK | Errno::ENOTDIR)) => {
                if !how.no_follow {
                    self.link_at(parent.as_fd(), name, path)?;
                }
                Err(errno.into())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn stat(&self, path: &str, follow: bool) -> FsResult<Stat> {
        let stat = if path.is_empty() {
            retry(|| rustix::fs::fstat(&self.root)).map_err(Errno::from)?
        } else {
            let (parent, name) = self.root.parent(path)?;
            let stat = retry(|| rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW))
                .map_err(Errno::from)?;
            if follow && FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                self.link_at(parent.as_fd(), name, path)?;
            }
            stat
        };
        Ok(convert(&stat, self.device))
    }

    fn mkdir(&self, path: &str, wanted: u32) -> FsResult<()> {
        self.at(path, Errno::EEXIST, |parent, name| {
            Ok(retry(|| rustix::fs::mkdirat(parent, name, mode(wanted)))?)
        })
    }

    fn unlink(&self, path: &str) -> FsResult<()> {
        self.at(path, Errno::EISDIR, |parent, name| {
            match retry(|| rustix::fs::unlinkat(parent, name, AtFlags::empty())) {
                // POSIX's answer for a directory, where Linux says EISDIR.
                Err(rustix::io::Errno::PERM) if beneath::is_directory(parent, name) => {
                    Err(Errno::EISDIR)
                }
                other => Ok(other?),
            }
        })
    }

    fn rmdir(&self, path: &str) -> FsResult<()> {
        self.at(path, Errno::EBUSY, |parent, name| {
            match retry(|| rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)) {
                Err(rustix::io::Errno::EXIST) => Err(Errno::ENOTEMPTY),
                other => Ok(other?),
            }
        })
    }

    fn rename(&self, from: &str, to: &str, no_replace: bool) -> FsResult<()> {
        if from.is_empty() || to.is_empty() {
            return Err(Errno::EBUSY.into());
        }
        let (from_parent, from_name) = self.root.parent(from)?;
        let (to_parent, to_name) = self.root.parent(to)?;
        let outcome = if no_replace {
            retry(|| {
                rustix::fs::renameat_with(
                    &from_parent,
                    from_name,
                    &to_parent,
                    to_name,
                    RenameFlags::NOREPLACE,
                )
            })
        } else {
            retry(|| rustix::fs::renameat(&from_parent, from_name, &to_parent, to_name))
        };
        match outcome {
            Err(rustix::io::Errno::EXIST) if !no_replace => Err(Errno::ENOTEMPTY.into()),
            other => Ok(other.map_err(Errno::from)?),
        }
    }

    fn link(&self, from: &str, to: &str) -> FsResult<()> {
        if from.is_empty() || to.is_empty() {
            return Err(Errno::EPERM.into());
        }
        let (from_parent, from_name) = self.root.parent(from)?;
        let (to_parent, to_name) = self.root.parent(to)?;
        Ok(retry(|| {
            rustix::fs::linkat(
                &from_parent,
                from_name,
                &to_parent,
                to_name,
                AtFlags::empty(),
            )
        })
        .map_err(Errno::from)?)
    }

    fn symlink(&self, target: &str, path: &str) -> FsResult<()> {
        self.at(path, Errno::EEXIST, |parent, name| {
            Ok(retry(|| rustix::fs::symlinkat(target, parent, name))?)
        })
    }

    fn make_socket(&self, path: &str, wanted: u32) -> FsResult<()> {
        self.at(path, Errno::EEXIST, |parent, name| {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            {
                Ok(retry(|| {
                    rustix::fs::mknodat(parent, name, FileType::Socket, mode(wanted), 0)
                })?)
            }
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            {
                let _ = (parent, name, wanted);
                Err(Errno::EPERM)
            }
        })
    }

    fn read_link(&self, path: &str) -> FsResult<String> {
        self.at(path, Errno::EINVAL, beneath::read_link)
    }

    fn read_dir(&self, path: &str) -> FsResult<Vec<DirEntry>> {
        let how = OpenHow {
            read: true,
            directory: true,
            ..OpenHow::default()
        };
        Ok(self.open(path, &how)?.read_dir()?)
    }

    fn set_mode(&self, path: &str, wanted: u32) -> FsResult<()> {
        if path.is_empty() {
            return Ok(retry(|| {
                rustix::fs::chmodat(&self.root, ".", mode(wanted), AtFlags::empty())
            })
            .map_err(Errno::from)?);
        }
        // The host cannot change a mode without following links: look first, then go through a descriptor where possible.
        self.stat(path, true)?;
        let how = OpenHow {
            read: true,
            no_follow: true,
            ..OpenHow::default()
        };
        match self.open(path, &how) {
            Ok(file) => Ok(file.set_mode(wanted)?),
            // A socket, or a file without the owner's read bit.
            Err(FsError::Errno(Errno::ENXIO | Errno::EACCES)) => {
                self.at(path, Errno::EPERM, |parent, name| {
                    beneath::set_mode(parent, name, mode(wanted))
                })
            }
            Err(error) => Err(error),
        }
    }

    fn set_times(
        &self,
        path: &str,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> FsResult<()> {
        let times = timestamps(accessed, modified);
        if path.is_empty() {
            return Ok(
                retry(|| rustix::fs::utimensat(&self.root, ".", &times, AtFlags::empty()))
                    .map_err(Errno::from)?,
            );
        }
        self.stat(path, true)?;
        self.at(path, Errno::EPERM, |parent, name| {
            Ok(retry(|| {
                rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            })?)
        })
    }

    fn usage(&self) -> FsResult<FsUsage> {
        let usage = retry(|| rustix::fs::fstatvfs(&self.root)).map_err(Errno::from)?;
        Ok(FsUsage {
            magic: 0xEF53,
            block_size: u32::try_from(usage.f_frsize).unwrap_or(4096),
            blocks: usage.f_blocks,
            free: usage.f_bavail,
            files: usage.f_files,
            files_free: usage.f_ffree,
        })
    }

    fn sync(&self) -> FsResult<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            Ok(retry(|| rustix::fs::syncfs(&self.root)).map_err(Errno::from)?)
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            rustix::fs::sync();
            Ok(())
        }
    }
}

/// Repeats a call that a signal of the host interrupted.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode((bits & 0o7777) as rustix::fs::RawMode)
}

fn timestamps(accessed: Option<FileTime>, modified: Option<FileTime>) -> Timestamps {
    let convert = |time: Option<FileTime>| match time {
        Some(time) => rustix::fs::Timespec {
            tv_sec: time.seconds,
            tv_nsec: i64::from(time.nanoseconds),
        },
        None => rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
    };
    Timestamps {
        last_access: convert(accessed),
        last_modification: convert(modified),
    }
}

fn kind(file_type: FileType) -> FileKind {
    match file_type {
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Socket => FileKind::Socket,
        FileType::Fifo => FileKind::Fifo,
        FileType::CharacterDevice | FileType::BlockDevice => FileKind::CharDevice,
        FileType::RegularFile | FileType::Unknown => FileKind::Regular,
    }
}

#[expect(
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    reason = "the fields' types differ between hosts"
)]
fn convert(stat: &rustix::fs::Stat, device: u64) -> Stat {
    let time = |seconds: i64, nanoseconds: u64| FileTime {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    };
    Stat {
        device,
        inode: u64::from(stat.st_ino),
        kind: kind(FileType::from_raw_mode(stat.st_mode)),
        mode: u32::from(stat.st_mode) & 0o7777,
        links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: GUEST_UID,
        gid: GUEST_GID,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        accessed: time(stat.st_atime, stat.st_atime_nsec as u64),
        modified: time(stat.st_mtime, stat.st_mtime_nsec as u64),
        changed: time(stat.st_ctime, stat.st_ctime_nsec as u64),
    }
}

#[cfg(test)]
mod tests;
