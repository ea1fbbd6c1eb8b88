//! Finds the static library of the client programs and links it.

use pglite_oxide_asset_locator::build::{self, Members};

fn main() {
    build::script(|assets| build::link(&assets.library("tools")?, Members::Needed));
}
