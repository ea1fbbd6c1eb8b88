//! The images and the manifest, linked into the binary.

use crate::image::{ImageError, Tree};

/// PostgreSQL's `share` directory: what the guest sees, read-only, under its installation prefix.
///
/// # Errors
/// When the linked image is not the one the build found, or the build contains none.
pub fn share() -> Result<Tree<'static>, ImageError> {
    linked::share()
}

/// What `initdb` leaves in a data directory. Its root entry is the data directory itself.
///
/// # Errors
/// When the linked image is not the one the build found, or the build contains none.
pub fn template() -> Result<Tree<'static>, ImageError> {
    linked::template()
}

/// The fingerprint of [`template()`]'s image, hex: programs of one build can have one of two, with ICU's collations and without. Empty in a build without assets.
#[must_use]
pub fn template_fingerprint() -> &'static str {
    linked::TEMPLATE_FINGERPRINT
}

/// What the linked extensions install, by the extension's name: trees below the installation prefix, to be laid over [`share`]'s.
///
/// # Errors
/// When a linked image is not the one the build found.
pub fn extensions() -> Result<Vec<(&'static str, Tree<'static>)>, ImageError> {
    linked::extensions()
}

/// The manifest of the assets, JSON: every input's name, version and hash. `{}` in a build without assets.
#[must_use]
pub fn manifest() -> &'static str {
    linked::MANIFEST
}

#[cfg(not(pglite_oxide_no_assets))]
mod linked {
    use std::fmt::Write as _;

    use super::{ImageError, Tree};

    /// Puts the bytes on a page boundary, so that whole pages of them can be used in place.
    #[repr(C, align(4096))]
    struct Aligned<T: ?Sized>(T);

    static SHARE: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("PGLITE_OXIDE_SHARE_IMAGE")));
    static TEMPLATE: &Aligned<[u8]> =
        &Aligned(*include_bytes!(env!("PGLITE_OXIDE_TEMPLATE_IMAGE")));
    static EXTENSIONS: &[(&str, &Aligned<[u8]>, &str)] =
        include!(concat!(env!("OUT_DIR"), "/extensions.rs"));
    pub(super) const MANIFEST: &str = include_str!(env!("PGLITE_OXIDE_MANIFEST"));
    pub(super) const TEMPLATE_FINGERPRINT: &str = env!("PGLITE_OXIDE_TEMPLATE_FINGERPRINT");

    fn open(name: &str, bytes: &'static [u8], wanted: &str) -> Result<Tree<'static>, ImageError> {
        let tree = Tree::parse(name, bytes)?;
        let found = tree
            .fingerprint()
            .iter()
            .fold(String::new(), |mut out, byte| {
                let _ = write!(out, "{byte:02x}");
                out
            });
        if found != wanted {
            let (image, field, wanted) =
                (name.to_owned(), "fingerprint".to_owned(), wanted.to_owned());
            return Err(ImageError::Field {
                image,
                field,
                wanted,
                found,
            });
        }
        Ok(tree)
    }

    pub(super) fn share() -> Result<Tree<'static>, ImageError> {
        open(
            "share.img",
            &SHARE.0,
            env!("PGLITE_OXIDE_SHARE_FINGERPRINT"),
        )
    }

    pub(super) fn extensions() -> Result<Vec<(&'static str, Tree<'static>)>, ImageError> {
        EXTENSIONS
            .iter()
            .map(|(name, bytes, wanted)| Ok((*name, open(name, &bytes.0, wanted)?)))
            .collect()
    }

    pub(super) fn template() -> Result<Tree<'static>, ImageError> {
        open("template.img", &TEMPLATE.0, TEMPLATE_FINGERPRINT)
    }
}

/// The twin for documentation and lints, where nothing was built.
#[cfg(pglite_oxide_no_assets)]
mod linked {
    use super::{ImageError, Tree};

    pub(super) const MANIFEST: &str = "{}";
    pub(super) const TEMPLATE_FINGERPRINT: &str = "";

    pub(super) fn share() -> Result<Tree<'static>, ImageError> {
        Err(ImageError::NotBuilt {
            image: "share.img".to_owned(),
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "the twin with assets may fail")]
    pub(super) fn extensions() -> Result<Vec<(&'static str, Tree<'static>)>, ImageError> {
        Ok(Vec::new())
    }

    pub(super) fn template() -> Result<Tree<'static>, ImageError> {
        Err(ImageError::NotBuilt {
            image: "template.img".to_owned(),
        })
    }
}
