//! Finds the static libraries of the enabled extensions and links them.

use std::error::Error;
use std::path::Path;

use pglite_oxide_asset_locator::ExtensionFiles;
use pglite_oxide_asset_locator::build::{self, Members};

fn main() {
    build::script(|assets| {
        let enabled = assets.enabled_extensions()?;
        let mut symbols = Vec::new();
        for (name, file) in enabled
            .into_iter()
            .flat_map(|(_, extension)| &extension.libraries)
        {
            build::link(&assets.dir.join(file), Members::Needed)?;
            symbols.push(ExtensionFiles::symbol(name));
        }
        if build::has_feature("PACKS") {
            build::link(&assets.library("exports")?, Members::Needed)?;
        }
        write_list(&symbols)
    });
}

/// The descriptors of the linked side modules, as a source file that the crate includes.
fn write_list(symbols: &[String]) -> Result<(), Box<dyn Error>> {
    let mut text = String::from(
        "// SAFETY: each library defines its name as a constant, immutable `struct pgl_library`, which `Library` mirrors; the machine checks its ABI version first.\nunsafe extern \"C\" {\n",
    );
    for symbol in symbols {
        text.push_str(&format!("    safe static {symbol}: Library;\n"));
    }
    text.push_str("}\n\npub(super) static LIBRARIES: &[&Library] = &[\n");
    for symbol in symbols {
        text.push_str(&format!("    &{symbol},\n"));
    }
    text.push_str("];\n");
    let dir = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    std::fs::write(Path::new(&dir).join("libraries.rs"), text)?;
    Ok(())
}
