//! The packages as a user meets them: programs outside of any checkout, which cargo builds from the packages' own files, without assets anywhere else.
//!
//! Built are a program with pglite-oxide's default features (timed: design's budget), the same with every feature, one with nothing but the server, and the command line tools.
//! Each is run; the tools' `ext build` makes the example pack, which another program loads.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;
use pglite_oxide_asset_locator as locator;

use super::package::Package;
use crate::cache::remove_tree;
use crate::{process, suite};

/// How long a clean release build with default features may take on two cores.
const BUDGET: Duration = Duration::from_secs(120);

/// The users' programs.
const PROGRAM: &str = include_str!("user/main.rs");
const PACK: &str = include_str!("user/pack.rs");
const LEAN: &str = include_str!("user/lean.rs");

/// Where everything of the check is.
struct Place {
    dir: PathBuf,
    /// Without assets before and after.
    empty_cache: PathBuf,
    /// The unpacked packages.
    registry: PathBuf,
}

/// Checks the packages, in `dir` or a temporary directory.
pub(super) fn run(packages: &[Package], dir: Option<&Path>) -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let dir = match dir {
        Some(dir) => std::path::absolute(dir)?,
        None => temporary.path().to_path_buf(),
    };
    remove_tree(&dir)?;
    let place = Place {
        empty_cache: dir.join("cache"),
        registry: dir.join("registry"),
        dir,
    };
    fs::create_dir_all(&place.empty_cache)?;
    place.unpack(packages)?;
    let main = package(packages, "pglite-oxide")?;
    let cli = package(packages, "pglite-oxide-cli")?;

    let (program, took) = place.program(main, "user", PROGRAM, "")?;
    process::shown(place.environment(&mut Command::new(&program)))?;
    println!(
        "default features: built in {:.0} s, runs",
        took.as_secs_f64()
    );
    if took > BUDGET {
        println!("that is over the budget of {} s", BUDGET.as_secs());
    }

    let features = place.features(main)?;
    let all = format!(", features = {features:?}");
    let (program, _) = place.program(main, "user-all", PROGRAM, &all)?;
    process::shown(place.environment(&mut Command::new(&program)))?;
    println!("all {} features: runs", features.len());

    let pack = place.pack(&place.cli(cli)?)?;
    let (program, _) = place.program(main, "user-pack", PACK, &all)?;
    process::shown(place.environment(Command::new(&program).arg(&pack)))?;
    println!("the command line tools: build an extension, which runs");

    let lean = ", default-features = false, features = [\"bundled\"]";
    let (program, _) = place.program(main, "user-lean", LEAN, lean)?;
    process::shown(place.environment(&mut Command::new(&program)))?;
    println!("the server alone: runs");

    let left: Vec<_> = fs::read_dir(&place.empty_cache)?.flatten().collect();
    if !left.is_empty() {
        bail!("something used the cache: {left:?}");
    }
    Ok(())
}

fn package<'a>(packages: &'a [Package], name: &str) -> Result<&'a Package> {
    let found = packages.iter().find(|package| package.name == name);
    found.with_context(|| format!("{name} is not packaged"))
}

impl Place {
    /// Unpacks the packages, and tells cargo to take them for what the registry would have.
    fn unpack(&self, packages: &[Package]) -> Result<()> {
        let mut patches = String::from("[patch.crates-io]\n");
        for package in packages {
            tar::Archive::new(GzDecoder::new(File::open(&package.file)?)).unpack(&self.registry)?;
            patches.push_str(&format!(
                "{} = {{ path = {:?} }}\n",
                package.name,
                self.unpacked(package)
            ));
        }
        fs::create_dir_all(self.dir.join(".cargo"))?;
        fs::write(self.dir.join(".cargo/config.toml"), patches)?;
        Ok(())
    }

    fn unpacked(&self, package: &Package) -> PathBuf {
        self.registry
            .join(format!("{}-{}", package.name, package.version))
    }

    /// Every feature of a package.
    fn features(&self, package: &Package) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.unpacked(package).join("Cargo.toml"))?;
        let manifest: toml::Table = toml::from_str(&text)?;
        let features = manifest.get("features").and_then(toml::Value::as_table);
        Ok(features.context("no features")?.keys().cloned().collect())
    }

    /// What a user's machine has: no assets but those in the packages, and no wishes of the developer's about cargo.
    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for variable in locator::VARIABLES {
            command.env_remove(variable);
        }
        for variable in ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(variable);
        }
        command
            .current_dir(&self.dir)
            .env("PGLITE_OXIDE_CACHE", &self.empty_cache)
    }

    /// cargo on a package, all with one directory of results.
    fn cargo(&self, manifest: &Path) -> Result<()> {
        let mut command = process::cargo();
        self.environment(&mut command)
            .args(["build", "--release", "--quiet", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(self.dir.join("target"));
        process::shown(&mut command)
    }

    fn built(&self, program: &str) -> PathBuf {
        self.dir.join("target/release").join(program)
    }

    /// A user's program on a package of ours: its path, and how long the build took.
    fn program(
        &self,
        package: &Package,
        name: &str,
        source: &str,
        more: &str,
    ) -> Result<(PathBuf, Duration)> {
        let dir = self.dir.join(name);
        fs::create_dir_all(dir.join("src"))?;
        fs::write(dir.join("src/main.rs"), source)?;
        let manifest = dir.join("Cargo.toml");
        fs::write(
            &manifest,
            format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n{} = {{ version = \"{}\"{more} }}\n",
                package.name, package.version
            ),
        )?;
        // The same dependencies as in the workspace, already fetched; cargo drops what is not needed.
        fs::copy(
            suite::workspace()?.join("Cargo.lock"),
            dir.join("Cargo.lock"),
        )?;
        let start = Instant::now();
        self.cargo(&manifest)?;
        Ok((self.built(name), start.elapsed()))
    }

    /// `pglite`, built from its package.
    fn cli(&self, package: &Package) -> Result<PathBuf> {
        self.cargo(&self.unpacked(package).join("Cargo.toml"))?;
        Ok(self.built("pglite"))
    }

    /// The example pack, with the compilers and steps in this developer's cache: if the package's recipes differed from the checkout's, they would be made again, and the pack would be refused.
    fn pack(&self, pglite: &Path) -> Result<PathBuf> {
        let pack = self.dir.join("roman.pgpack");
        let mut command = Command::new(pglite);
        self.environment(&mut command)
            .env("PGLITE_OXIDE_CACHE", locator::cache_root()?)
            .args(["ext", "build"])
            .arg(suite::workspace()?.join("examples/roman"))
            .arg("-o")
            .arg(&pack);
        process::shown(&mut command)?;
        Ok(pack)
    }
}
