//! File systems: the trait they implement. Mounts and path resolution: [`vfs`]; back ends beside it.

use std::sync::Arc;

use crate::errno::Errno;
use crate::file::{DirEntry, File, FileTime, Stat};

/// Why a file system did not do something itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsError {
    /// It failed.
    Errno(Errno),
    /// The path goes through (or, where links are to be followed, ends at) a symbolic link: the vfs continues with the target.
    Symlink {
        /// Bytes of the given path up to and including the link's name.
        consumed: usize,
        /// What the link says: absolute in the guest, or relative to the link's directory.
        target: String,
    },
}

impl From<Errno> for FsError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// Result of a file system operation.
pub type FsResult<T> = Result<T, FsError>;

/// How to open.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenHow {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Create a regular file if there is none.
    pub create: bool,
    /// With `create`: `EEXIST` if there is one.
    pub exclusive: bool,
    /// Cut to zero length.
    pub truncate: bool,
    /// `ENOTDIR` unless a directory.
    pub directory: bool,
    /// `ELOOP` on a final symbolic link instead of following it.
    pub no_follow: bool,
    /// Writes are synchronised (`O_SYNC`, `O_DSYNC`).
    pub synchronised: bool,
    /// Permission bits of a new file, umask applied.
    pub mode: u32,
}

/// A mounted file system. Paths are relative to its root, normalised: no leading or trailing slash, no `.` or `..`, empty for the root.
/// Operations on a path whose *inner* components include a symbolic link return [`FsError::Symlink`].
pub trait FileSystem: Send + Sync {
    /// Opens or creates.
    fn open(&self, path: &str, how: &OpenHow) -> FsResult<Arc<dyn File>>;
    /// Status of the file itself; a final symbolic link gives [`FsError::Symlink`] if `follow`.
    fn stat(&self, path: &str, follow: bool) -> FsResult<Stat>;
    /// Creates a directory.
    fn mkdir(&self, path: &str, mode: u32) -> FsResult<()>;
    /// Removes a file or link; `EISDIR` for a directory.
    fn unlink(&self, path: &str) -> FsResult<()>;
    /// Removes an empty directory.
    fn rmdir(&self, path: &str) -> FsResult<()>;
    /// Renames within this file system, replacing the target; `no_replace` makes an existing one `EEXIST`.
    fn rename(&self, from: &str, to: &str, no_replace: bool) -> FsResult<()>;
    /// A second name for a file.
    fn link(&self, from: &str, to: &str) -> FsResult<()>;
    /// A symbolic link at `path` that says `target`.
    fn symlink(&self, target: &str, path: &str) -> FsResult<()>;
    /// What the symbolic link at `path` says; `EINVAL` if it is none.
    fn read_link(&self, path: &str) -> FsResult<String>;
    /// The names in a directory.
    fn read_dir(&self, path: &str) -> FsResult<Vec<DirEntry>>;
    /// Changes permission bits.
    fn set_mode(&self, path: &str, mode: u32) -> FsResult<()>;
    /// Changes times.
    fn set_times(&self, path: &str, accessed: Option<FileTime>, modified: Option<FileTime>) -> FsResult<()>;
    /// Makes everything durable (`sync`, `syncfs`).
    fn sync(&self) -> FsResult<()> {
        Ok(())
    }
    /// True when every write fails with `EROFS`.
    fn read_only(&self) -> bool {
        false
    }
}
