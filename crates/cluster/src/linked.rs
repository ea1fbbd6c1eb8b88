//! What is linked into this build, whichever crates of it the features turn on.

pub(crate) use pglite_oxide_aot::{FINGERPRINT, Module, TARGET, postgres};
#[cfg(feature = "tools")]
pub(crate) use pglite_oxide_aot_tools::tools;
use pglite_oxide_assets::{ImageError, Packed};
use pglite_oxide_machine::Library;

/// The twin without client programs.
#[cfg(not(feature = "tools"))]
pub(crate) fn tools() -> Option<&'static Module> {
    None
}

/// The side modules of the linked extensions.
pub(crate) fn libraries() -> Vec<&'static Library> {
    let linked: &[&[&Library]] = &[
        #[cfg(feature = "side-modules")]
        pglite_oxide_aot_extensions::libraries(),
        #[cfg(feature = "side-modules-gpl")]
        pglite_oxide_extensions_gpl::libraries(),
        #[cfg(feature = "side-modules-postgis")]
        pglite_oxide_extensions_postgis::libraries(),
    ];
    linked.concat()
}

/// What the linked extensions install.
pub(crate) fn extension_files() -> Result<Vec<Packed>, ImageError> {
    let files = pglite_oxide_assets::extensions()?;
    #[cfg(feature = "side-modules-gpl")]
    let files = [files, pglite_oxide_extensions_gpl::files()?].concat();
    #[cfg(feature = "side-modules-postgis")]
    let files = [files, pglite_oxide_extensions_postgis::files()?].concat();
    Ok(files)
}
