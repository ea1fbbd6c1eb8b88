//! Crates from crates.io, through cargo as the machine has it configured: some carry the sources of a C library, and the registry keeps every version.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process;

/// Has cargo fetch one crate and copies its `.crate`, a `.tar.gz`, to `file` in `scratch`.
pub(super) fn download(
    package: &str,
    version: &str,
    file: &str,
    scratch: &Path,
) -> Result<PathBuf> {
    // A package that needs it, in a workspace of its own.
    fs::create_dir_all(scratch.join("src"))?;
    fs::write(scratch.join("src/lib.rs"), "")?;
    let manifest = scratch.join("Cargo.toml");
    fs::write(
        &manifest,
        format!(
            "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{package} = \"={version}\"\n"
        ),
    )?;
    let mut command = process::cargo();
    command
        .current_dir(scratch)
        .args([
            "metadata",
            "--quiet",
            "--format-version=1",
            "--manifest-path",
        ])
        .arg(&manifest);
    let said: Value = serde_json::from_str(&process::output(&mut command)?)?;
    let packages = said["packages"].as_array().into_iter().flatten();
    let unpacked = packages
        .filter(|found| found["name"] == package)
        .find_map(|found| found["manifest_path"].as_str())
        .with_context(|| format!("cargo names no {package}"))?;
    let archive = archive_of(Path::new(unpacked), package, version)
        .with_context(|| format!("{unpacked} is not where cargo unpacks crates"))?;
    if !archive.is_file() {
        bail!(
            "cargo unpacked {package} but has no {} (its source is replaced by a directory?)",
            archive.display()
        );
    }
    let copy = scratch.join(file);
    fs::copy(&archive, &copy).with_context(|| format!("copying {}", archive.display()))?;
    Ok(copy)
}

/// `registry/src/INDEX/NAME-VERSION/Cargo.toml` is unpacked from `registry/cache/INDEX/NAME-VERSION.crate`.
fn archive_of(manifest: &Path, package: &str, version: &str) -> Option<PathBuf> {
    let index = manifest.parent()?.parent()?;
    let registry = index.parent()?.parent()?;
    Some(
        registry
            .join("cache")
            .join(index.file_name()?)
            .join(format!("{package}-{version}.crate")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_lies_beside_what_was_unpacked_from_it() {
        let manifest = Path::new("/c/registry/src/index-1/a-sys-1.0.0+2/Cargo.toml");
        assert_eq!(
            archive_of(manifest, "a-sys", "1.0.0+2"),
            Some(PathBuf::from(
                "/c/registry/cache/index-1/a-sys-1.0.0+2.crate"
            ))
        );
        assert_eq!(archive_of(Path::new("Cargo.toml"), "a", "1"), None);
    }
}
