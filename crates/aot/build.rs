//! Finds the static libraries of the compiled modules and links them.

use std::error::Error;

use pglite_oxide_asset_locator as locator;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(pglite_oxide_no_assets)");
    println!("cargo::rerun-if-changed=build.rs");
    for variable in locator::VARIABLES {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if locator::without_assets() {
        println!("cargo::rustc-cfg=pglite_oxide_no_assets");
        return;
    }
    if let Err(error) = link() {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
    }
}

fn link() -> Result<(), Box<dyn Error>> {
    let assets = locator::find(&std::env::var("TARGET")?)?;
    for path in &assets.depends_on {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let mut modules = vec!["postgres"];
    if std::env::var_os("CARGO_FEATURE_INITDB").is_some() {
        modules.push("initdb");
    }
    if std::env::var_os("CARGO_FEATURE_TOOLS").is_some() {
        modules.push("tools");
    }
    if std::env::var_os("CARGO_FEATURE_GUEST_TESTS").is_some() {
        modules.push("guest_tests");
    }
    // The run-time of instrumented modules (`cargo xtask pgo`).
    if assets.manifest.libraries.contains_key("profiler") {
        modules.push("profiler");
    }
    for module in modules {
        let path = assets.library(module)?;
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.strip_prefix("lib"));
        let (Some(name), Some(dir)) = (name, path.parent()) else {
            return Err(format!("{} is no name for a static library", path.display()).into());
        };
        println!("cargo::rustc-link-search=native={}", dir.display());
        // Not bundled into the rlib: tens of megabytes that the linker finds where they are.
        // Nothing refers to the profile's run-time: on Linux, compilers name it to the linker.
        let whole = if module == "profiler" {
            "+whole-archive,"
        } else {
            ""
        };
        println!("cargo::rustc-link-lib=static:{whole}-bundle={name}");
    }
    // A fingerprint in the crate makes its users link again when only the libraries changed.
    println!(
        "cargo::rustc-env=PGLITE_OXIDE_FINGERPRINT={}",
        assets.manifest.fingerprint
    );
    Ok(())
}
