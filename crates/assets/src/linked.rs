//! Images that are a part of the binary.

use std::fmt::Write as _;

use crate::image::ImageError;
use crate::packed::Packed;

/// Puts the bytes on a page boundary, so that whole pages of them can be used in place.
#[repr(C, align(4096))]
pub struct Aligned<T: ?Sized>(pub T);

/// A linked image.
pub struct Linked {
    /// Its name, for errors; an extension's.
    pub name: &'static str,
    /// All of it.
    pub bytes: &'static Aligned<[u8]>,
    /// What its header's fingerprint must be, in hexadecimal digits: that of the file that the build script found.
    pub fingerprint: &'static str,
}

impl Linked {
    /// Its tree, packed.
    ///
    /// # Errors
    /// When it is not the image that the build script found.
    pub fn open(&self) -> Result<Packed, ImageError> {
        let tree = Packed::parse(self.name, &self.bytes.0)?;
        let found = tree
            .fingerprint()
            .iter()
            .fold(String::new(), |mut out, byte| {
                let _ = write!(out, "{byte:02x}");
                out
            });
        if found != self.fingerprint {
            return Err(ImageError::Field {
                image: self.name.to_owned(),
                field: "fingerprint".to_owned(),
                wanted: self.fingerprint.to_owned(),
                found,
            });
        }
        Ok(tree)
    }
}
