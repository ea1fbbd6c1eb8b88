//! Data directories as differences from the built-in template: small, and quick to load, since what is the same stays in the binary.
//!
//! The format is that of the assets' tree images (`pglite_oxide_assets::image`): the files that differ, whole, and in the file [`GONE`] the paths that are not there.
//! It is a cache's: of one build only, and thrown away when it does not fit.

use std::collections::BTreeSet;

use pglite_oxide_assets::{Kind, Tree, TreeWriter};
use pglite_oxide_kernel::Errno;

use crate::data::{DataDirectory, DataEntry};
use crate::error::StartError;
use crate::world;

/// Where the paths are listed that the template has and the directory has not.
const GONE: &str = ".gone";

/// Stands in the fingerprint's place: the file is only ever read where it was written.
fn checksum(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out[..4].copy_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    out
}

impl DataDirectory {
    /// The directory as its differences from the template of this build.
    ///
    /// # Errors
    /// [`StartError::Kernel`] (`EINVAL`) for what the format does not hold: a file of 4 GiB or more.
    pub fn to_delta(&self) -> Result<Vec<u8>, StartError> {
        let image = world::template()?.unpack()?;
        let template = Tree::parse("template", &image)?;
        let mut writer = TreeWriter::new();
        let mut made = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let failed = |_| StartError::Kernel(Errno::EINVAL);
        self.walk(|path, entry, bytes| {
            seen.insert(path.to_owned());
            let known = template.get(path);
            let same = known.is_some_and(|known| match (entry, known.kind) {
                (DataEntry::Directory, Kind::Directory) => true,
                (DataEntry::File(len), Kind::File) => {
                    *len == known.len && same_bytes(bytes, known.contents)
                }
                (DataEntry::Symlink(target), Kind::Symlink) => target.as_bytes() == known.contents,
                _ => false,
            });
            if same {
                return Ok(());
            }
            for (slash, _) in path.match_indices('/') {
                if made.insert(path[..slash].to_owned()) {
                    writer.directory(&path[..slash], 0o700).map_err(failed)?;
                }
            }
            match entry {
                DataEntry::Directory => {
                    if made.insert(path.to_owned()) {
                        writer.directory(path, 0o700).map_err(failed)?;
                    }
                    Ok(())
                }
                DataEntry::File(_) => writer.file(path, 0o600, bytes.to_vec()).map_err(failed),
                DataEntry::Symlink(target) => writer.symlink(path, target).map_err(failed),
            }
        })?;
        let gone: Vec<_> = template
            .entries()
            .map(|entry| entry.path)
            .filter(|path| !path.is_empty() && !seen.contains(*path))
            .collect();
        writer
            .file(GONE, 0o600, gone.join("\n").into_bytes())
            .map_err(failed)?;
        writer.finish(checksum).map_err(failed)
    }

    /// The directory that these are the differences of; `None` if they are damaged, or of another build's template.
    ///
    /// # Errors
    /// When the template cannot be had.
    pub fn from_delta(bytes: &[u8]) -> Result<Option<Self>, StartError> {
        let Ok(tree) = Tree::parse("delta", bytes) else {
            return Ok(None);
        };
        if tree.fingerprint() != checksum(tree.fingerprinted()) {
            return Ok(None);
        }
        let data = Self::of_template()?;
        let Some(gone) = tree.get(GONE) else {
            return Ok(None);
        };
        for path in String::from_utf8_lossy(gone.contents).lines().rev() {
            // Children come after their directories, so they go first.
            data.remove(path)?;
        }
        for entry in tree.entries().filter(|entry| entry.path != GONE) {
            match entry.kind {
                Kind::Directory => data.add(entry.path, DataEntry::Directory, Vec::new())?,
                Kind::File => data.replace(entry.path, entry.contents, entry.len)?,
                Kind::Symlink => {
                    let target = String::from_utf8_lossy(entry.contents).into_owned();
                    data.add(entry.path, DataEntry::Symlink(target), Vec::new())?;
                }
            }
        }
        Ok(Some(data))
    }
}

/// Whether `bytes` are `contents` and then zeros, of which the length is known to agree.
fn same_bytes(bytes: &[u8], contents: &[u8]) -> bool {
    bytes
        .get(..contents.len())
        .is_some_and(|first| first == contents && bytes[contents.len()..].iter().all(|&b| b == 0))
}
