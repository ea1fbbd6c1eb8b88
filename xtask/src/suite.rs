//! `cargo xtask setup` and `cargo xtask test`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;
use pglite_oxide_asset_locator as locator;

use crate::cache::Cache;
use crate::fetch::Fetcher;
use crate::progress::Progress;
use crate::{assets, process, tools};

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Only the tests of one package of the workspace
    #[arg(long, short)]
    package: Option<String>,
    /// Passed on to the test runner
    #[arg(last = true)]
    rest: Vec<String>,
}

/// The checkout's root.
pub fn workspace() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here
        .parent()
        .context("xtask lies in the workspace")?
        .to_path_buf())
}

/// cargo, in the workspace's root.
pub fn cargo() -> Command {
    let mut command = process::cargo();
    if let Ok(root) = workspace() {
        command.current_dir(root);
    }
    command
}

/// Makes the current assets for this host.
pub fn assets() -> Result<()> {
    assets::run(&assets::Options::default())
}

/// The installation directory of native PostgreSQL of the same version, fetched if need be.
pub fn native_postgres() -> Result<PathBuf> {
    let cache = Cache::open(&locator::cache_root()?, Progress::new())?;
    tools::native_postgres(&cache, &Fetcher::new(&cache))
}

/// True where `cargo nextest` is installed.
pub fn has_nextest() -> bool {
    cargo()
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// The assets, and native PostgreSQL's client tools for the tests.
pub fn setup() -> Result<()> {
    assets()?;
    native_postgres().map(|_| ())
}

/// The package whose features are tested.
const FEATURED: &str = "pglite-oxide";

/// Test programs that are run once more with other features than the workspace's own build has, in this order, and cargo's arguments for that.
const WITH_FEATURES: &[(&str, &[&str])] = &[
    ("suite_icu", &["--features=icu"]),
    (
        "suite_zstd",
        &["--no-default-features", "--features=bundled,tools"],
    ),
];

/// Where the first run of `suite_zstd` leaves a directory for the second, which could not make it.
const ZSTD_ROOT: &str = "PGLITE_OXIDE_ZSTD_ROOT";

/// Sets up, then runs the workspace's tests: with nextest where it is installed (then the documentation's examples with cargo), with `cargo test` elsewhere.
///
/// Tests find native PostgreSQL's programs through `PGLITE_OXIDE_NATIVE`.
pub fn run(options: &Options) -> Result<()> {
    assets()?;
    let native = native_postgres()?;
    let left_behind = tempfile::tempdir()?;
    let selection = |command: &mut Command| {
        match &options.package {
            Some(package) => command.args(["--package", package]),
            None => command.arg("--workspace"),
        };
        command
            .env("PGLITE_OXIDE_NATIVE", &native)
            .env(ZSTD_ROOT, left_behind.path());
    };
    let nextest = has_nextest();
    let mut command = cargo();
    if nextest {
        command.args(["nextest", "run", "--no-fail-fast"]);
    } else {
        command.args([
            "test",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
            "--examples",
        ]);
    }
    selection(&mut command);
    process::shown(command.args(&options.rest))?;
    if options.rest.is_empty() {
        if options
            .package
            .as_deref()
            .is_none_or(|name| name == FEATURED)
        {
            for (test, arguments) in WITH_FEATURES {
                let mut command = cargo();
                command.args(if nextest {
                    &["nextest", "run", "--no-fail-fast"][..]
                } else {
                    &["test", "--no-fail-fast"]
                });
                command
                    .args(["--package", FEATURED, "--test", test])
                    .args(*arguments);
                command.env("PGLITE_OXIDE_NATIVE", &native);
                process::shown(command.env(ZSTD_ROOT, left_behind.path()))?;
            }
        }
        let mut command = cargo();
        command.args(["test", "--doc", "--quiet"]);
        selection(&mut command);
        process::shown(&mut command)?;
    }
    Ok(())
}
