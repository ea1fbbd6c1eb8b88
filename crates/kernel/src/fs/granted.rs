//! Directories that come and go while guests run: each is mounted below this file system under a name that only those know who were told it.
//!
//! A program gets a directory of the host for as long as it runs. The names cannot be listed or guessed, so that other guests (a backend that
//! runs somebody's SQL) do not find it.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use super::dev::fill_random;
use super::{FileSystem, FsError, FsResult, GUEST_GID, GUEST_UID, OpenHow, next_device, now};
use crate::errno::Errno;
use crate::file::{DirEntry, File, FileKind, FileTime, Stat};
use crate::wait::lock;

/// Random bytes in a name.
const NAME_BYTES: usize = 16;

type Table = Mutex<HashMap<String, Arc<dyn FileSystem>>>;

/// The file system of the granted directories.
pub struct GrantedFs {
    table: Arc<Table>,
    device: u64,
}

/// A granted directory; it is taken back when this is dropped. Files that are open then stay open.
pub struct Grant {
    table: Arc<Table>,
    name: String,
}

impl Grant {
    /// Its name below the mount point.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        lock(&self.table).remove(&self.name);
    }
}

impl Default for GrantedFs {
    fn default() -> Self {
        Self::new()
    }
}

impl GrantedFs {
    /// Nothing granted.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: Arc::default(),
            device: next_device(),
        }
    }

    /// Makes `directory` visible under a new, random name.
    ///
    /// # Errors
    /// When the host has no random numbers.
    pub fn grant(&self, directory: Arc<dyn FileSystem>) -> Result<Grant, Errno> {
        let mut bytes = [0; NAME_BYTES];
        fill_random(&mut bytes)?;
        let name = bytes.iter().fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        });
        lock(&self.table).insert(name.clone(), directory);
        Ok(Grant {
            table: Arc::clone(&self.table),
            name,
        })
    }

    fn status(&self) -> Stat {
        let time = now();
        Stat {
            device: self.device,
            inode: 1,
            kind: FileKind::Directory,
            // May be passed through, not read.
            mode: 0o111,
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

    /// The file system of a path and the path in it; `None` for the root.
    fn find<'p>(&self, path: &'p str) -> FsResult<Option<Below<'p>>> {
        if path.is_empty() {
            return Ok(None);
        }
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        let fs = lock(&self.table).get(name).cloned().ok_or(Errno::ENOENT)?;
        Ok(Some(Below {
            fs,
            path: rest,
            skipped: path.len() - rest.len(),
        }))
    }

    /// As [`Self::find`], for what the root itself does not allow.
    fn below<'p>(&self, path: &'p str, root: Errno) -> FsResult<Below<'p>> {
        match self.find(path) {
            Ok(Some(below)) => Ok(below),
            Ok(None) => Err(root.into()),
            // A name that is not there cannot be made.
            Err(FsError::Errno(Errno::ENOENT)) if !path.contains('/') => Err(root.into()),
            Err(error) => Err(error),
        }
    }

    fn both<'p>(&self, from: &'p str, to: &'p str) -> FsResult<(Below<'p>, Below<'p>)> {
        let (from, to) = (
            self.below(from, Errno::EBUSY)?,
            self.below(to, Errno::EPERM)?,
        );
        if !Arc::ptr_eq(&from.fs, &to.fs) {
            return Err(Errno::EXDEV.into());
        }
        Ok((from, to))
    }
}

struct Below<'p> {
    fs: Arc<dyn FileSystem>,
    path: &'p str,
    /// Bytes of the whole path before `path`.
    skipped: usize,
}

impl Below<'_> {
    /// Runs an operation of the file system below, with places of links told in terms of the whole path.
    fn run<T>(&self, operation: impl FnOnce(&dyn FileSystem, &str) -> FsResult<T>) -> FsResult<T> {
        operation(&*self.fs, self.path).map_err(|error| match error {
            FsError::Symlink { consumed, target } => FsError::Symlink {
                consumed: consumed + self.skipped,
                target,
            },
            error => error,
        })
    }
}

impl FileSystem for GrantedFs {
    fn open(&self, path: &str, how: &OpenHow) -> FsResult<Arc<dyn File>> {
        match self.find(path)? {
            None if how.write || how.create => Err(Errno::EISDIR.into()),
            None => Ok(Arc::new(Directory(self.status()))),
            Some(below) => below.run(|fs, path| fs.open(path, how)),
        }
    }

    fn stat(&self, path: &str, follow: bool) -> FsResult<Stat> {
        match self.find(path)? {
            None => Ok(self.status()),
            Some(below) => below.run(|fs, path| fs.stat(path, follow)),
        }
    }

    fn mkdir(&self, path: &str, mode: u32) -> FsResult<()> {
        match self.find(path) {
            Ok(None) => Err(Errno::EEXIST.into()),
            Ok(Some(below)) if below.path.is_empty() => Err(Errno::EEXIST.into()),
            _ => self
                .below(path, Errno::EPERM)?
                .run(|fs, path| fs.mkdir(path, mode)),
        }
    }

    fn unlink(&self, path: &str) -> FsResult<()> {
        self.below(path, Errno::EISDIR)?.run(|fs, path| {
            if path.is_empty() {
                return Err(Errno::EISDIR.into());
            }
            fs.unlink(path)
        })
    }

    fn rmdir(&self, path: &str) -> FsResult<()> {
        self.below(path, Errno::EBUSY)?.run(|fs, path| {
            if path.is_empty() {
                return Err(Errno::EBUSY.into());
            }
            fs.rmdir(path)
        })
    }

    fn rename(&self, from: &str, to: &str, no_replace: bool) -> FsResult<()> {
        let (from, to) = self.both(from, to)?;
        if from.path.is_empty() || to.path.is_empty() {
            return Err(Errno::EBUSY.into());
        }
        from.run(|fs, path| fs.rename(path, to.path, no_replace))
    }

    fn link(&self, from: &str, to: &str) -> FsResult<()> {
        let (from, to) = self.both(from, to)?;
        from.run(|fs, path| fs.link(path, to.path))
    }

    fn symlink(&self, target: &str, path: &str) -> FsResult<()> {
        self.below(path, Errno::EPERM)?
            .run(|fs, path| fs.symlink(target, path))
    }

    fn read_link(&self, path: &str) -> FsResult<String> {
        self.below(path, Errno::EINVAL)?
            .run(|fs, path| fs.read_link(path))
    }

    fn read_dir(&self, path: &str) -> FsResult<Vec<DirEntry>> {
        match self.find(path)? {
            None => Ok(Vec::new()),
            Some(below) => below.run(|fs, path| fs.read_dir(path)),
        }
    }

    fn set_mode(&self, path: &str, mode: u32) -> FsResult<()> {
        self.below(path, Errno::EPERM)?
            .run(|fs, path| fs.set_mode(path, mode))
    }

    fn set_times(
        &self,
        path: &str,
        accessed: Option<FileTime>,
        modified: Option<FileTime>,
    ) -> FsResult<()> {
        self.below(path, Errno::EPERM)?
            .run(|fs, path| fs.set_times(path, accessed, modified))
    }

    fn sync(&self) -> FsResult<()> {
        let all: Vec<_> = lock(&self.table).values().cloned().collect();
        all.iter().try_for_each(|fs| fs.sync())
    }
}

/// The root: nothing in it can be listed.
struct Directory(Stat);

impl File for Directory {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.0)
    }

    fn read_dir(&self) -> Result<Vec<DirEntry>, Errno> {
        Ok(Vec::new())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::mem::MemFs;
    use crate::fs::vfs::Vfs;

    #[test]
    fn a_directory_is_there_for_those_who_know_its_name_until_it_is_taken_back() {
        let granted = Arc::new(GrantedFs::new());
        let mut vfs = Vfs::new();
        vfs.mount("/host", granted.clone());
        let tree = Arc::new(MemFs::new());
        tree.add_file("x/file", 0o644, b"text".to_vec()).unwrap();
        let grant = granted.grant(tree).unwrap();
        let root = format!("/host/{}", grant.name());
        assert_eq!(vfs.read(&format!("{root}/x/file")).unwrap(), b"text");
        assert!(vfs.read_dir("/", "/host").unwrap().is_empty());
        vfs.write(&format!("{root}/new"), 0o644, b"1").unwrap();
        let new = format!("{root}/new");
        vfs.rename((&root, "new"), (&root, "x/renamed"), false)
            .unwrap();
        assert_eq!(vfs.read(&new), Err(Errno::ENOENT));
        vfs.symlink("x", &root, "link").unwrap();
        assert_eq!(vfs.read(&format!("{root}/link/renamed")).unwrap(), b"1");
        assert_eq!(vfs.mkdir("/", "/host/mine", 0o755), Err(Errno::EPERM));
        assert_eq!(vfs.rmdir("/", &root), Err(Errno::EBUSY));
        drop(grant);
        assert_eq!(vfs.read(&format!("{root}/x/file")), Err(Errno::ENOENT));
    }

    #[test]
    fn renames_do_not_cross_grants() {
        let granted = Arc::new(GrantedFs::new());
        let mut vfs = Vfs::new();
        vfs.mount("/host", granted.clone());
        let one = granted.grant(Arc::new(MemFs::new())).unwrap();
        let two = granted.grant(Arc::new(MemFs::new())).unwrap();
        let path = |grant: &Grant| format!("/host/{}/f", grant.name());
        vfs.write(&path(&one), 0o644, b"1").unwrap();
        assert_eq!(
            vfs.rename(("/", &path(&one)), ("/", &path(&two)), false),
            Err(Errno::EXDEV)
        );
    }
}
