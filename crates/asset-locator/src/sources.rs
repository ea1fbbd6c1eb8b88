//! The sources that decide what a frozen cluster looks like.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The crates that write and read one.
const CRATES: [&str; 4] = ["kernel", "machine", "cluster", "pglite-oxide"];

/// The hash of the sources in this checkout that a frozen cluster depends on, and the directories and files that were read; `None` where there is no checkout, as in a published package,
/// whose sources do not change.
///
/// It is the standard library's: another release of that only makes clusters anew.
///
/// # Errors
/// When a file cannot be read.
pub fn sources(workspace: &Path) -> io::Result<Option<(String, Vec<PathBuf>)>> {
    let mut read = vec![workspace.join("Cargo.lock")];
    read.extend(
        CRATES
            .iter()
            .map(|name| workspace.join("crates").join(name).join("src")),
    );
    if read.iter().any(|path| !path.exists()) {
        return Ok(None);
    }
    let mut hasher = DefaultHasher::new();
    for path in &read {
        add(path, &mut hasher)?;
    }
    Ok(Some((format!("{:016x}", hasher.finish()), read)))
}

fn add(path: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    path.file_name().hash(hasher);
    if !path.is_dir() {
        fs::read(path)?.hash(hasher);
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    entries.len().hash(hasher);
    entries.iter().try_for_each(|entry| add(entry, hasher))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_s_sources_have_a_hash_that_any_change_changes() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (hash, read) = sources(&workspace).unwrap().unwrap();
        assert_eq!((hash.len(), read.len()), (16, 5));
        let copy = tempfile::tempdir().unwrap();
        assert!(sources(copy.path()).unwrap().is_none(), "no checkout");
        fs::write(copy.path().join("Cargo.lock"), "").unwrap();
        for name in CRATES {
            fs::create_dir_all(copy.path().join("crates").join(name).join("src")).unwrap();
        }
        let of = || sources(copy.path()).unwrap().unwrap().0;
        let mut seen = vec![of()];
        for change in ["kernel/src/a.rs", "kernel/src/b.rs", "machine/src/a.rs"] {
            fs::write(copy.path().join("crates").join(change), "x").unwrap();
            seen.push(of());
        }
        fs::write(copy.path().join("crates/kernel/src/a.rs"), "y").unwrap();
        seen.push(of());
        assert_eq!(of(), *seen.last().unwrap());
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }
}
