//! What a descriptor can refer to: the [`File`] trait, open file descriptions, and the status they report.

use std::any::Any;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bitflags::bitflags;

use crate::copy::Copier;
use crate::errno::Errno;
use crate::image::{FileRecord, SaveError, Saver};
use crate::memory::Segment;
use crate::wait::{WaitQueue, WakeSource};

bitflags! {
    /// Readiness, with the bit values of `poll(2)` and `epoll(7)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Ready: u32 {
        /// Reading will not block.
        const IN = 0x001;
        /// Urgent data.
        const PRI = 0x002;
        /// Writing will not block.
        const OUT = 0x004;
        /// An error is pending; always reported.
        const ERR = 0x008;
        /// The peer hung up; always reported.
        const HUP = 0x010;
        /// The descriptor is not open (`poll` only).
        const NVAL = 0x020;
        /// The peer closed its writing half.
        const RDHUP = 0x2000;
    }
}

/// What kind of file it is; `S_IFMT` values of `stat(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FileKind {
    /// A pipe.
    Fifo = 0o010_000,
    /// A character device.
    CharDevice = 0o020_000,
    /// A directory.
    Directory = 0o040_000,
    /// A regular file.
    Regular = 0o100_000,
    /// A symbolic link.
    Symlink = 0o120_000,
    /// A socket.
    Socket = 0o140_000,
}

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FileTime {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds below a second.
    pub nanoseconds: u32,
}

/// What `statx(2)` tells.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// The device: one number a mounted file system.
    pub device: u64,
    /// The file's number on it.
    pub inode: u64,
    /// Its kind.
    pub kind: FileKind,
    /// Permission bits (`0o7777`).
    pub mode: u32,
    /// Hard links.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// 512-byte blocks in use.
    pub blocks: u64,
    /// Last access.
    pub accessed: FileTime,
    /// Last change of content.
    pub modified: FileTime,
    /// Last change of status.
    pub changed: FileTime,
}

/// How large a terminal's window is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// One name in a directory.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// The name; no slash.
    pub name: String,
    /// The file's number.
    pub inode: u64,
    /// Its kind.
    pub kind: FileKind,
}

/// How much `fsync(2)` must write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncKind {
    /// Data and the metadata needed to read it back (`fdatasync`).
    Data,
    /// Everything (`fsync`).
    All,
}

/// Something a descriptor can refer to. Streams implement `read`/`write`, seekable files `read_at`/`write_at`.
///
/// **No method ever blocks for a peer**: a stream that is not ready answers `EAGAIN`, and the system call layer sleeps on
/// [`File::wake_source`] when the descriptor is in blocking mode. (Disk I/O of the host counts as not blocking.)
pub trait File: Send + Sync {
    /// The status.
    fn stat(&self) -> Result<Stat, Errno>;

    /// Reads from a stream: 0 is end of file, `EAGAIN` is not ready.
    fn read(&self, _out: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// Writes to a stream: may be short, `EAGAIN` when full, `EPIPE` without a reader (the system call layer raises `SIGPIPE`).
    fn write(&self, _bytes: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// True when `read_at`, `write_at` and `lseek` work.
    fn seekable(&self) -> bool {
        false
    }

    /// Bytes of a seekable file, cheaper than [`File::stat`].
    fn size(&self) -> Result<u64, Errno> {
        self.stat().map(|stat| stat.size)
    }

    /// Reads at a byte offset; 0 at the end.
    fn read_at(&self, _offset: u64, _out: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::ESPIPE)
    }

    /// Writes at a byte offset, growing the file.
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> Result<usize, Errno> {
        Err(Errno::ESPIPE)
    }

    /// [`File::read_at`] into several buffers, one after the other.
    fn read_vectored_at(
        &self,
        mut offset: u64,
        out: &mut [IoSliceMut<'_>],
    ) -> Result<usize, Errno> {
        let mut total = 0;
        for buffer in out {
            let n = match self.read_at(offset, buffer) {
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
                Ok(n) => n,
            };
            total += n;
            offset = offset.saturating_add(n as u64);
            if n < buffer.len() {
                break;
            }
        }
        Ok(total)
    }

    /// [`File::write_at`] from several buffers, one after the other.
    fn write_vectored_at(&self, mut offset: u64, bytes: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let mut total = 0;
        for buffer in bytes {
            let n = match self.write_at(offset, buffer) {
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
                Ok(n) => n,
            };
            total += n;
            offset = offset.saturating_add(n as u64);
            if n < buffer.len() {
                break;
            }
        }
        Ok(total)
    }

    /// Writes at the end as one step; returns the bytes written and the offset after them.
    fn append(&self, _bytes: &[u8]) -> Result<(usize, u64), Errno> {
        Err(Errno::ESPIPE)
    }

    /// Truncates, or extends with zeros.
    fn set_len(&self, _len: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// `fallocate(2)` with mode 0 (`keep_size` false) or `FALLOC_FL_KEEP_SIZE`.
    fn allocate(&self, _offset: u64, _len: u64, _keep_size: bool) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Makes written data durable.
    fn sync(&self, _kind: SyncKind) -> Result<(), Errno> {
        Ok(())
    }

    /// Changes the permission bits.
    fn set_mode(&self, _mode: u32) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Sets access and modification time; `None` leaves one.
    fn set_times(
        &self,
        _accessed: Option<FileTime>,
        _modified: Option<FileTime>,
    ) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The names in a directory, without `.` and `..`; `ENOTDIR` otherwise.
    fn read_dir(&self) -> Result<Vec<DirEntry>, Errno> {
        Err(Errno::ENOTDIR)
    }

    /// Shares or copies `len` bytes from `source` (`copy_file_range(2)`); `EOPNOTSUPP` makes the caller copy through a buffer.
    fn clone_range(
        &self,
        _source: &dyn File,
        _source_offset: u64,
        _offset: u64,
        _len: u64,
    ) -> Result<u64, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// What could be done now without blocking. Regular files are always ready. Host sockets ask the host.
    fn ready(&self) -> Ready {
        Ready::IN | Ready::OUT
    }

    /// What tells of changes of [`File::ready`]; `None` when it never changes.
    fn wake_source(&self, _interest: Ready) -> Option<WakeSource<'_>> {
        None
    }

    /// The queue behind [`File::wake_source`], for those that must watch many files (epoll).
    fn wait_queue(&self) -> Option<&WaitQueue> {
        None
    }

    /// The host's descriptor, when the file is one.
    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The window's size if the file is a terminal (`TIOCGWINSZ`, which is what `isatty` asks).
    fn window_size(&self) -> Option<WindowSize> {
        None
    }

    /// The shared memory behind the file (`shm_open`), which `mmap` maps.
    fn segment(&self) -> Option<Arc<dyn Segment>> {
        None
    }

    /// Its twin in a copy of the kernel. Files whose state is not the kernel's (devices, files of the host) are the same in both: the default.
    fn copy(&self, this: &Arc<dyn File>, _copier: &mut Copier) -> Result<Arc<dyn File>, Errno> {
        Ok(Arc::clone(this))
    }

    /// Describes it in an image; the default is for kinds that images do not hold.
    fn save(&self, _saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        Err(SaveError::unsupported(format!(
            "an open file of the kind {}",
            std::any::type_name::<Self>()
        )))
    }

    /// For `net` and `poll`, which need to know their own kinds.
    fn as_any(&self) -> &dyn Any;
}

/// An open file description (POSIX): what `dup` and `fork` share.
pub struct OpenFile {
    /// The file.
    pub file: Arc<dyn File>,
    /// `O_*` status flags: access mode, `O_APPEND`, `O_NONBLOCK`.
    flags: AtomicU32,
    /// Byte offset of the next read or write of a seekable file; index of the next entry of a directory.
    pub position: Mutex<u64>,
    /// What `getdents64` goes through: taken when reading begins, so that removing files between two calls skips none.
    pub listing: Mutex<Option<Arc<Vec<DirEntry>>>>,
    /// The path it was opened by, for `fchdir`, `*at` calls and messages.
    pub path: Option<String>,
}

impl OpenFile {
    /// A new description at offset 0.
    #[must_use]
    pub fn new(file: Arc<dyn File>, flags: u32, path: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            file,
            flags: AtomicU32::new(flags),
            position: Mutex::new(0),
            listing: Mutex::new(None),
            path,
        })
    }

    /// The `O_*` flags.
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Replaces the `O_*` flags (`fcntl(F_SETFL)` keeps the access mode itself).
    pub fn set_flags(&self, flags: u32) {
        self.flags.store(flags, Ordering::Relaxed);
    }

    /// True in non-blocking mode.
    pub fn nonblocking(&self) -> bool {
        self.flags() & crate::abi::O_NONBLOCK != 0
    }

    /// True when opened for reading.
    pub fn readable(&self) -> bool {
        self.flags() & crate::abi::O_ACCMODE != crate::abi::O_WRONLY
    }

    /// True when opened for writing.
    pub fn writable(&self) -> bool {
        self.flags() & crate::abi::O_ACCMODE != crate::abi::O_RDONLY
    }
}
