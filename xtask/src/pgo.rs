//! `cargo xtask pgo`: trains the profile that the optimiser uses.
//!
//! Instrumented objects are linked into the `trainer` program, which runs the workload of `xtask/training` (wider than any benchmark that is
//! reported); the merged profile becomes `guest/profile/postgres.profdata`, an input of the build. Counters are matched by function name
//! and control-flow hash, so that a profile survives small changes of the guest: what no longer fits is only not optimised for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pglite_oxide_asset_locator as locator;

use crate::assets::{self, Builder, profile_path};
use crate::cache::{Cache, remove_tree, write_atomically};
use crate::fetch::Fetcher;
use crate::progress::Progress;
use crate::{process, suite, tools};

/// How to train.
#[derive(Args)]
pub struct Options {
    /// How often the workload runs
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Where the profile goes [default: guest/profile/postgres.profdata]
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Builds instrumented objects, trains, merges.
pub fn run(options: &Options) -> Result<()> {
    let target = assets::host_target()?;
    let workspace = suite::workspace()?;
    let (assets_dir, native, profdata, scratch) = {
        let cache = Cache::open(&locator::cache_root()?, Progress::new())?;
        let fetcher = Fetcher::new(&cache);
        let profdata = tools::llvm_profdata(&cache, &fetcher)?;
        let native = tools::native_postgres(&cache, &fetcher)?;
        let builder = Builder::new(&cache, &target)?;
        let objects = builder.objects(true, &[])?;
        let assets = builder.assets(&objects)?;
        (assets.dir, native, profdata, cache.root().join("training"))
    };
    remove_tree(&scratch)?;
    fs::create_dir_all(&scratch)?;
    train(options, &workspace, &assets_dir, &native, &scratch)?;
    let merged = scratch.join("merged.profdata");
    merge(&profdata, &scratch, &merged)?;
    let output = options
        .output
        .clone()
        .unwrap_or_else(|| profile_path(&workspace));
    if let Some(parent) = output.parent() {
        fs::create_dir_all(parent)?;
    }
    write_atomically(&output, &fs::read(&merged)?)?;
    println!(
        "{}: {} KiB; `cargo xtask assets` uses it from now on",
        output.display(),
        output.metadata()?.len() >> 10
    );
    Ok(())
}

fn train(
    options: &Options,
    workspace: &Path,
    assets_dir: &Path,
    native: &Path,
    scratch: &Path,
) -> Result<()> {
    // A target directory of its own: other builds are not disturbed by the instrumented objects.
    let mut command = suite::cargo();
    command
        .args(["run", "--release", "--package", "trainer", "--"])
        .arg(workspace.join("xtask/training"));
    command
        .args(["--rounds", &options.rounds.to_string(), "--native"])
        .arg(native);
    command
        .env("PGLITE_OXIDE_ASSETS", assets_dir)
        .env("CARGO_TARGET_DIR", workspace.join("target/pgo"));
    command.env("LLVM_PROFILE_FILE", scratch.join("train-%p.profraw"));
    process::shown(&mut command)
}

fn merge(profdata: &Path, scratch: &Path, merged: &Path) -> Result<()> {
    let mut raw = Vec::new();
    for entry in fs::read_dir(scratch)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "profraw")
        {
            raw.push(path);
        }
    }
    if raw.is_empty() {
        bail!("the trainer left no profile in {}", scratch.display());
    }
    let mut command = Command::new(profdata);
    command
        .args(["merge", "--sparse", "--output"])
        .arg(merged)
        .args(&raw);
    process::output(&mut command)
        .map(|_| ())
        .context("merging the profiles")
}

/// The profile's run-time, which instrumented objects must be linked with: the one that rustc ships for itself, of the same LLVM version.
pub fn runtime_library() -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let dir = process::output(Command::new(rustc).args(["--print", "target-libdir"]))?;
    let dir = Path::new(dir.trim());
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .with_context(|| format!("listing {}", dir.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            name.starts_with("libprofiler_builtins-") && name.ends_with(".rlib")
        })
        .collect();
    found.sort();
    found
        .into_iter()
        .next()
        .with_context(|| format!("no libprofiler_builtins in {}", dir.display()))
}
