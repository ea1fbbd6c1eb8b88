//! Finds the static libraries of the compiled modules and links them.

use std::error::Error;

use pglite_oxide_asset_locator::{self as locator, ExtensionFiles};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(pglite_oxide_no_assets)");
    println!("cargo::rerun-if-changed=build.rs");
    for variable in locator::VARIABLES {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if locator::without_assets() || std::env::var_os("CARGO_FEATURE_BUNDLED").is_none() {
        println!("cargo::rustc-cfg=pglite_oxide_no_assets");
        return;
    }
    if let Err(error) = link() {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
    }
}

fn link() -> Result<(), Box<dyn Error>> {
    let assets = locator::find(&std::env::var("TARGET")?)?;
    for path in &assets.depends_on {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    println!(
        "cargo::rustc-env=PGLITE_OXIDE_TARGET={}",
        std::env::var("TARGET")?
    );
    let mut modules = Vec::new();
    // Before the server, whose functions it refers to.
    if std::env::var_os("CARGO_FEATURE_PACKS").is_some() {
        modules.push("exports");
    }
    modules.push("postgres");
    if std::env::var_os("CARGO_FEATURE_INITDB").is_some() {
        modules.push("initdb");
    }
    if std::env::var_os("CARGO_FEATURE_TOOLS").is_some() {
        modules.push("tools");
    }
    if std::env::var_os("CARGO_FEATURE_GUEST_TESTS").is_some() {
        modules.push("guest_tests");
    }
    // The run-time of instrumented modules (`cargo xtask pgo`).
    if assets.manifest.libraries.contains_key("profiler") {
        modules.push("profiler");
    }
    let extensions = assets.enabled_extensions()?;
    let extensions = extensions
        .into_iter()
        .flat_map(|(_, extension)| &extension.libraries);
    let mut paths = Vec::new();
    let mut symbols = Vec::new();
    for (name, file) in extensions {
        paths.push((name.as_str(), assets.dir.join(file)));
        symbols.push(ExtensionFiles::symbol(name));
    }
    write_list(&symbols)?;
    for module in modules {
        paths.push((module, assets.library(module)?));
    }
    for (module, path) in paths {
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.strip_prefix("lib"));
        let (Some(name), Some(dir)) = (name, path.parent()) else {
            return Err(format!("{} is no name for a static library", path.display()).into());
        };
        println!("cargo::rustc-link-search=native={}", dir.display());
        // Not bundled into the rlib: tens of megabytes that the linker finds where they are.
        // Nothing refers to the profile's run-time: on Linux, compilers name it to the linker.
        let whole = if module == "profiler" {
            "+whole-archive,"
        } else {
            ""
        };
        println!("cargo::rustc-link-lib=static:{whole}-bundle={name}");
    }
    // A fingerprint in the crate makes its users link again when only the libraries changed.
    println!(
        "cargo::rustc-env=PGLITE_OXIDE_FINGERPRINT={}",
        assets.manifest.fingerprint
    );
    Ok(())
}

/// The descriptors of the linked side modules, as a source file that the crate includes.
fn write_list(symbols: &[String]) -> Result<(), Box<dyn Error>> {
    let mut text = String::from(
        "// SAFETY: as for the modules: each library defines its name as a constant, immutable `struct pgl_library`.\nunsafe extern \"C\" {\n",
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
    std::fs::write(std::path::Path::new(&dir).join("libraries.rs"), text)?;
    Ok(())
}
