//! An open directory of the host.

use std::any::Any;
use std::os::fd::OwnedFd;

use super::{convert, kind, mode, retry, timestamps};
use crate::errno::Errno;
use crate::file::{DirEntry, File, FileTime, Stat, SyncKind};

pub(super) struct HostDirectory {
    fd: OwnedFd,
    device: u64,
}

impl HostDirectory {
    pub(super) const fn new(fd: OwnedFd, device: u64) -> Self {
        Self { fd, device }
    }
}

impl File for HostDirectory {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(convert(
            &retry(|| rustix::fs::fstat(&self.fd))?,
            self.device,
        ))
    }

    fn read(&self, _out: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }

    fn sync(&self, _kind: SyncKind) -> Result<(), Errno> {
        super::file::flush(&self.fd, SyncKind::All)
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

    /// Names that are not UTF-8 are left out: the guest could not use them.
    fn read_dir(&self) -> Result<Vec<DirEntry>, Errno> {
        let mut list = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if name == "." || name == ".." {
                continue;
            }
            list.push(DirEntry {
                name: name.to_owned(),
                inode: entry.ino(),
                kind: kind(entry.file_type()),
            });
        }
        Ok(list)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
