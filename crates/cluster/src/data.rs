//! Data directories outside of a running cluster: taken from one at an instant, and what a new one begins with.

use std::fmt;
use std::sync::Arc;

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::file::FileKind;
use pglite_oxide_kernel::fs::mem::MemFs;
use pglite_oxide_kernel::fs::{FileSystem, FsError, OpenHow};

use crate::cluster::Cluster;
use crate::error::{SnapshotError, StartError};
use crate::world::{self, DATA, errno};

/// Files that belong to the running cluster and not to its data, by their first component.
pub(crate) const LEFT_OUT: &[&str] = &["postmaster.pid", "pg_stat_tmp"];
/// Bytes read at a time.
const PIECE: usize = 256 << 10;

/// The contents of a data directory, in memory. Clones share them.
#[derive(Clone)]
pub struct DataDirectory(Arc<MemFs>);

/// One file of a [`DataDirectory`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataEntry {
    /// A directory.
    Directory,
    /// A regular file of this many bytes.
    File(u64),
    /// A symbolic link to this path.
    Symlink(String),
}

impl PartialEq for DataDirectory {
    /// Whether they are the same, not whether they are alike.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for DataDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataDirectory")
            .field("bytes", &self.0.used())
            .finish()
    }
}

impl Default for DataDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl DataDirectory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(MemFs::new()))
    }

    /// Adds a file or directory; `path` is relative, with `/` between names and without `.` and `..`.
    ///
    /// # Errors
    /// `EINVAL` for another path, `EEXIST` if there is one, `EROFS` once a cluster has begun with it.
    pub fn add(&self, path: &str, entry: DataEntry, contents: Vec<u8>) -> Result<(), Errno> {
        let plain = path
            .split('/')
            .all(|name| !matches!(name, "" | "." | "..") && !name.contains('\0'));
        if !plain {
            return Err(Errno::EINVAL);
        }
        match entry {
            DataEntry::Directory => self.0.add_dir(path, 0o700),
            DataEntry::File(_) => self.0.add_file(path, 0o600, contents),
            DataEntry::Symlink(target) => self.0.symlink(&target, path).map_err(errno),
        }
    }

    /// What a new cluster begins with when nothing else is said.
    pub(crate) fn of_template() -> Result<Self, StartError> {
        Ok(Self(Arc::new(world::in_memory(&world::template()?)?)))
    }

    /// Removes a file, link or empty directory, if it is there.
    pub(crate) fn remove(&self, path: &str) -> Result<(), Errno> {
        let removed = match self.0.unlink(path) {
            Err(FsError::Errno(Errno::EISDIR)) => self.0.rmdir(path),
            other => other,
        };
        match removed.map_err(errno) {
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        }
    }

    /// Makes a file of these bytes and zeros up to `len`, whatever was there.
    pub(crate) fn replace(&self, path: &str, contents: &[u8], len: u64) -> Result<(), Errno> {
        self.remove(path)?;
        self.0.add_file(path, 0o600, contents.to_vec())?;
        let how = OpenHow {
            write: true,
            ..OpenHow::default()
        };
        self.0.open(path, &how).map_err(errno)?.set_len(len)
    }

    /// Calls `each` for every file and directory, directories before what is in them, with a reader's worth of bytes for files.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn walk<E: From<Errno>>(
        &self,
        mut each: impl FnMut(&str, &DataEntry, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        walk(&*self.0, "", &mut |path, entry| {
            let bytes = match entry {
                DataEntry::File(_) => read(&*self.0, path)?,
                _ => Vec::new(),
            };
            each(path, entry, &bytes)
        })
    }

    /// The bytes of one file; `ENOENT` without it.
    ///
    /// # Errors
    /// `ENOENT`, or `EISDIR` for a directory.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, Errno> {
        read(&*self.0, path)
    }

    /// A file system for a cluster, sharing the bytes until it writes. Nothing can be added to the directory any more (`EROFS`).
    pub(crate) fn file_system(&self) -> Result<MemFs, Errno> {
        self.0.freeze();
        let files = self.0.clone_frozen();
        // PostgreSQL insists on it.
        files.set_mode("", 0o700).map_err(errno)?;
        Ok(files)
    }

    /// What the file systems of clusters that begin with it are compared with.
    pub(crate) fn base(&self) -> &MemFs {
        self.0.freeze();
        &self.0
    }

    /// A copy of what is in `files`.
    fn of(files: &dyn FileSystem) -> Result<Self, Errno> {
        let this = Self::new();
        walk(files, "", &mut |path, entry| {
            let first = path.split('/').next().unwrap_or_default();
            if LEFT_OUT.contains(&first) {
                return Ok(());
            }
            let contents = match entry {
                DataEntry::File(_) => read(files, path)?,
                _ => Vec::new(),
            };
            this.add(path, entry.clone(), contents)
        })?;
        this.0.add_dir("pg_stat_tmp", 0o700)?;
        Ok(this)
    }
}

fn read(files: &dyn FileSystem, path: &str) -> Result<Vec<u8>, Errno> {
    let how = OpenHow {
        read: true,
        ..OpenHow::default()
    };
    let file = files.open(path, &how).map_err(errno)?;
    let mut bytes = vec![0; usize::try_from(file.size()?).map_err(|_| Errno::EFBIG)?];
    let mut done = 0;
    while done < bytes.len() {
        let end = bytes.len().min(done + PIECE);
        match file.read_at(done as u64, &mut bytes[done..end])? {
            0 => break,
            n => done += n,
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

fn walk<E: From<Errno>>(
    files: &dyn FileSystem,
    directory: &str,
    each: &mut impl FnMut(&str, &DataEntry) -> Result<(), E>,
) -> Result<(), E> {
    let entries = files.read_dir(directory).map_err(errno)?;
    for found in entries {
        let path = if directory.is_empty() {
            found.name
        } else {
            format!("{directory}/{}", found.name)
        };
        match found.kind {
            FileKind::Directory => {
                each(&path, &DataEntry::Directory)?;
                walk(files, &path, each)?;
            }
            FileKind::Regular => {
                let stat = files.stat(&path, false).map_err(errno)?;
                each(&path, &DataEntry::File(stat.size))?;
            }
            FileKind::Symlink => {
                let target = files.read_link(&path).map_err(errno)?;
                each(&path, &DataEntry::Symlink(target))?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl Cluster {
    /// The file system of its data.
    pub(crate) fn data(&self) -> Result<Arc<dyn FileSystem>, Errno> {
        let mut mounts = self.kernel().vfs().mounts();
        mounts
            .find(|(at, _)| *at == DATA)
            .map(|(_, files)| Arc::clone(files))
            .ok_or(Errno::ENOENT)
    }

    /// The data directory as it is at one instant, for which the guests stand still: what a loss of power would leave if everything written had reached the disk. A cluster that
    /// begins with it recovers, as after a crash; nothing that was committed is missing.
    ///
    /// # Errors
    /// [`SnapshotError::Kernel`] when a file cannot be read, or without memory for all of them.
    pub fn data_directory(&self) -> Result<DataDirectory, SnapshotError> {
        let data = self.data()?;
        Ok(self
            .kernel()
            .while_stopped(|| DataDirectory::of(&*data))??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let data = DataDirectory::new();
        for path in ["", "/etc/passwd", "a/../b", "a//b", "./a", "a/"] {
            assert_eq!(
                data.add(path, DataEntry::Directory, Vec::new()),
                Err(Errno::EINVAL),
                "{path}"
            );
        }
        data.add("base/1", DataEntry::Directory, Vec::new())
            .unwrap();
        data.add("base/1/2", DataEntry::File(3), b"abc".to_vec())
            .unwrap();
        let mut seen = Vec::new();
        data.walk(|path, entry, bytes| {
            seen.push((path.to_owned(), entry.clone(), bytes.to_vec()));
            Ok::<(), Errno>(())
        })
        .unwrap();
        assert_eq!(
            seen.last(),
            Some(&("base/1/2".to_owned(), DataEntry::File(3), b"abc".to_vec()))
        );
        assert_eq!(seen.len(), 3);
    }
}
