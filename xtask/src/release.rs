//! `cargo xtask release stage`: the crates as they would be published, each with the assets it needs inside.
//!
//! `aot` gets the static libraries, `assets` the images, both under `prebuilt/<target>` where their build scripts look first: whoever uses the
//! published crates builds nothing of PostgreSQL.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use flate2::Compression;
use flate2::write::GzEncoder;
use pglite_oxide_asset_locator::{self as locator, ExtensionFiles, MANIFEST_FILE, Manifest};

use crate::cache::remove_tree;
use crate::{assets, suite};

/// The registry's limit for one compressed crate.
const LIMIT: u64 = 10 << 20;

/// What is published; everything else in the workspace is for development.
const CRATES: [&str; 10] = [
    "asset-locator",
    "kernel",
    "machine",
    "aot",
    "assets",
    "pack",
    "cluster",
    "pglite-oxide",
    "toolchain",
    "cli",
];

/// What to do.
#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lays the crates out and checks their sizes
    Stage {
        /// Where [default: target/stage]
        #[arg(long)]
        output: Option<PathBuf>,
    },
}

/// Carries the command out.
pub fn run(options: &Options) -> Result<()> {
    let Command::Stage { output } = &options.command;
    suite::assets()?;
    let workspace = suite::workspace()?;
    let stage = output
        .clone()
        .unwrap_or_else(|| workspace.join("target/stage"));
    remove_tree(&stage)?;
    fs::create_dir_all(stage.join("crates"))?;
    let target = assets::host_target()?;
    let found = locator::find(&target)?;
    let manifest = fs::read_to_string(workspace.join("Cargo.toml"))?;
    fs::write(stage.join("Cargo.toml"), narrowed(&manifest)?)?;
    fs::copy(workspace.join("Cargo.lock"), stage.join("Cargo.lock"))?;
    let mut too_large = Vec::new();
    for name in CRATES {
        let to = stage.join("crates").join(name);
        copy_tree(&workspace.join("crates").join(name), &to)?;
        for notice in ["LICENSE-APACHE", "LICENSE-MIT", "NOTICE.md"] {
            fs::copy(workspace.join(notice), to.join(notice)).with_context(|| notice.to_owned())?;
        }
        let prebuilt = to.join("prebuilt").join(&target);
        match name {
            "aot" => {
                let kept = ["postgres", "exports"];
                let libraries = found
                    .manifest
                    .libraries
                    .iter()
                    .filter(|(module, _)| kept.contains(&module.as_str()));
                let part = Manifest {
                    libraries: libraries
                        .map(|(module, file)| (module.clone(), file.clone()))
                        .collect(),
                    images: BTreeMap::new(),
                    extensions: extensions(&found.manifest, |files| files.image = None),
                    ..found.manifest.clone()
                };
                place(&found.dir, &prebuilt, part)?;
            }
            "assets" => place(
                &found.dir,
                &prebuilt,
                Manifest {
                    libraries: BTreeMap::new(),
                    extensions: extensions(&found.manifest, |files| files.libraries.clear()),
                    ..found.manifest.clone()
                },
            )?,
            // Its recipes need the runtime's sources; the profile is for the server's objects only.
            "toolchain" => {
                copy_tree(&workspace.join("guest"), &to.join("guest"))?;
                remove_tree(&to.join("guest/profile"))?;
            }
            _ => {}
        }
        let size = compressed_size(&to)?;
        println!("{:<16} {:>8.2} MiB compressed", name, kib(size) / 1024.0);
        if size > LIMIT {
            too_large.push(name);
        }
    }
    if !too_large.is_empty() {
        bail!(
            "over the registry's limit of {} MiB: {}",
            LIMIT >> 20,
            too_large.join(", ")
        );
    }
    println!("staged in {}", stage.display());
    Ok(())
}

/// The extensions with a part of their files.
fn extensions(
    manifest: &Manifest,
    leave_out: impl Fn(&mut ExtensionFiles),
) -> BTreeMap<String, ExtensionFiles> {
    let mut part = manifest.extensions.clone();
    part.values_mut().for_each(leave_out);
    part
}

fn kib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX))
}

/// The workspace's manifest with the published crates as only members.
fn narrowed(manifest: &str) -> Result<String> {
    let members: Vec<String> = CRATES
        .iter()
        .map(|name| format!("\"crates/{name}\""))
        .collect();
    let line = manifest
        .lines()
        .find(|line| line.starts_with("members = "))
        .context("no members in Cargo.toml")?;
    Ok(manifest.replace(line, &format!("members = [{}]", members.join(", "))))
}

/// The files that `part` names, with `part` as their manifest.
fn place(from: &Path, to: &Path, mut part: Manifest) -> Result<()> {
    let files: Vec<String> = part
        .libraries
        .values()
        .cloned()
        .chain(part.images.values().map(|image| image.file.clone()))
        .chain(part.extensions.values().flat_map(|extension| {
            let image = extension.image.iter().map(|image| image.file.clone());
            image.chain(extension.libraries.values().cloned())
        }))
        .collect();
    part.sizes.retain(|file, _| files.contains(file));
    for file in files {
        let target = to.join(&file);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(from.join(&file), &target).with_context(|| format!("copying {file}"))?;
    }
    fs::write(to.join(MANIFEST_FILE), serde_json::to_vec_pretty(&part)?)?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("copying {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// What a directory takes as the registry would store it.
fn compressed_size(dir: &Path) -> Result<u64> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    tar.append_dir_all(".", dir)?;
    Ok(tar.into_inner()?.finish()?.len() as u64)
}
