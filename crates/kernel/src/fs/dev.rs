//! `/dev`: `null`, `zero`, `full`, `random`, `urandom` and a `tty` that no guest has. (`/dev/stdin` and its like are understood by `openat`.)

use std::any::Any;
use std::sync::Arc;

use super::{FileSystem, FsError, FsResult, GUEST_GID, GUEST_UID, OpenHow, next_device, now};
use crate::errno::Errno;
use crate::file::{DirEntry, File, FileKind, FileTime, Stat};
use crate::image::record::{FileRecord, Fs, FsRecord, Kind};
use crate::image::{SaveError, Saver};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Null,
    Zero,
    Full,
    Random,
    Urandom,
    Tty,
}

const DEVICES: [(&str, Device); 6] = [
    ("full", Device::Full),
    ("null", Device::Null),
    ("random", Device::Random),
    ("tty", Device::Tty),
    ("urandom", Device::Urandom),
    ("zero", Device::Zero),
];

/// Fills `out` with random bytes from the host.
pub fn fill_random(out: &mut [u8]) -> Result<(), Errno> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let mut done = 0;
        while done < out.len() {
            match rustix::rand::getrandom(&mut out[done..], rustix::rand::GetRandomFlags::empty()) {
                Ok(n) => done += n,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        use std::io::Read as _;
        std::fs::File::open("/dev/urandom")?.read_exact(out)?;
        Ok(())
    }
}

/// The device file system; nothing can be made or removed in it.
pub struct DevFs {
    device: u64,
}

impl Default for DevFs {
    fn default() -> Self {
        Self::new()
    }
}

impl DevFs {
    /// One more `/dev`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            device: next_device(),
        }
    }

    /// The device with this inode, open.
    pub(crate) fn by_inode(&self, inode: u64) -> Option<Arc<dyn File>> {
        let place = usize::try_from(inode.checked_sub(2)?).ok()?;
        let (_, device) = DEVICES.get(place)?;
        Some(Arc::new(OpenDevice {
            device: *device,
            number: self.device,
            inode,
        }))
    }

    fn status(&self, inode: u64, kind: FileKind, mode: u32) -> Stat {
        status(self.device, inode, kind, mode)
    }

    /// The device's place in the table and itself; `None` for the root.
    fn find(path: &str) -> FsResult<Option<(u64, Device)>> {
        if path.is_empty() {
            return Ok(None);
        }
        let (name, rest) = path
            .split_once('/')
            .map_or((path, None), |(name, rest)| (name, Some(rest)));
        let row = (2_u64..)
            .zip(DEVICES)
            .find(|(_, (known, _))| *known == name)
            .ok_or(Errno::ENOENT)?;
        if rest.is_some() {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(Some((row.0, row.1.1)))
    }

    /// Every change: `EEXIST` is for the callers that make something, this for the rest.
    fn refuse<T>(path: &str) -> FsResult<T> {
        Self::find(path)?;
        Err(Errno::EPERM.into())
    }

    fn refuse_new<T>(path: &str) -> FsResult<T> {
        match Self::find(path) {
            Ok(_) => Err(Errno::EEXIST.into()),
            Err(FsError::Errno(Errno::ENOENT)) => Err(Errno::EPERM.into()),
            Err(error) => Err(error),
        }
    }
}

fn status(device: u64, inode: u64, kind: FileKind, mode: u32) -> Stat {
    let time = now();
    Stat {
        device,
        inode,
        kind,
        mode,
        links: 1,
        uid: GUEST_UID,
        gid: GUEST_GID,
        size: 0,
        blocks: 0,
        accessed: time,
        modified: time,
        changed: time,
    }
}

impl FileSystem for DevFs {
    fn open(&self, path: &str, how: &OpenHow) -> FsResult<Arc<dyn File>> {
        let found = match Self::find(path) {
            Err(FsError::Errno(Errno::ENOENT)) if how.create => return Err(Errno::EPERM.into()),
            other => other?,
        };
        if how.create && how.exclusive {
            return Err(Errno::EEXIST.into());
        }
        match found {
            None if how.write || how.create => Err(Errno::EISDIR.into()),
            None => Ok(Arc::new(Directory {
                device: self.device,
            })),
            Some(_) if how.directory => Err(Errno::ENOTDIR.into()),
            Some((_, Device::Tty)) => Err(Errno::ENXIO.into()),
            Some((inode, device)) => Ok(Arc::new(OpenDevice {
                device,
                number: self.device,
                inode,
            })),
        }
    }

    fn stat(&self, path: &str, _follow: bool) -> FsResult<Stat> {
        Ok(match Self::find(path)? {
            None => self.status(1, FileKind::Directory, 0o755),
            Some((inode, _)) => self.status(inode, FileKind::CharDevice, 0o666),
        })
    }

    fn mkdir(&self, path: &str, _mode: u32) -> FsResult<()> {
        Self::refuse_new(path)
    }

    fn unlink(&self, path: &str) -> FsResult<()> {
        Self::refuse(path)
    }

    fn rmdir(&self, path: &str) -> FsResult<()> {
        Self::refuse(path)
    }

    fn rename(&self, from: &str, _to: &str, _no_replace: bool) -> FsResult<()> {
        Self::refuse(from)
    }

    fn link(&self, from: &str, _to: &str) -> FsResult<()> {
        Self::refuse(from)
    }

    fn symlink(&self, _target: &str, path: &str) -> FsResult<()> {
        Self::refuse_new(path)
    }

    fn read_link(&self, path: &str) -> FsResult<String> {
        Self::find(path)?;
        Err(Errno::EINVAL.into())
    }

    fn read_dir(&self, path: &str) -> FsResult<Vec<DirEntry>> {
        match Self::find(path)? {
            None => Ok(list()),
            Some(_) => Err(Errno::ENOTDIR.into()),
        }
    }

    fn set_mode(&self, path: &str, _mode: u32) -> FsResult<()> {
        Self::refuse(path)
    }

    fn set_times(
        &self,
        path: &str,
        _accessed: Option<FileTime>,
        _modified: Option<FileTime>,
    ) -> FsResult<()> {
        Self::refuse(path)
    }

    fn save(&self, _saver: &mut Saver<'_>) -> Result<FsRecord, SaveError> {
        Ok(FsRecord(Fs::Dev))
    }
}

fn list() -> Vec<DirEntry> {
    (2_u64..)
        .zip(DEVICES)
        .map(|(inode, (name, _))| DirEntry {
            name: name.to_owned(),
            inode,
            kind: FileKind::CharDevice,
        })
        .collect()
}

struct Directory {
    device: u64,
}

impl File for Directory {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(status(self.device, 1, FileKind::Directory, 0o755))
    }

    fn read_dir(&self) -> Result<Vec<DirEntry>, Errno> {
        Ok(list())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct OpenDevice {
    device: Device,
    number: u64,
    inode: u64,
}

impl File for OpenDevice {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(status(self.number, self.inode, FileKind::CharDevice, 0o666))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Result<u64, Errno> {
        Ok(0)
    }

    fn read_at(&self, _offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        match self.device {
            Device::Null => return Ok(0),
            Device::Zero | Device::Full => out.fill(0),
            Device::Random | Device::Urandom => fill_random(out)?,
            Device::Tty => return Err(Errno::EIO),
        }
        Ok(out.len())
    }

    fn write_at(&self, _offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        if self.device == Device::Full {
            Err(Errno::ENOSPC)
        } else {
            Ok(bytes.len())
        }
    }

    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        self.write_at(0, bytes).map(|n| (n, 0))
    }

    fn sync(&self, _kind: crate::file::SyncKind) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn save(&self, _saver: &mut Saver<'_>) -> Result<FileRecord, SaveError> {
        Ok(FileRecord(Kind::Device(self.inode)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_do_what_their_names_say() {
        let dev = DevFs::new();
        let how = OpenHow {
            read: true,
            write: true,
            ..OpenHow::default()
        };
        let open = |name| {
            dev.open(name, &how)
                .unwrap_or_else(|error| panic!("{name}: {error:?}"))
        };
        let mut out = [1; 64];
        assert_eq!(open("null").read_at(0, &mut out), Ok(0));
        assert_eq!(open("null").write_at(0, &out), Ok(64));
        assert_eq!(open("zero").read_at(0, &mut out), Ok(64));
        assert_eq!(out, [0; 64]);
        assert_eq!(open("urandom").read_at(0, &mut out), Ok(64));
        assert_ne!(out, [0; 64]);
        assert_eq!(open("full").write_at(0, &out), Err(Errno::ENOSPC));
        assert!(matches!(
            dev.open("tty", &how),
            Err(FsError::Errno(Errno::ENXIO))
        ));
        assert!(matches!(
            dev.open("null/x", &how),
            Err(FsError::Errno(Errno::ENOTDIR))
        ));
    }
}
