//! The images and the manifest, linked into the binary.

use crate::image::ImageError;
use crate::packed::Packed;

/// PostgreSQL's `share` directory: what the guest sees, read-only, under its installation prefix.
///
/// # Errors
/// When the linked image is not the one the build found, or the build contains none.
pub fn share() -> Result<Packed, ImageError> {
    linked::share()
}

/// What `initdb` leaves in a data directory. Its root entry is the data directory itself.
///
/// # Errors
/// When the linked image is not the one the build found, or the build contains none.
pub fn template() -> Result<Packed, ImageError> {
    linked::template()
}

/// The fingerprint of [`template()`]'s image, hex: programs of one build can have one of two, with ICU's collations and without. Empty in a build without assets.
#[must_use]
pub fn template_fingerprint() -> &'static str {
    linked::TEMPLATE_FINGERPRINT
}

/// The image of a cluster that was started on [`template()`] when the assets were built, at rest; `None` in a build without.
#[must_use]
pub fn cluster() -> Option<&'static [u8]> {
    linked::cluster()
}

/// What the linked extensions install: trees below the installation prefix, to be laid over [`share`]'s.
///
/// # Errors
/// When a linked image is not the one the build found.
pub fn extensions() -> Result<Vec<Packed>, ImageError> {
    linked::extensions()
}

/// The manifest of the assets, JSON: every input's name, version and hash. `{}` in a build without assets.
#[must_use]
pub fn manifest() -> &'static str {
    linked::MANIFEST
}

#[cfg(not(pglite_oxide_no_assets))]
mod linked {
    use super::{ImageError, Packed};
    use crate::{Aligned, Linked};

    static SHARE: Linked = Linked {
        name: "share.img",
        bytes: &Aligned(*include_bytes!(env!("PGLITE_OXIDE_SHARE_IMAGE"))),
        fingerprint: env!("PGLITE_OXIDE_SHARE_FINGERPRINT"),
    };
    static TEMPLATE: Linked = Linked {
        name: "template.img",
        bytes: &Aligned(*include_bytes!(env!("PGLITE_OXIDE_TEMPLATE_IMAGE"))),
        fingerprint: env!("PGLITE_OXIDE_TEMPLATE_FINGERPRINT"),
    };
    static EXTENSIONS: &[Linked] = include!(concat!(env!("OUT_DIR"), "/extensions.rs"));
    pub(super) const MANIFEST: &str = include_str!(env!("PGLITE_OXIDE_MANIFEST"));
    pub(super) const TEMPLATE_FINGERPRINT: &str = env!("PGLITE_OXIDE_TEMPLATE_FINGERPRINT");

    pub(super) fn share() -> Result<Packed, ImageError> {
        SHARE.open()
    }

    pub(super) fn extensions() -> Result<Vec<Packed>, ImageError> {
        EXTENSIONS.iter().map(Linked::open).collect()
    }

    pub(super) fn template() -> Result<Packed, ImageError> {
        TEMPLATE.open()
    }

    #[cfg(pglite_oxide_cluster)]
    #[expect(clippy::unnecessary_wraps, reason = "the twin without one has none")]
    pub(super) fn cluster() -> Option<&'static [u8]> {
        static CLUSTER: &Aligned<[u8]> =
            &Aligned(*include_bytes!(env!("PGLITE_OXIDE_CLUSTER_IMAGE")));
        Some(&CLUSTER.0)
    }

    /// The twin for assets without one.
    #[cfg(not(pglite_oxide_cluster))]
    pub(super) fn cluster() -> Option<&'static [u8]> {
        None
    }
}

/// The twin for documentation and lints, where nothing was built.
#[cfg(pglite_oxide_no_assets)]
mod linked {
    use super::{ImageError, Packed};

    pub(super) const MANIFEST: &str = "{}";
    pub(super) const TEMPLATE_FINGERPRINT: &str = "";

    pub(super) fn share() -> Result<Packed, ImageError> {
        Err(ImageError::NotBuilt {
            image: "share.img".to_owned(),
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "the twin with assets may fail")]
    pub(super) fn extensions() -> Result<Vec<Packed>, ImageError> {
        Ok(Vec::new())
    }

    pub(super) fn template() -> Result<Packed, ImageError> {
        Err(ImageError::NotBuilt {
            image: "template.img".to_owned(),
        })
    }

    pub(super) fn cluster() -> Option<&'static [u8]> {
        None
    }
}
