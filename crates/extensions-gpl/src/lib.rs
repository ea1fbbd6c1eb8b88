//! PostgreSQL's extensions under the GPL: side modules and installed files, linked by the features `ext-NAME`.
//!
//! They are apart from all others so that nobody who does not ask for them has to do with their licence; the published crate has their sources in `sources`.
//! No logic is here.

pub use pglite_oxide_assets::{ImageError, Packed};
pub use pglite_oxide_machine::library::Library;

/// The side modules of the linked extensions, for `pglite_oxide_aot::postgres`.
#[must_use]
pub fn libraries() -> &'static [&'static Library] {
    linked::LIBRARIES
}

/// What the linked extensions install: trees below the installation prefix, to be laid over the share files.
///
/// # Errors
/// When a linked image is not the one the build found.
pub fn files() -> Result<Vec<Packed>, ImageError> {
    linked::files()
}

#[cfg(not(pglite_oxide_no_assets))]
mod linked {
    use pglite_oxide_assets::{Aligned, Linked};

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
