//! Compressed pieces of an image: what is large and may never be wanted, each unpacked by itself.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::LoadError;

/// The bytes of an image, wherever they are: linked into the program, or read from a file. Clones share them.
#[derive(Clone)]
pub struct ImageBytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl ImageBytes {
    /// Bytes that somebody else keeps.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(bytes))
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        (*self.0).as_ref()
    }

    /// Those from `start` on.
    pub fn tail(&self, start: usize) -> Result<Self, LoadError> {
        if self.as_slice().len() < start {
            return Err(LoadError::Damaged("it ends too early"));
        }
        Ok(Self::new(Tail(self.clone(), start)))
    }
}

struct Tail(ImageBytes, usize);

impl AsRef<[u8]> for Tail {
    fn as_ref(&self) -> &[u8] {
        &self.0.as_slice()[self.1..]
    }
}

impl fmt::Debug for ImageBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageBytes({})", self.as_slice().len())
    }
}

/// How long a piece is as it was and as it is stored.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) len: u64,
    pub(crate) packed: u64,
}

/// Pieces as they are written.
#[derive(Default)]
pub struct BlobWriter {
    pub(super) sizes: Vec<Size>,
    pub(super) packed: Vec<u8>,
}

impl BlobWriter {
    /// Adds a piece; its number.
    pub fn add(&mut self, bytes: &[u8]) -> u32 {
        let packed = lz4_flex::block::compress(bytes);
        self.sizes.push(Size {
            len: bytes.len() as u64,
            packed: packed.len() as u64,
        });
        self.packed.extend_from_slice(&packed);
        u32::try_from(self.sizes.len() - 1).unwrap_or(u32::MAX)
    }
}

/// The pieces of an image that is being loaded.
pub struct Blobs(Vec<Blob>);

impl Blobs {
    /// `bytes` are the pieces one after the other.
    pub(super) fn new(sizes: &[Size], bytes: &ImageBytes) -> Result<Self, LoadError> {
        let total = bytes.as_slice().len() as u64;
        let mut blobs = Vec::with_capacity(sizes.len());
        let mut at = 0_u64;
        for size in sizes {
            let end = at
                .checked_add(size.packed)
                .filter(|&end| end <= total)
                .ok_or(LoadError::Damaged("it ends too early"))?;
            let place =
                |n: u64| usize::try_from(n).map_err(|_| LoadError::Damaged("a piece is too large"));
            blobs.push(Blob {
                bytes: bytes.clone(),
                start: place(at)?,
                end: place(end)?,
                len: place(size.len)?,
            });
            at = end;
        }
        Ok(Self(blobs))
    }

    /// A piece by its number.
    pub fn get(&self, number: u32) -> Result<&Blob, LoadError> {
        self.0
            .get(number as usize)
            .ok_or(LoadError::Damaged("a piece is missing"))
    }
}

impl TryFrom<BlobWriter> for Blobs {
    type Error = LoadError;

    /// What was written, without an image around it.
    fn try_from(writer: BlobWriter) -> Result<Self, LoadError> {
        Self::new(&writer.sizes, &ImageBytes::new(writer.packed))
    }
}

/// One piece, not unpacked yet.
#[derive(Clone)]
pub struct Blob {
    bytes: ImageBytes,
    start: usize,
    end: usize,
    len: usize,
}

impl Blob {
    /// Bytes that it has when it is unpacked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Unpacks it into `out`, which has its length.
    pub fn unpack_into(&self, out: &mut [u8]) -> Result<(), LoadError> {
        const DAMAGED: LoadError = LoadError::Damaged("a piece cannot be unpacked");
        if out.len() != self.len {
            return Err(DAMAGED);
        }
        let packed = &self.bytes.as_slice()[self.start..self.end];
        match lz4_flex::block::decompress_into(packed, out) {
            Ok(n) if n == self.len => Ok(()),
            _ => Err(DAMAGED),
        }
    }

    /// The bytes themselves.
    pub fn unpack(&self) -> Result<Vec<u8>, LoadError> {
        // What a few bytes claim to be must not decide how much memory is asked for.
        if self.len / 256 > (self.end - self.start) {
            return Err(LoadError::Damaged(
                "a piece claims to be larger than it can be",
            ));
        }
        let mut out = vec![0; self.len];
        self.unpack_into(&mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_and_damaged_ones_are_refused() {
        let mut writer = BlobWriter::default();
        let (one, two) = (vec![7; 100_000], (0..=255).collect::<Vec<u8>>());
        assert_eq!(
            (writer.add(&one), writer.add(&[]), writer.add(&two)),
            (0, 1, 2)
        );
        assert!(writer.packed.len() < 2000);
        let bytes = ImageBytes::new(writer.packed.clone());
        let blobs = Blobs::new(&writer.sizes, &bytes).unwrap();
        assert_eq!(blobs.get(0).unwrap().unpack().unwrap(), one);
        assert!(blobs.get(1).unwrap().unpack().unwrap().is_empty());
        assert_eq!(blobs.get(2).unwrap().unpack().unwrap(), two);
        assert!(blobs.get(3).is_err());
        let short = ImageBytes::new(writer.packed[..20].to_vec());
        assert!(Blobs::new(&writer.sizes, &short).is_err());
        let wrong = ImageBytes::new(vec![0xff; writer.packed.len()]);
        let blobs = Blobs::new(&writer.sizes, &wrong).unwrap();
        assert!(blobs.get(0).unwrap().unpack().is_err());
    }
}
