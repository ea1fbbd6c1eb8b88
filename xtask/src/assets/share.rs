//! The image of PostgreSQL's installed files, made from a directory.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use pglite_oxide_assets::TreeWriter;
use sha2::{Digest as _, Sha256};

use crate::cache::RECORD;

/// sha256, for [`TreeWriter::finish`].
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lays the tree below `dir` out as an image. Modes are normalised: 0755 for directories and executables, 0644 for other files.
pub fn image(dir: &Path) -> Result<Vec<u8>> {
    let mut tree = TreeWriter::new();
    tree.directory("", 0o755)?;
    add(&mut tree, dir, "")?;
    Ok(tree.finish(sha256)?)
}

fn add(tree: &mut TreeWriter, dir: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry?;
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| anyhow::anyhow!("{name:?} is not UTF-8"))?;
        if prefix.is_empty() && name == RECORD {
            continue;
        }
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            tree.directory(&path, 0o755)?;
            add(tree, &entry.path(), &path)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path())?;
            tree.symlink(&path, &target.to_string_lossy())?;
        } else {
            let contents = fs::read(entry.path())
                .with_context(|| format!("reading {}", entry.path().display()))?;
            tree.file(
                &path,
                if executable(&entry.path()) {
                    0o755
                } else {
                    0o644
                },
                contents,
            )?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn executable(_path: &Path) -> bool {
    false
}
