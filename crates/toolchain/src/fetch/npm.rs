//! Packages from npm, through npm as the machine has it configured: the registry keeps every version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// Downloads one package, without its dependencies and without running anything of it, to `file` in `scratch`.
pub(super) fn download(
    package: &str,
    version: &str,
    file: &str,
    scratch: &Path,
) -> Result<PathBuf> {
    let npm = process::which("npm").context("npm is not installed")?;
    let mut command = Command::new(npm);
    command
        .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
        .arg(scratch)
        .arg(format!("{package}@{version}"))
        .current_dir(scratch);
    let said = process::output(&mut command)?;
    let name = said.lines().last().context("npm named no file")?.trim();
    let (got, wanted) = (scratch.join(name), scratch.join(file));
    if got != wanted {
        std::fs::rename(&got, &wanted).with_context(|| format!("npm's {}", got.display()))?;
    }
    Ok(wanted)
}
