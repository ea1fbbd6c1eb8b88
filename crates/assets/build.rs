//! Finds the tree images and tells the crate where they are.

use std::error::Error;
use std::path::Path;

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
    embed_cluster(assets, template)?;
    build::embed_extensions(assets)
}

/// The frozen cluster that began as this template, if these sources wrote it.
fn embed_cluster(assets: &Assets, template: &str) -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(pglite_oxide_cluster)");
    let Some(cluster) = assets.manifest.clusters.get(template) else {
        return Ok(());
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if let Some((sources, read)) = locator::sources(&workspace)? {
        for path in read {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        if sources != cluster.sources {
            // A checkout in the middle of a change: databases start in full until `cargo xtask assets` makes it anew.
            return Ok(());
        }
    }
    println!("cargo::rustc-cfg=pglite_oxide_cluster");
    println!(
        "cargo::rustc-env=PGLITE_OXIDE_CLUSTER_IMAGE={}",
        assets.dir.join(&cluster.file).display()
    );
    Ok(())
}
