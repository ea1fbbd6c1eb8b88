//! Finds the tree images and tells the crate where they are.

use std::error::Error;

use pglite_oxide_asset_locator::{self as locator, Assets, build};

fn main() {
    // Without it this is the format only, which no assets are needed for.
    if build::has_feature("EMBEDDED") {
        build::script(locate);
    } else {
        println!("cargo::rerun-if-changed=build.rs");
    }
}

fn locate(assets: &Assets) -> Result<(), Box<dyn Error>> {
    println!(
        "cargo::rustc-env=PGLITE_OXIDE_MANIFEST={}",
        assets.dir.join(locator::MANIFEST_FILE).display()
    );
    // With ICU, what initdb leaves has its collations.
    let template = if build::has_feature("EXT_ICU") {
        "template-icu"
    } else {
        "template"
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
    build::embed_extensions(assets)
}
