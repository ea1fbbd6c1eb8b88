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
    if locator::without_assets() || std::env::var_os("CARGO_FEATURE_BUNDLED").is_none() {
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
    // With ICU, what initdb leaves has its collations.
    let template = match std::env::var_os("CARGO_FEATURE_EXT_ICU") {
        Some(_) => "template-icu",
        None => "template",
    };
    for (name, image) in [("SHARE", "share"), ("TEMPLATE", template)] {
        let (path, image) = assets.image(image)?;
        println!(
            "cargo::rustc-env=PGLITE_OXIDE_{name}_IMAGE={}",
            path.display()
        );
        println!(
            "cargo::rustc-env=PGLITE_OXIDE_{name}_FINGERPRINT={}",
            image.fingerprint
        );
    }
    let mut list = String::from("&[\n");
    for (name, extension) in assets.enabled_extensions()? {
        let Some(image) = &extension.image else {
            continue;
        };
        let path = assets.dir.join(&image.file);
        list.push_str(&format!(
            "    ({name:?}, &Aligned(*include_bytes!({path:?})), {:?}),\n",
            image.fingerprint
        ));
    }
    list.push(']');
    let dir = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    std::fs::write(std::path::Path::new(&dir).join("extensions.rs"), list)?;
    Ok(())
}
