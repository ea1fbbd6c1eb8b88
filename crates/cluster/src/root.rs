//! A cluster's directory on the host: one holder at a time, made whole or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use pglite_oxide_assets::{Kind, Packed, Tree};

use crate::backup::copy_tree;
use crate::control;
use crate::data::{DataDirectory, DataEntry};
use crate::error::StartError;

/// Held for as long as the cluster runs; says who holds it.
const LOCK: &str = "pglite-oxide.lock";
/// The data directory.
const DATA: &str = "data";
/// The data directory while it is being made.
const UNFINISHED: &str = "data.unfinished";
/// Contents of `PG_VERSION`.
const VERSION: &str = "18";

/// An open directory. Dropping it lets others in.
pub(crate) struct RootDirectory {
    _lock: File,
    data: PathBuf,
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |source| StartError::Root {
        action,
        path,
        source,
    }
}

impl RootDirectory {
    /// Opens `root` for this process alone, and makes a cluster from `template` in it if there is none.
    pub(crate) fn open(
        root: &Path,
        contents: &Contents<'_>,
        salt: u32,
    ) -> Result<Self, StartError> {
        if root.as_os_str().is_empty() {
            let empty = io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path is empty: name a directory",
            );
            return Err(failed("opening", root)(empty));
        }
        if root.join("PG_VERSION").is_file() {
            return Err(StartError::NotACluster {
                path: root.to_owned(),
                reason: format!(
                    "it is a data directory itself. If pglite-oxide made it, name the one that holds it, {}; that of another PostgreSQL server is \
                     dumped with pg_dump and restored here, into an empty directory",
                    root.parent().unwrap_or(root).display()
                ),
            });
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(failed("making the directory", root))?;
        let lock = lock(root)?;
        let data = root.join(DATA);
        if is_empty(&data)? {
            fill(root, contents, control::new_identifier(salt))?;
        } else if !matches!(contents, Contents::Template(_)) {
            return Err(StartError::NotEmpty { path: data });
        } else {
            check(&data)?;
        }
        // Written by a postmaster of a host process that was killed: we hold the lock, so it is gone, and its number means nothing to the next one.
        {
            let stale = "postmaster.pid";
            let path = data.join(stale);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("removing", &path)(error));
                }
                _ => {}
            }
        }
        Ok(Self { _lock: lock, data })
    }

    /// Where the data is in a root.
    pub(crate) const DATA: &str = DATA;

    /// Fills a new root; one that holds a cluster is left alone.
    pub(crate) fn create(root: &Path, contents: &Contents<'_>) -> Result<Self, StartError> {
        Self::open(root, contents, 0)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }
}

/// What an empty directory is filled with.
pub(crate) enum Contents<'a> {
    /// What `initdb` leaves, with an identifier of its own.
    Template(Packed),
    /// A backup, as it is.
    Archive(&'a DataDirectory),
    /// The data directory of a cluster that stands still, as it is.
    Directory(&'a Path),
}

/// Locks the directory with `flock(2)`: the lock ends with the process, however it ends, and also holds between two openings in one process.
fn lock(root: &Path) -> Result<File, StartError> {
    let path = root.join(LOCK);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("opening", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let holder = file
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse().ok());
            return Err(StartError::InUse {
                root: root.to_owned(),
                holder,
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed("locking", &path)(error)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(failed("writing", &path))?;
    Ok(file)
}

fn is_empty(data: &Path) -> Result<bool, StartError> {
    match fs::read_dir(data) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed("listing", data)(error)),
    }
}

fn check(data: &Path) -> Result<(), StartError> {
    let refused = |reason: String| StartError::NotACluster {
        path: data.to_owned(),
        reason,
    };
    let version = match fs::read_to_string(data.join("PG_VERSION")) {
        Ok(text) => text.trim().to_owned(),
        Err(error) => {
            return Err(refused(format!(
                "PG_VERSION cannot be read ({error}); to start afresh, use an empty directory"
            )));
        }
    };
    if version != VERSION {
        return Err(refused(format!(
            "it was made by PostgreSQL {version}: dump it with that version and restore it here"
        )));
    }
    if !data.join("global/pg_control").is_file() {
        return Err(refused("global/pg_control is missing".to_owned()));
    }
    Ok(())
}

/// Makes the data directory under another name, makes it durable, and then gives it its name: nobody ever opens a part of one.
fn fill(root: &Path, contents: &Contents<'_>, identifier: u64) -> Result<(), StartError> {
    let unfinished = root.join(UNFINISHED);
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("removing", &unfinished)(error));
        }
        _ => {}
    }
    let made = match contents {
        Contents::Template(template) => {
            let image = template.unpack()?;
            let tree = Tree::parse("template", &image)?;
            fill_from_template(&unfinished, tree, identifier)
        }
        Contents::Archive(data) => fill_from_archive(&unfinished, data),
        Contents::Directory(from) => copy_tree(from, &unfinished),
    };
    // A disk that is full stays so as long as this is on it.
    let directories = made.inspect_err(|_| drop(fs::remove_dir_all(&unfinished)))?;
    for path in directories {
        sync_directory(&path).map_err(failed("syncing", &path))?;
    }
    let data = root.join(DATA);
    fs::rename(&unfinished, &data).map_err(failed("renaming to", &data))?;
    sync_directory(root).map_err(failed("syncing", root))
}

pub(crate) fn make_directory(path: &Path) -> Result<(), StartError> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(failed("making the directory", path))
}

/// Writes the archive's files; the directories, which are still to be synced.
fn fill_from_archive(unfinished: &Path, data: &DataDirectory) -> Result<Vec<PathBuf>, StartError> {
    make_directory(unfinished)?;
    let mut directories = vec![unfinished.to_owned()];
    data.walk(|path, entry, bytes| {
        let path = unfinished.join(path);
        match entry {
            DataEntry::Directory => {
                make_directory(&path)?;
                directories.push(path);
            }
            DataEntry::File(len) => {
                write_file(&path, bytes, *len).map_err(failed("writing", &path))?;
            }
            DataEntry::Symlink(target) => {
                std::os::unix::fs::symlink(target, &path).map_err(failed("linking", &path))?;
            }
        }
        Ok::<(), StartError>(())
    })?;
    Ok(directories)
}

/// Writes the template's files; the directories, which are still to be synced.
fn fill_from_template(
    unfinished: &Path,
    template: Tree<'_>,
    identifier: u64,
) -> Result<Vec<PathBuf>, StartError> {
    let mut directories = Vec::new();
    for entry in template.entries() {
        let path = if entry.path.is_empty() {
            unfinished.to_owned()
        } else {
            unfinished.join(entry.path)
        };
        match entry.kind {
            Kind::Directory => {
                make_directory(&path)?;
                directories.push(path);
            }
            Kind::File => {
                let contents = control::personal(entry.path, entry.contents, identifier);
                write_file(
                    &path,
                    contents.as_deref().unwrap_or(entry.contents),
                    entry.len,
                )
                .map_err(failed("writing", &path))?;
            }
            Kind::Symlink => {
                let target = String::from_utf8_lossy(entry.contents).into_owned();
                std::os::unix::fs::symlink(target, &path).map_err(failed("linking", &path))?;
            }
        }
    }
    Ok(directories)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn write_file(path: &Path, contents: &[u8], len: u64) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(contents)?;
    file.set_len(len)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_holder_who_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        match lock(dir.path()) {
            Err(StartError::InUse { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(held);
        lock(dir.path()).unwrap();
    }

    /// Bug: what had been written of a new database when the disk was full stayed there.
    #[test]
    fn a_creation_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let contents = Contents::Directory(Path::new("/nowhere"));
        assert!(RootDirectory::create(dir.path(), &contents).is_err());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
        assert!(
            left.iter().all(|entry| entry.file_name() == LOCK),
            "{left:?}"
        );
    }

    /// Bug: an empty path, as of a variable that is not set, made a database in the working directory and then failed with "syncing ".
    #[test]
    fn an_empty_path_is_refused() {
        let contents = Contents::Directory(Path::new("/nowhere"));
        let Err(StartError::Root { source, .. }) = RootDirectory::create(Path::new(""), &contents)
        else {
            panic!("it was opened");
        };
        assert!(source.to_string().contains("is empty"), "{source}");
    }

    /// Bug: `--path` with a server's own data directory, or with `data` in a root, made an empty database inside of it.
    #[test]
    fn a_data_directory_itself_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("PG_VERSION"), "18\n").unwrap();
        let contents = Contents::Directory(Path::new("/nowhere"));
        let Err(refused) = RootDirectory::create(dir.path(), &contents) else {
            panic!("it was opened");
        };
        assert!(refused.to_string().contains("pg_dump"), "{refused}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_cluster_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_empty(&dir.path().join("nothing")).unwrap());
        fs::write(dir.path().join("letter.txt"), "dear").unwrap();
        assert!(
            check(dir.path())
                .unwrap_err()
                .to_string()
                .contains("PG_VERSION")
        );
        fs::write(dir.path().join("PG_VERSION"), "17\n").unwrap();
        assert!(
            check(dir.path())
                .unwrap_err()
                .to_string()
                .contains("PostgreSQL 17")
        );
        fs::write(dir.path().join("PG_VERSION"), "18\n").unwrap();
        assert!(
            check(dir.path())
                .unwrap_err()
                .to_string()
                .contains("pg_control")
        );
        fs::create_dir(dir.path().join("global")).unwrap();
        fs::write(dir.path().join("global/pg_control"), "").unwrap();
        check(dir.path()).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("letter.txt")).unwrap(),
            "dear"
        );
    }
}
