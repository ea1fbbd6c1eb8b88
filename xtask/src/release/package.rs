//! The staged crates as `cargo package` makes them: what a registry would get, byte for byte.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;

use super::CRATES;
use super::stage::Staged;
use crate::process;

/// The registry's limit for one crate.
const LIMIT: u64 = 10 << 20;
/// What must be left below it, so that a new version of PostgreSQL or a better profile does not end releases.
const RESERVE: u64 = 512 << 10;

/// A packaged crate.
pub(super) struct Package {
    /// Its name in the registry.
    pub(super) name: String,
    pub(super) version: String,
    /// The archive.
    pub(super) file: PathBuf,
}

/// Packages all crates and checks that nothing is missing or too large.
pub(super) fn run(staged: &Staged) -> Result<Vec<Package>> {
    let target = staged.root.join("target");
    let mut command = process::cargo();
    command
        .current_dir(&staged.root)
        // Compiling them is what `release check` does.
        .args(["package", "--quiet", "--no-verify", "--allow-dirty"])
        .arg("--target-dir")
        .arg(&target);
    let mut packages = Vec::new();
    for name in CRATES {
        let manifest: toml::Table = read(&staged.root.join("crates").join(name))?;
        let name = text(&manifest, "name")?;
        command.args(["--package", &name]);
        packages.push((name, manifest));
    }
    process::shown(&mut command)?;
    let workspace = read(&staged.root)?;
    let version = workspace["workspace"]["package"]["version"]
        .as_str()
        .context("the workspace has no version")?
        .to_owned();
    let mut refused = Vec::new();
    let mut made = Vec::new();
    println!(
        "| crate, for {} | compressed, MiB | unpacked, MiB |\n|---|---:|---:|",
        staged.target
    );
    for ((name, _), directory) in packages.into_iter().zip(CRATES) {
        let file = target.join(format!("package/{name}-{version}.crate"));
        let size = file.metadata().with_context(|| name.clone())?.len();
        let unpacked = complete(&file, &staged.root.join("crates").join(directory))
            .with_context(|| format!("checking {}", file.display()))?;
        println!("| {name} | {:.2} | {:.2} |", mib(size), mib(unpacked));
        if size > LIMIT - RESERVE {
            refused.push(name.clone());
        }
        made.push(Package {
            name,
            version: version.clone(),
            file,
        });
    }
    if !refused.is_empty() {
        bail!(
            "over the registry's limit of {} MiB, or less than {} KiB below: {}",
            LIMIT >> 20,
            RESERVE >> 10,
            refused.join(", ")
        );
    }
    Ok(made)
}

fn read(dir: &Path) -> Result<toml::Table> {
    let path = dir.join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(toml::from_str(&text)?)
}

fn text(manifest: &toml::Table, field: &str) -> Result<String> {
    let value = manifest["package"].get(field).and_then(toml::Value::as_str);
    value
        .map(str::to_owned)
        .with_context(|| format!("no {field}"))
}

/// Fails unless the archive has every staged file. How many bytes they are.
fn complete(archive: &Path, staged: &Path) -> Result<u64> {
    let mut packed = BTreeSet::new();
    let mut bytes = 0;
    for entry in tar::Archive::new(GzDecoder::new(File::open(archive)?)).entries()? {
        let entry = entry?;
        bytes += entry.size();
        // Below a directory of the crate's name and version.
        packed.insert(entry.path()?.components().skip(1).collect::<PathBuf>());
    }
    let mut missing = Vec::new();
    each_file(staged, &mut |path| {
        let relative = path.strip_prefix(staged)?;
        if !packed.contains(relative) {
            missing.push(relative.display().to_string());
        }
        Ok(())
    })?;
    if !missing.is_empty() {
        bail!("cargo left out {}", missing.join(", "));
    }
    Ok(bytes)
}

fn each_file(dir: &Path, found: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            each_file(&entry.path(), found)?;
        } else {
            found(&entry.path())?;
        }
    }
    Ok(())
}

/// Whole KiB are exact enough, and exact in a float.
fn mib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
}
