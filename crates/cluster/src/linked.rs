//! The compiled modules of this build, whichever crates of them the features turn on.

pub(crate) use pglite_oxide_aot::{FINGERPRINT, Module, TARGET, postgres};

#[cfg(feature = "side-modules")]
pub(crate) use pglite_oxide_aot_extensions::libraries;
#[cfg(feature = "tools")]
pub(crate) use pglite_oxide_aot_tools::tools;

/// The twin without extensions.
#[cfg(not(feature = "side-modules"))]
pub(crate) fn libraries() -> &'static [&'static pglite_oxide_machine::Library] {
    &[]
}

/// The twin without client programs.
#[cfg(not(feature = "tools"))]
pub(crate) fn tools() -> Option<&'static Module> {
    None
}
