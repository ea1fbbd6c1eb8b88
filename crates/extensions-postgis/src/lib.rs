//! PostGIS for pglite-oxide: the side module and the installed files, linked by the feature `ext-postgis`.
//!
//! It is apart from all others since it is under the GPL, takes most of what a registry allows one crate, and is built on request only (`cargo xtask assets --with postgis`). Where its
//! sources are is in `SOURCES.md` of the published crate.
//! No logic is here.

pub use pglite_oxide_assets::{ImageError, Packed};
pub use pglite_oxide_machine::library::Library;

/// The side module, if it is linked, for `pglite_oxide_aot::postgres`.
#[must_use]
pub fn libraries() -> &'static [&'static Library] {
    linked::LIBRARIES
}

/// What it installs: a tree below the installation prefix, to be laid over the share files.
///
/// # Errors
/// When a linked image is not the one the build found.
pub fn files() -> Result<Vec<Packed>, ImageError> {
    linked::files()
}

#[cfg(not(pglite_oxide_no_assets))]
mod linked {
    #[cfg(feature = "ext-postgis")]
    use pglite_oxide_assets::Aligned;
    use pglite_oxide_assets::Linked;

    use super::{ImageError, Library, Packed};

    const _: () = pglite_oxide_aot::assert_same_build(env!("PGLITE_OXIDE_FINGERPRINT"));

    include!(concat!(env!("OUT_DIR"), "/libraries.rs"));
    static FILES: &[Linked] = include!(concat!(env!("OUT_DIR"), "/extensions.rs"));

    pub(super) fn files() -> Result<Vec<Packed>, ImageError> {
        FILES.iter().map(Linked::open).collect()
    }
}

/// The twin for documentation and lints, where nothing was built.
#[cfg(pglite_oxide_no_assets)]
mod linked {
    use super::{ImageError, Library, Packed};

    pub(super) static LIBRARIES: &[&Library] = &[];

    #[expect(clippy::unnecessary_wraps, reason = "the twin with assets may fail")]
    pub(super) fn files() -> Result<Vec<Packed>, ImageError> {
        Ok(Vec::new())
    }
}
