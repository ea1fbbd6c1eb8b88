//! Files in the directory of templates: what they begin with, who may make them, and that they are in use.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// What a file begins with, so that two keys with one hash do no harm: the whole key's length, then itself.
pub(crate) fn head(key: &str) -> Vec<u8> {
    [&(key.len() as u64).to_le_bytes(), key.as_bytes()].concat()
}

/// The file that whoever makes another one locks; not locked yet.
pub(crate) fn lock_file(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// Says that a file is in use, as far as that can be said: others are removed some day.
pub(crate) fn mark_used(path: &Path) {
    if let Ok(file) = File::options().write(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}
