//! Finds the static libraries of the enabled extensions and links them.

use pglite_oxide_asset_locator::build::{self, Members};

fn main() {
    build::script(|assets| {
        build::link_extensions(assets)?;
        if build::has_feature("PACKS") {
            build::link(&assets.library("exports")?, Members::Needed)?;
        }
        Ok(())
    });
}
