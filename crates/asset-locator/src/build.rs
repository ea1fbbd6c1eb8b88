//! What the build scripts of the crates with compiled modules and images have in common.

use std::env;
use std::error::Error;
use std::path::Path;

use super::{Assets, VARIABLES, find, without_assets};

/// Whether a feature of the crate whose build script this runs in is on, by cargo's spelling of it: `GUEST_TESTS`.
#[must_use]
pub fn has_feature(name: &str) -> bool {
    env::var_os(format!("CARGO_FEATURE_{name}")).is_some()
}

/// A build script: `work` with the assets of the target, or the cfg `pglite_oxide_no_assets` where the build shall do without, or the crate's feature `bundled` is off.
///
/// The crate gets `PGLITE_OXIDE_FINGERPRINT` and `PGLITE_OXIDE_TARGET` for `env!`. The fingerprint also makes its users link again when only libraries changed.
pub fn script(work: impl FnOnce(&Assets) -> Result<(), Box<dyn Error>>) {
    println!("cargo::rustc-check-cfg=cfg(pglite_oxide_no_assets)");
    println!("cargo::rerun-if-changed=build.rs");
    for variable in VARIABLES {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if without_assets() || !has_feature("BUNDLED") {
        println!("cargo::rustc-cfg=pglite_oxide_no_assets");
        return;
    }
    if let Err(error) = with_assets(work) {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
    }
}

fn with_assets(
    work: impl FnOnce(&Assets) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let target = env::var("TARGET")?;
    let assets = find(&target)?;
    for path in &assets.depends_on {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    println!("cargo::rustc-env=PGLITE_OXIDE_TARGET={target}");
    println!(
        "cargo::rustc-env=PGLITE_OXIDE_FINGERPRINT={}",
        assets.manifest.fingerprint
    );
    work(&assets)
}

/// How a static library is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Members {
    /// Those that something refers to.
    Needed,
    /// All: of a library that nothing refers to.
    All,
}

/// Links a static library `lib<name>.a`. It is not bundled into the rlib: those are tens of megabytes, which the linker finds where they are.
///
/// A crate's libraries stand before those of the crates that it depends on, on the linker's command line.
///
/// # Errors
/// For a path that is no static library's.
pub fn link(path: &Path, members: Members) -> Result<(), Box<dyn Error>> {
    let name = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.strip_prefix("lib"));
    let (Some(name), Some(dir)) = (name, path.parent()) else {
        return Err(format!("{} is no name for a static library", path.display()).into());
    };
    let whole = match members {
        Members::Needed => "",
        Members::All => "+whole-archive,",
    };
    println!("cargo::rustc-link-search=native={}", dir.display());
    println!("cargo::rustc-link-lib=static:{whole}-bundle={name}");
    Ok(())
}
