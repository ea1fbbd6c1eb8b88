//! What the build scripts of the crates with compiled modules and images have in common.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use super::{Assets, ExtensionFiles, VARIABLES, find, without_assets};

/// Whether a feature of the crate whose build script this runs in is on, by cargo's spelling of it: `GUEST_TESTS`.
#[must_use]
pub fn has_feature(name: &str) -> bool {
    env::var_os(format!("CARGO_FEATURE_{name}")).is_some()
}

/// A build script: `work` with the assets of the target, or the cfg `pglite_oxide_no_assets` where the build shall do without, or the crate's feature `bundled` is off.
///
/// The crate gets `PGLITE_OXIDE_FINGERPRINT` and `PGLITE_OXIDE_TARGET` for `env!`. The fingerprint also makes its users link again when only libraries changed.
pub fn script(work: impl FnOnce(&Assets) -> Result<(), Box<dyn Error>>) {
    println!("cargo::rustc-check-cfg=cfg(pglite_oxide_no_assets)");
    println!("cargo::rerun-if-changed=build.rs");
    for variable in VARIABLES {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    if without_assets() || !has_feature("BUNDLED") {
        println!("cargo::rustc-cfg=pglite_oxide_no_assets");
        return;
    }
    if let Err(error) = with_assets(work) {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
    }
}

fn with_assets(
    work: impl FnOnce(&Assets) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let target = env::var("TARGET")?;
    let assets = find(&target)?;
    for path in &assets.depends_on {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    println!("cargo::rustc-env=PGLITE_OXIDE_TARGET={target}");
    println!(
        "cargo::rustc-env=PGLITE_OXIDE_FINGERPRINT={}",
        assets.manifest.fingerprint
    );
    work(&assets)
}

/// How a static library is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Members {
    /// Those that something refers to.
    Needed,
    /// All: of a library that nothing refers to.
    All,
}

/// Links a static library `lib<name>.a`. It is not bundled into the rlib: those are tens of megabytes, which the linker finds where they are.
///
/// A crate's libraries stand before those of the crates that it depends on, on the linker's command line.
///
/// # Errors
/// For a path that is no static library's.
pub fn link(path: &Path, members: Members) -> Result<(), Box<dyn Error>> {
    let name = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.strip_prefix("lib"));
    let (Some(name), Some(dir)) = (name, path.parent()) else {
        return Err(format!("{} is no name for a static library", path.display()).into());
    };
    let whole = match members {
        Members::Needed => "",
        Members::All => "+whole-archive,",
    };
    println!("cargo::rustc-link-search=native={}", dir.display());
    println!("cargo::rustc-link-lib=static:{whole}-bundle={name}");
    Ok(())
}

/// Links the side modules of the enabled extensions, and writes their descriptors to `libraries.rs`, which the crate includes beside a `use` of the machine's `Library`.
///
/// # Errors
/// When an extension is not among the assets, or the file cannot be written.
pub fn link_extensions(assets: &Assets) -> Result<(), Box<dyn Error>> {
    let mut symbols = Vec::new();
    let enabled = assets.enabled_extensions()?;
    for (name, file) in enabled
        .into_iter()
        .flat_map(|(_, extension)| &extension.libraries)
    {
        link(&assets.dir.join(file), Members::Needed)?;
        symbols.push(ExtensionFiles::symbol(name));
    }
    let mut text = String::from(
        "// SAFETY: each library defines its name as a constant, immutable `struct pgl_library`, which `Library` mirrors; the machine checks its ABI version first.\nunsafe extern \"C\" {\n",
    );
    for symbol in &symbols {
        writeln!(text, "    safe static {symbol}: Library;")?;
    }
    text.push_str("}\n\npub(super) static LIBRARIES: &[&Library] = &[\n");
    for symbol in &symbols {
        writeln!(text, "    &{symbol},")?;
    }
    text.push_str("];\n");
    write("libraries.rs", &text)
}

/// Writes the images of the enabled extensions (ICU and Zstandard install nothing, and have none) to `extensions.rs`, an expression that the crate includes beside a `use` of the assets crate's `Aligned` and `Linked`.
///
/// # Errors
/// When an extension is not among the assets, or the file cannot be written.
pub fn embed_extensions(assets: &Assets) -> Result<(), Box<dyn Error>> {
    let mut text = String::from("&[\n");
    for (name, extension) in assets.enabled_extensions()? {
        let Some(image) = &extension.image else {
            continue;
        };
        let path = assets.dir.join(&image.file);
        writeln!(
            text,
            "    Linked {{ name: {name:?}, bytes: &Aligned(*include_bytes!({path:?})), fingerprint: {:?} }},",
            image.fingerprint
        )?;
    }
    text.push(']');
    write("extensions.rs", &text)
}

fn write(name: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let dir = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    fs::write(Path::new(&dir).join(name), text)?;
    Ok(())
}
