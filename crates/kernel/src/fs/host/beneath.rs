//! Directories below a root, reached without ever following a link.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::retry;
use crate::errno::Errno;
use crate::fs::{FsError, FsResult};

/// The root directory.
pub(super) struct Beneath {
    root: OwnedFd,
    /// Cleared when the host has no `openat2` (an old kernel, a seccomp filter, another system).
    #[cfg(any(target_os = "linux", target_os = "android"))]
    openat2: std::sync::atomic::AtomicBool,
}

impl AsFd for Beneath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// The root itself, or a directory opened below it.
pub(super) enum Parent<'r> {
    Root(BorrowedFd<'r>),
    Below(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const SEARCH: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SEARCH: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Beneath {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self {
            root,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            openat2: std::sync::atomic::AtomicBool::new(true),
        }
    }

    /// Behaves like a host that has no `openat2`.
    #[cfg(test)]
    pub(super) fn forget_openat2(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        self.openat2
            .store(false, std::sync::atomic::Ordering::Relaxed);
    }

    /// The directory that holds the last name of `path`, and that name; a link on the way is [`FsError::Symlink`].
    pub(super) fn parent<'p>(&self, path: &'p str) -> FsResult<(Parent<'_>, &'p str)> {
        let Some((parent, name)) = path.rsplit_once('/') else {
            return Ok((Parent::Root(self.root.as_fd()), path));
        };
        if let Some(fd) = self.at_once(parent)? {
            return Ok((Parent::Below(fd), name));
        }
        self.step_by_step(parent).map(|fd| (fd, name))
    }

    /// The directory in one call; `None` when there is a link on the way or the host has no such call.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn at_once(&self, path: &str) -> FsResult<Option<OwnedFd>> {
        use rustix::fs::ResolveFlags;
        use std::sync::atomic::Ordering;
        if !self.openat2.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match retry(|| rustix::fs::openat2(&self.root, path, SEARCH, Mode::empty(), resolve)) {
            Ok(fd) => Ok(Some(fd)),
            // EAGAIN: somebody renamed a directory meanwhile, the kernel cannot be sure.
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::AGAIN | rustix::io::Errno::NOTDIR) => {
                Ok(None)
            }
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => {
                self.openat2.store(false, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(Errno::from(error).into()),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn at_once(&self, _path: &str) -> FsResult<Option<OwnedFd>> {
        Ok(None)
    }

    /// The directory one name at a time, which also finds where the link is.
    fn step_by_step(&self, path: &str) -> FsResult<Parent<'_>> {
        let mut at = Parent::Root(self.root.as_fd());
        let mut consumed = 0;
        for name in path.split('/') {
            consumed += name.len();
            let next = match retry(|| rustix::fs::openat(&at, name, SEARCH, Mode::empty())) {
                Ok(fd) => fd,
                Err(error) => {
                    if let Ok(target) = read_link(at.as_fd(), name) {
                        return Err(FsError::Symlink { consumed, target });
                    }
                    return Err(Errno::from(error).into());
                }
            };
            at = Parent::Below(next);
            consumed += 1;
        }
        Ok(at)
    }
}

/// What the link `name` says; `EINVAL` if it is none (or says something that is not UTF-8).
pub(super) fn read_link(parent: BorrowedFd<'_>, name: &str) -> Result<String, Errno> {
    let target = retry(|| rustix::fs::readlinkat(parent, name, Vec::new()))?;
    target.into_string().map_err(|_| Errno::EINVAL)
}

pub(super) fn is_directory(parent: BorrowedFd<'_>, name: &str) -> bool {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Changes the mode of what `name` is, never through a link.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn set_mode(parent: BorrowedFd<'_>, name: &str, mode: Mode) -> Result<(), Errno> {
    // chmodat of Linux always follows links; a descriptor that is pinned to the file itself can be named through /proc, which does not.
    let pinned = retry(|| {
        rustix::fs::openat(
            parent,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
    })?;
    let stat = retry(|| rustix::fs::fstat(&pinned))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Err(Errno::EOPNOTSUPP);
    }
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pinned));
    Ok(retry(|| rustix::fs::chmod(path.as_str(), mode))?)
}

/// Changes the mode of what `name` is, never through a link.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn set_mode(parent: BorrowedFd<'_>, name: &str, mode: Mode) -> Result<(), Errno> {
    Ok(retry(|| {
        rustix::fs::chmodat(parent, name, mode, AtFlags::SYMLINK_NOFOLLOW)
    })?)
}
