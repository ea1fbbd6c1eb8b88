//! Wheels from PyPI, through pip as the machine has it configured.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt;
use crate::cache::Cache;
use crate::process;

/// Downloads one wheel, without its dependencies, and returns its path in `scratch`.
pub(super) fn download(
    package: &str,
    version: &str,
    file: &str,
    scratch: &Path,
    cache: &Cache,
) -> Result<PathBuf> {
    let mut command = pip(cache)?;
    command.args([
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
    ]);
    process::output(command.arg(scratch).arg(format!("{package}=={version}")))?;
    let path = scratch.join(file);
    if !path.is_file() {
        let got: Vec<_> = std::fs::read_dir(scratch)?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        bail!("wanted {file}, found {}", got.join(", "));
    }
    Ok(path)
}

/// `python3 -m pip`; from Debian's package unpacked into the cache where Python has no pip of its own.
fn pip(cache: &Cache) -> Result<Command> {
    let works = |python: &Path| {
        Command::new(python)
            .args(["-m", "pip", "--version"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let candidates: Vec<PathBuf> = ["python3", "python"]
        .iter()
        .filter_map(|name| process::which(name))
        .collect();
    if let Some(python) = candidates.iter().find(|python| works(python)) {
        let mut command = Command::new(python);
        command.args(["-m", "pip"]);
        return Ok(command);
    }
    let python = candidates.first().context("python3 is not installed")?;
    let root = apt::unpacked(
        cache,
        "pip",
        &[
            "python3-pip",
            "python3-setuptools",
            "python3-wheel",
            "python3-pkg-resources",
            "python3-distutils",
            "python3-lib2to3",
        ],
        &[],
    )?;
    let mut command = Command::new(python);
    command
        .args(["-m", "pip"])
        .env("PYTHONPATH", root.join("usr/lib/python3/dist-packages"));
    Ok(command)
}
