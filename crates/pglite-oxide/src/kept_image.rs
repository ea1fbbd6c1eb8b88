//! Images of templates on disk: the next process of the same executable opens the migrated database from there, where it would start it in full.
//!
//! An image is only of use to the executable that made it (`machine::places`), so each has a file of its own beside the template's, replaced when the executable was built again.
//! It holds addresses of code, and is trusted as the executable is: a file that somebody else can write is not taken.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use pglite_oxide_cluster::{ImageBytes, Scope};

use crate::kept_file;
use crate::snapshot::Snapshot;

/// Bytes of a template from which on there is no image of it: that has all its data again, for each executable.
const TEMPLATE_MAX: u64 = 64 << 20;

/// Where a template's image for this executable is, or may come to be.
#[derive(Debug)]
pub(crate) struct KeptImage {
    path: PathBuf,
    template: PathBuf,
    /// What the file begins with: the template's whole key, as the template's own does, and what says that the executable is still the same file.
    key: String,
}

/// Nobody else makes the same image meanwhile.
pub(crate) struct Making<'a> {
    image: &'a KeptImage,
    _lock: File,
}

impl KeptImage {
    /// Beside the template in this file, which need not be there; `None` where the executable has no name.
    pub(crate) fn beside(template: &Path, key: &str) -> Option<Self> {
        let executable = std::env::current_exe().ok()?;
        let mut hasher = DefaultHasher::new();
        executable.hash(&mut hasher);
        let found = fs::metadata(&executable).ok()?;
        let name = template.file_stem()?.to_str()?;
        let name = format!("{name}-{:016x}.image", hasher.finish());
        Some(Self {
            path: template.with_file_name(name),
            template: template.to_owned(),
            key: format!("{key}\n{} {:?}", found.len(), found.modified().ok()?),
        })
    }

    /// The snapshot in it; `None` if there is none, or one of another build of the executable, or one that is not to be trusted.
    pub(crate) fn open(&self) -> Option<Snapshot> {
        let path = self.path.display();
        let bytes = match self.read() {
            Ok(bytes) => bytes?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%path, %error, "the template's image is not used");
                return None;
            }
        };
        match Snapshot::from_image_bytes(&bytes) {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                tracing::debug!(%path, %error, "the template's image is not used");
                None
            }
        }
    }

    /// What the file has behind its key; `None` if that is another one.
    fn read(&self) -> io::Result<Option<ImageBytes>> {
        let mut file = open_own(&self.path)?;
        let head = kept_file::head(&self.key);
        let mut found = vec![0; head.len()];
        match file.read_exact(&mut found) {
            Ok(()) if found == head => {}
            Ok(()) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        kept_file::mark_used(&self.path);
        ImageBytes::of_file(file, head.len() as u64).map(Some)
    }

    /// Removes it: it is of a template that is no more.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Whoever gets this makes the image; `None` if another process does, if the template is too large for one, or if the directory cannot be written.
    pub(crate) fn begin(&self) -> Option<Making<'_>> {
        if fs::metadata(&self.template).is_ok_and(|found| found.len() > TEMPLATE_MAX) {
            return None;
        }
        let lock = kept_file::lock_file(&self.path.with_extension("image-lock")).ok()?;
        lock.try_lock().ok()?;
        Some(Making {
            image: self,
            _lock: lock,
        })
    }
}

impl Making<'_> {
    /// Keeps the snapshot for the processes to come. Failing to is only logged.
    pub(crate) fn keep(self, snapshot: &Snapshot) {
        let path = &self.image.path;
        let image = match snapshot.image_for(Scope::Executable) {
            Ok(image) => image,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "there is no image of this template");
                return;
            }
        };
        let file = [kept_file::head(&self.image.key).as_slice(), &image].concat();
        if let Err(error) = write_own(path, &file) {
            tracing::warn!(path = %path.display(), %error, "the template's image is not kept");
        }
    }
}

/// Writes a file that is there in whole or not at all, and that only this user can write.
fn write_own(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("image-part");
    let _ = fs::remove_file(&part);
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&part)?.write_all(bytes)?;
    fs::rename(&part, path)
}

/// Opens a file of this user's that nobody else can write. It is not written to any more: another one takes its name.
fn open_own(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if !is_own(&file)? {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it belongs to another user, or others may write it",
        ));
    }
    Ok(file)
}

#[cfg(unix)]
fn is_own(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let found = file.metadata()?;
    // Where there is no such directory, there are no images either.
    let user = fs::metadata("/proc/self")?.uid();
    Ok(found.uid() == user && found.mode() & 0o022 == 0)
}

#[cfg(not(unix))]
fn is_own(_: &File) -> io::Result<bool> {
    Ok(false)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_others_can_write_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.image");
        let read = || io::read_to_string(open_own(&path)?);
        write_own(&path, b"bytes").unwrap();
        assert_eq!(read().unwrap(), "bytes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let error = read().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        write_own(&path, b"again").unwrap();
        assert_eq!(read().unwrap(), "again");
    }

    /// A damaged page or file that shows only when it is wanted would be wrong data, or a crash, in the middle of a test.
    #[test]
    #[cfg(target_os = "linux")]
    fn damage_is_found_at_open_and_a_file_cut_short_later_ends_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let image = KeptImage::beside(&dir.path().join("0123.template"), "key").unwrap();
        let mut db = crate::Pglite::builder().fresh_temporary().open().unwrap();
        let table = "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 20000) i";
        db.exec(table, None).unwrap();
        image.begin().unwrap().keep(&db.snapshot().unwrap());
        let whole = fs::read(&image.path).unwrap();
        for part in 0..40 {
            let mut bytes = whole.clone();
            let at = bytes.len() * part / 40 + 17;
            bytes[at] ^= 4;
            write_own(&image.path, &bytes).unwrap();
            assert!(image.open().is_none(), "byte {at} of {}", bytes.len());
        }
        write_own(&image.path, &whole[..whole.len() - 1]).unwrap();
        assert!(image.open().is_none(), "one byte less");
        write_own(&image.path, &whole).unwrap();
        let good = image.open().unwrap();
        let sum = "SELECT sum(i) FROM t";
        good.open().unwrap().exec(sum, None).unwrap();
        let cut = image.open().unwrap();
        // In place: nobody of ours does that, and another file under its name would do no harm.
        let file = File::options().write(true).open(&image.path).unwrap();
        file.set_len(100_000).unwrap();
        let asked = cut.open().and_then(|mut db| db.exec(sum, None));
        assert!(asked.is_err(), "its pages are gone");
    }

    #[test]
    fn one_makes_it_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let image = KeptImage::beside(&dir.path().join("0123.template"), "key").unwrap();
        assert!(image.open().is_none());
        let making = image.begin();
        assert!(making.is_some());
        assert!(image.begin().is_none());
        drop(making);
        assert!(image.begin().is_some());
    }
}
