//! PostgreSQL's extensions compiled ahead of time: side modules of the server in `pglite-oxide-aot`, linked by the features `ext-NAME` (those under the GPL are in `pglite-oxide-extensions-gpl`); and for those that are
//! loaded at run time, the names of the server's functions (feature `packs`).
//!
//! The objects are found as the server's are; without assets there are none of them here. No logic is here either.

pub use pglite_oxide_machine::library::Library;
pub use pglite_oxide_machine::pack::Exports;

/// The side modules of the linked extensions, for `pglite_oxide_aot::postgres`.
#[must_use]
pub fn libraries() -> &'static [&'static Library] {
    linked::LIBRARIES
}

/// The functions of `pglite_oxide_aot::postgres` by name, for packs; `None` without the feature `packs`.
#[must_use]
pub fn exports() -> Option<&'static Exports> {
    linked::exports()
}

#[cfg(not(pglite_oxide_no_assets))]
mod linked {
    use super::{Exports, Library};

    const _: () = pglite_oxide_aot::assert_same_build(env!("PGLITE_OXIDE_FINGERPRINT"));

    include!(concat!(env!("OUT_DIR"), "/libraries.rs"));

    // SAFETY: the library that the build script links defines this name as constant data with a head as `Exports` has it.
    #[cfg(feature = "packs")]
    unsafe extern "C" {
        safe static pgl_exports_postgres: Exports;
    }

    #[cfg(feature = "packs")]
    #[expect(clippy::unnecessary_wraps, reason = "the twins have none")]
    pub(super) fn exports() -> Option<&'static Exports> {
        Some(&pgl_exports_postgres)
    }

    #[cfg(not(feature = "packs"))]
    pub(super) fn exports() -> Option<&'static Exports> {
        None
    }
}

/// The twin for documentation and lints, where nothing was built.
#[cfg(pglite_oxide_no_assets)]
mod linked {
    use super::{Exports, Library};

    pub(super) static LIBRARIES: &[&Library] = &[];

    pub(super) fn exports() -> Option<&'static Exports> {
        None
    }
}
