//! Finds the server's static library and links it.

use pglite_oxide_asset_locator::build::{self, Members};

fn main() {
    build::script(|assets| {
        build::link(&assets.library("postgres")?, Members::Needed)?;
        // The run-time of instrumented modules (`cargo xtask pgo`). Nothing refers to it: on Linux, compilers name it to the linker.
        if assets.manifest.libraries.contains_key("profiler") {
            build::link(&assets.library("profiler")?, Members::All)?;
        }
        Ok(())
    });
}
