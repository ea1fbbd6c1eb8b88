//! A note beside the data that they were closed in order, for the next start.
//!
//! PostgreSQL cannot know whether the files of its relation cache are what the catalogs say, so it removes them at every start, and the first session builds them again: a third of the
//! time until its first row. They are right after a shutdown in order, as far as the disk is: nothing ever syncs them, or that older ones were removed. So whoever sees a cluster shut down
//! syncs them and their directories, and then leaves this note; a start that finds it sets [`CLOSED`] for the postmaster (guest/patches/0009).
//!
//! The note is about one build of the server and one state of `pg_control`: what others have put in the place of the data since, or closed, has none.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::error::StartError;
use crate::root::{RootDirectory, failed};

/// The note, in the root.
const NOTE: &str = "closed";
/// The file of the relation cache, in the directories of databases.
const CACHE: &str = "pg_internal.init";
/// What the postmaster is told.
pub(crate) const CLOSED: &str = "PGLITE_CLOSED=1";

/// Leaves the note. The cluster in `root` has just shut down in order, and nobody else can have opened it.
pub(crate) fn note(root: &Path) -> io::Result<()> {
    let data = root.join(RootDirectory::DATA);
    // Databases that lie in tablespaces have such files, too.
    if fs::read_dir(data.join("pg_tblspc"))?.next().is_some() {
        return Ok(());
    }
    sync_cache(&data.join("global"))?;
    for entry in fs::read_dir(data.join("base"))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_cache(&entry.path())?;
        }
    }
    // Half of it, or none, is no note.
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(root.join(NOTE))?;
    file.write_all(text(&data)?.as_bytes())
}

/// Takes the note away, and whether it is about what is here.
pub(crate) fn take(root: &Path) -> Result<bool, StartError> {
    let path = root.join(NOTE);
    let note = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(failed("reading", &path))?,
    };
    fs::remove_file(&path).map_err(failed("removing", &path))?;
    let wanted = text(&root.join(RootDirectory::DATA));
    Ok(wanted.is_ok_and(|wanted| wanted.as_bytes() == note))
}

fn text(data: &Path) -> io::Result<String> {
    let mut control = Vec::new();
    open(&data.join("global/pg_control"))?.read_to_end(&mut control)?;
    let sum = crc32c::crc32c(&control);
    Ok(format!("{} {sum:08x}\n", crate::fingerprint()))
}

/// Syncs the directory, and the cache's file if it has one.
fn sync_cache(directory: &Path) -> io::Result<()> {
    match open(&directory.join(CACHE)) {
        Ok(file) => file.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    open(directory)?.sync_all()
}

/// The data are the guest's: no link of its making is followed.
fn open(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with what a note is about.
    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join(RootDirectory::DATA);
        for name in ["global", "base/5", "pg_tblspc"] {
            fs::create_dir_all(data.join(name)).unwrap();
        }
        fs::write(data.join("global/pg_control"), "one").unwrap();
        fs::write(data.join("base/5").join(CACHE), "cache").unwrap();
        dir
    }

    #[test]
    fn a_note_is_good_for_one_start() {
        let root = root();
        assert!(!take(root.path()).unwrap());
        note(root.path()).unwrap();
        assert!(take(root.path()).unwrap());
        assert!(!take(root.path()).unwrap());
    }

    #[test]
    fn other_data_and_other_builds_have_no_note() {
        let root = root();
        let control = root
            .path()
            .join(RootDirectory::DATA)
            .join("global/pg_control");
        note(root.path()).unwrap();
        fs::write(&control, "two").unwrap();
        assert!(!take(root.path()).unwrap());

        note(root.path()).unwrap();
        let path = root.path().join(NOTE);
        let other = fs::read_to_string(&path)
            .unwrap()
            .replace(crate::fingerprint(), "another");
        fs::write(&path, other).unwrap();
        assert!(!take(root.path()).unwrap());
    }

    #[test]
    fn where_a_database_may_lie_elsewhere_there_is_no_note() {
        let root = root();
        let space = root.path().join(RootDirectory::DATA).join("pg_tblspc/1");
        std::os::unix::fs::symlink("/nowhere", space).unwrap();
        note(root.path()).unwrap();
        assert!(!take(root.path()).unwrap());
    }
}
