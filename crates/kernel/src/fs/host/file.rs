//! Regular files of the host. One host descriptor serves all guests that have a file open in the same way, so that many backends
//! with the same relations open do not run the host process out of descriptors.

use std::any::Any;
use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rustix::fs::FallocateFlags;

use super::{convert, mode, retry, timestamps};
use crate::errno::Errno;
use crate::file::{File, FileTime, Stat, SyncKind};
use crate::fs::OpenHow;
use crate::wait::lock;

/// A file and how it is open: what one descriptor can serve.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
    read: bool,
    write: bool,
    synchronised: bool,
}

/// The open regular files of one [`super::HostFs`].
#[derive(Default)]
pub(super) struct OpenFiles {
    by_key: Mutex<HashMap<Key, Weak<HostFile>>>,
    /// Makes an append one step for all guests.
    appending: Mutex<()>,
}

impl OpenFiles {
    pub(super) fn count(&self) -> usize {
        lock(&self.by_key)
            .values()
            .filter(|file| file.strong_count() > 0)
            .count()
    }
}

pub(super) struct HostFile {
    fd: OwnedFd,
    key: Key,
    open: Arc<OpenFiles>,
    /// Of the guest's file system.
    device: u64,
    /// The error a `sync` has met, 0 if none. The host tells an error of writing back once for each descriptor; since guests share this one, it is kept
    /// and told to all of them until the file is closed everywhere.
    failed: AtomicI32,
}

impl HostFile {
    /// The file behind `fd`: one that is open already, or a new one.
    #[expect(
        clippy::unnecessary_cast,
        reason = "the fields' types differ between hosts"
    )]
    pub(super) fn shared(
        open: &Arc<OpenFiles>,
        fd: OwnedFd,
        stat: &rustix::fs::Stat,
        how: &OpenHow,
        device: u64,
    ) -> Arc<dyn File> {
        let key = Key {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            read: how.read || !how.write,
            write: how.write,
            synchronised: how.synchronised,
        };
        let mut by_key = lock(&open.by_key);
        if let Some(file) = by_key.get(&key).and_then(Weak::upgrade) {
            return file;
        }
        let file = Arc::new(Self {
            fd,
            key,
            open: Arc::clone(open),
            device,
            failed: AtomicI32::new(0),
        });
        by_key.insert(key, Arc::downgrade(&file));
        file
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        let mut by_key = lock(&self.open.by_key);
        // A new one may have taken the place already.
        if by_key
            .get(&self.key)
            .is_some_and(|file| file.strong_count() == 0)
        {
            by_key.remove(&self.key);
        }
    }
}

/// Really writes to the disk, its own cache included.
pub(super) fn flush(fd: &OwnedFd, sync: SyncKind) -> Result<(), Errno> {
    #[cfg(target_vendor = "apple")]
    {
        let _ = sync;
        match retry(|| rustix::fs::fcntl_fullfsync(fd)) {
            // Some network file systems know only the weaker call.
            Err(
                rustix::io::Errno::NOTSUP | rustix::io::Errno::NOTTY | rustix::io::Errno::INVAL,
            ) => Ok(retry(|| rustix::fs::fsync(fd))?),
            other => Ok(other?),
        }
    }
    #[cfg(not(target_vendor = "apple"))]
    match sync {
        SyncKind::Data => Ok(retry(|| rustix::fs::fdatasync(fd))?),
        SyncKind::All => Ok(retry(|| rustix::fs::fsync(fd))?),
    }
}

impl File for HostFile {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(convert(
            &retry(|| rustix::fs::fstat(&self.fd))?,
            self.device,
        ))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Result<u64, Errno> {
        let stat = retry(|| rustix::fs::fstat(&self.fd))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        Ok(retry(|| rustix::io::pread(&self.fd, &mut *out, offset))?)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        Ok(retry(|| rustix::io::pwrite(&self.fd, bytes, offset))?)
    }

    fn read_vectored_at(&self, offset: u64, out: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        Ok(retry(|| rustix::io::preadv(&self.fd, out, offset))?)
    }

    fn write_vectored_at(&self, offset: u64, bytes: &[IoSlice<'_>]) -> Result<usize, Errno> {
        Ok(retry(|| rustix::io::pwritev(&self.fd, bytes, offset))?)
    }

    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        let _one = lock(&self.open.appending);
        let end = self.size()?;
        self.write_at(end, bytes).map(|n| (n, end + n as u64))
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        if i64::try_from(len).is_err() {
            return Err(Errno::EFBIG);
        }
        Ok(retry(|| rustix::fs::ftruncate(&self.fd, len))?)
    }

    fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> Result<(), Errno> {
        if offset
            .checked_add(len)
            .is_none_or(|end| i64::try_from(end).is_err())
        {
            return Err(Errno::EFBIG);
        }
        let flags = if keep_size {
            FallocateFlags::KEEP_SIZE
        } else {
            FallocateFlags::empty()
        };
        Ok(retry(|| {
            rustix::fs::fallocate(&self.fd, flags, offset, len)
        })?)
    }

    fn sync(&self, sync: SyncKind) -> Result<(), Errno> {
        let outcome = flush(&self.fd, sync);
        match (outcome, self.failed.load(Ordering::Relaxed)) {
            (Err(error), _) => {
                if error != Errno::EINVAL {
                    self.failed.store(error.number(), Ordering::Relaxed);
                }
                Err(error)
            }
            (Ok(()), 0) => Ok(()),
            (Ok(()), _) => Err(Errno::EIO),
        }
    }

    fn set_mode(&self, bits: u32) -> Result<(), Errno> {
        Ok(retry(|| rustix::fs::fchmod(&self.fd, mode(bits)))?)
    }

    fn set_times(
        &self,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> Result<(), Errno> {
        Ok(retry(|| {
            rustix::fs::futimens(&self.fd, &timestamps(accessed, modified))
        })?)
    }

    /// On Linux the host's own call, which shares extents on file systems that can.
    fn clone_range(
        &self,
        source: &dyn File,
        source_offset: u64,
        offset: u64,
        len: u64,
    ) -> Result<u64, Errno> {
        let source = source
            .as_any()
            .downcast_ref::<Self>()
            .ok_or(Errno::EOPNOTSUPP)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let (mut from, mut to) = (source_offset, offset);
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(1 << 30);
            match retry(|| {
                rustix::fs::copy_file_range(
                    &source.fd,
                    Some(&mut from),
                    &self.fd,
                    Some(&mut to),
                    len,
                )
            }) {
                Ok(n) => Ok(n as u64),
                Err(
                    rustix::io::Errno::XDEV | rustix::io::Errno::NOSYS | rustix::io::Errno::PERM,
                ) => Err(Errno::EOPNOTSUPP),
                Err(error) => Err(error.into()),
            }
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            let _ = (source, source_offset, offset, len);
            Err(Errno::EOPNOTSUPP)
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
