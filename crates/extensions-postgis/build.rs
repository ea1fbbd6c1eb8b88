//! Finds the libraries and images of the enabled extensions.

use pglite_oxide_asset_locator::build;

fn main() {
    build::script(|assets| {
        build::link_extensions(assets)?;
        build::embed_extensions(assets)
    });
}
