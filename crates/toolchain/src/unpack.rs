//! Unpacking archives.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Unpacks a `.tar.gz` (or `.tgz`, or a `.crate`), `.tar.bz2` or `.tar.xz` into `dir`, without the archive's one top directory.
pub fn tarball(archive: &Path, dir: &Path) -> Result<()> {
    let file = BufReader::new(
        File::open(archive).with_context(|| format!("opening {}", archive.display()))?,
    );
    let name = archive.to_string_lossy();
    let reader: Box<dyn Read> = if name.ends_with(".bz2") {
        Box::new(bzip2::read::BzDecoder::new(file))
    } else if [".gz", ".tgz", ".crate"]
        .iter()
        .any(|end| name.ends_with(end))
    {
        Box::new(flate2::read::GzDecoder::new(file))
    } else if name.ends_with(".xz") {
        Box::new(lzma_rust2::XzReader::new(file, true))
    } else {
        bail!("{name}: neither .tar.gz nor .crate nor .tar.bz2 nor .tar.xz");
    };
    fs::create_dir_all(dir)?;
    let mut tar = tar::Archive::new(reader);
    // Times are kept: make compares them (PostgreSQL's tarball ships some generated files).
    tar.set_preserve_mtime(true);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let mut parts = path.components();
        parts.next();
        let relative = parts.as_path();
        if relative.as_os_str().is_empty() {
            continue;
        }
        if !relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            bail!("{name}: {} leads out of the archive", path.display());
        }
        let target = dir.join(relative);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        entry
            .unpack(&target)
            .with_context(|| format!("unpacking {}", path.display()))?;
    }
    Ok(())
}

/// Unpacks a wheel (a zip file) into `dir`, with the executable bits that the archive records, and one for everything in a `bin` directory.
pub fn wheel(archive: &Path, dir: &Path, only: impl Fn(&str) -> bool) -> Result<()> {
    let file = File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
    let mut zip = zip::ZipArchive::new(BufReader::new(file))
        .with_context(|| format!("reading {}", archive.display()))?;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index)?;
        let Some(path) = entry.enclosed_name() else {
            bail!(
                "{}: entry {index} leads out of the archive",
                archive.display()
            )
        };
        if entry.is_dir() || !only(&path.to_string_lossy()) {
            continue;
        }
        let target: PathBuf = dir.join(&path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut out =
            File::create(&target).with_context(|| format!("creating {}", target.display()))?;
        std::io::copy(&mut entry, &mut out)
            .with_context(|| format!("unpacking {}", path.display()))?;
        let in_bin = path.parent().is_some_and(|parent| parent.ends_with("bin"));
        if in_bin || entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0) {
            make_executable(&target)?;
        }
    }
    Ok(())
}

/// Sets the executable bits.
#[cfg(unix)]
pub fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("chmod {}", path.display()))
}

/// Nothing to set here.
#[cfg(not(unix))]
pub fn make_executable(_path: &Path) -> Result<()> {
    Ok(())
}
