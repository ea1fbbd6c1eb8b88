//! Making a pack.

use std::collections::BTreeMap;
use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::manifest::{MANIFEST, Manifest, Member};
use crate::read::sha256;

/// A pack of `files`, by their paths in it. The manifest's own list of files is replaced by what they are. The same input gives the same bytes.
///
/// # Errors
/// `InvalidInput` for a manifest that does not fit the files, or paths that a pack cannot have.
pub fn write(mut manifest: Manifest, files: &BTreeMap<String, Vec<u8>>) -> io::Result<Vec<u8>> {
    manifest.files = files
        .iter()
        .map(|(path, bytes)| {
            let member = Member {
                bytes: bytes.len() as u64,
                sha256: sha256(bytes),
            };
            (path.clone(), member)
        })
        .collect();
    manifest
        .check()
        .map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?;
    let text = serde_json::to_vec_pretty(&manifest)?;
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_path(path)?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        archive.append(&header, bytes)
    };
    add(MANIFEST, &text)?;
    for (path, bytes) in files {
        add(path, bytes)?;
    }
    archive.into_inner()?.finish()
}
