//! Wheels and source archives from PyPI, through pip as the machine has it configured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{apt, wanted};
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
    wanted(file, scratch)
}

/// What pip is given for the module that builds a source archive: it only says what pip wants to know before it hands the archive over.
const BACKEND: &str = r#"import os

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    name = os.environ["PGLITE_OXIDE_SDIST"]
    info = name.replace("=", "-").replace("--", "-") + ".dist-info"
    os.mkdir(os.path.join(directory, info))
    with open(os.path.join(directory, info, "METADATA"), "w") as metadata:
        metadata.write("Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % tuple(name.split("==")))
    return info
"#;

/// Downloads one source archive, without its dependencies, and returns its path in `scratch`.
///
/// pip asks an archive's build system for its metadata even if it only downloads it. It gets to ask ours, so that nothing is built, and nothing of the archive is run.
pub(super) fn sdist(
    package: &str,
    backend: &str,
    version: &str,
    file: &str,
    scratch: &Path,
    cache: &Cache,
) -> Result<PathBuf> {
    let python = scratch.join("python");
    let module = python.join(backend.replace('.', "/")).with_extension("py");
    let dir = module.parent().context("a module's directory")?;
    fs::create_dir_all(dir)?;
    for package in dir.ancestors().take_while(|dir| *dir != python) {
        fs::write(package.join("__init__.py"), "")?;
    }
    fs::write(&module, BACKEND)?;
    let wanted_version = format!("{package}=={version}");
    let mut command = pip(cache)?;
    let mut path = python.into_os_string();
    // pip itself may be in a directory that the variable names.
    let own = command
        .get_envs()
        .find(|(name, _)| *name == "PYTHONPATH")
        .and_then(|(_, value)| value.map(ToOwned::to_owned));
    if let Some(own) = own {
        path.push(":");
        path.push(own);
    }
    command
        .env("PYTHONPATH", path)
        .env("PGLITE_OXIDE_SDIST", &wanted_version)
        .args([
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-build-isolation",
            "--no-binary=:all:",
            "--dest",
        ])
        .arg(scratch)
        .arg(&wanted_version);
    process::output(&mut command)?;
    wanted(file, scratch)
}

/// `python3 -m pip`; from Debian's package unpacked into the cache where Python has no pip of its own.
pub fn pip(cache: &Cache) -> Result<Command> {
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
