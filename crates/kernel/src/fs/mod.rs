//! File systems: the trait they implement. Mounts and path resolution: [`vfs`]; back ends beside it:
//!
//! | module | what |
//! |---|---|
//! | [`mem`] | in memory, copy-on-write; over files linked into the binary it is the overlay, too |
//! | [`image`] | read-only files linked into the binary |
//! | [`host`] | one directory of the host |
//! | [`granted`] | directories that come and go, by names that cannot be guessed |
//! | [`shm`] | POSIX shared memory |
//! | [`dev`] | device files |
//! | [`storage`] | for tests: what a loss of power leaves |
//! | [`log`] | not a file system: a file that hands lines to the host |

pub mod dev;
pub mod granted;
pub mod host;
pub mod image;
pub mod log;
pub mod mem;
#[cfg(test)]
mod model_tests;
pub mod shm;
pub mod storage;
pub mod vfs;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::copy::Copier;
use crate::errno::Errno;
use crate::file::{DirEntry, File, FileTime, Stat};
use crate::image::{FsRecord, SaveError, Saver};

/// The user all guest files belong to, whoever owns them on the host.
pub const GUEST_UID: u32 = 1000;
/// The group all guest files belong to.
pub const GUEST_GID: u32 = 1000;
/// Longest name in a directory, in bytes.
pub const NAME_MAX: usize = 255;

/// A number for the `device` of a new file system's files.
fn next_device() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0x101);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The time for file stamps: the host's coarse clock (some milliseconds), as Linux uses for its own.
pub(crate) fn now() -> FileTime {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::RealtimeCoarse;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Realtime;
    let time = rustix::time::clock_gettime(clock);
    FileTime {
        seconds: time.tv_sec,
        nanoseconds: u32::try_from(time.tv_nsec).unwrap_or(0),
    }
}

/// Space on a file system, for `statfs(2)`.
#[derive(Clone, Copy, Debug)]
pub struct FsUsage {
    /// Linux's number for the file system type (`f_type`).
    pub magic: u32,
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free.
    pub free: u64,
    /// Files possible.
    pub files: u64,
    /// Files still possible.
    pub files_free: u64,
}

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
    /// A node that stands for a listening `AF_UNIX` socket; `EPERM` where there can be none.
    fn make_socket(&self, _path: &str, _mode: u32) -> FsResult<()> {
        Err(Errno::EPERM.into())
    }
    /// What the symbolic link at `path` says; `EINVAL` if it is none.
    fn read_link(&self, path: &str) -> FsResult<String>;
    /// The names in a directory.
    fn read_dir(&self, path: &str) -> FsResult<Vec<DirEntry>>;
    /// Changes permission bits; a final symbolic link gives [`FsError::Symlink`].
    fn set_mode(&self, path: &str, mode: u32) -> FsResult<()>;
    /// Changes times (`None`: leaves one); a final symbolic link gives [`FsError::Symlink`].
    fn set_times(
        &self,
        path: &str,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> FsResult<()>;
    /// Space in use.
    fn usage(&self) -> FsResult<FsUsage> {
        Ok(FsUsage {
            magic: 0x6272_6f78,
            block_size: 4096,
            blocks: 0,
            free: 0,
            files: 0,
            files_free: 0,
        })
    }
    /// Makes everything durable (`sync`, `syncfs`).
    fn sync(&self) -> FsResult<()> {
        Ok(())
    }
    /// Its twin in a copy of the kernel; the default is for those that both may use: `None`.
    fn copy(&self, _copier: &mut Copier) -> Result<Option<Arc<dyn FileSystem>>, Errno> {
        Ok(None)
    }
    /// Describes it in an image; the default is for those that images do not hold.
    fn save(&self, _saver: &mut Saver<'_>) -> Result<FsRecord, SaveError> {
        Err(SaveError::unsupported(format!(
            "a file system of the kind {}",
            std::any::type_name::<Self>()
        )))
    }
    /// True when every write fails with `EROFS`.
    fn read_only(&self) -> bool {
        false
    }
}
