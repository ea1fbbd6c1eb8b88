//! Finds the static libraries of the enabled modules and links them.

use pglite_oxide_asset_locator::build::{self, Members};

fn main() {
    build::script(|assets| {
        for (feature, module) in [("INITDB", "initdb"), ("GUEST_TESTS", "guest_tests")] {
            if build::has_feature(feature) {
                build::link(&assets.library(module)?, Members::Needed)?;
            }
        }
        Ok(())
    });
}
