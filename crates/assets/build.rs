//! Finds the tree images and tells the crate where they are.

use std::error::Error;

use pglite_oxide_asset_locator as locator;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(pglite_oxide_no_assets)");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_EMBEDDED").is_none() {
        return;
    }
    for variable in locator::VARIABLES {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if locator::without_assets() {
        println!("cargo::rustc-cfg=pglite_oxide_no_assets");
        return;
    }
    if let Err(error) = locate() {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
    }
}

fn locate() -> Result<(), Box<dyn Error>> {
    let assets = locator::find(&std::env::var("TARGET")?)?;
    for path in &assets.depends_on {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    println!(
        "cargo::rustc-env=PGLITE_OXIDE_MANIFEST={}",
        assets.dir.join(locator::MANIFEST_FILE).display()
    );
    for name in ["share", "template"] {
        let (path, image) = assets.image(name)?;
        let name = name.to_uppercase();
        println!(
            "cargo::rustc-env=PGLITE_OXIDE_{name}_IMAGE={}",
            path.display()
        );
        println!(
            "cargo::rustc-env=PGLITE_OXIDE_{name}_FINGERPRINT={}",
            image.fingerprint
        );
    }
    Ok(())
}
