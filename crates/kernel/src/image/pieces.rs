//! Contents of files in an image: many small ones in one piece, which is unpacked when somebody first looks at one of them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::LoadError;
use super::blobs::{Blob, BlobWriter, Blobs, ImageBytes};
use crate::errno::Errno;

/// Bytes of a piece. LZ4 looks no further back, so larger ones would not be smaller when they are packed, and who reads one page unpacks them all.
const PIECE: usize = 64 << 10;

/// Where the bytes of some files are.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct PiecesRecord {
    first: u32,
    count: u32,
}

/// Writes what readers take again in the same order and sizes.
pub(crate) struct PieceWriter<'a> {
    blobs: &'a mut BlobWriter,
    begun: Vec<u8>,
    record: PiecesRecord,
}

impl<'a> PieceWriter<'a> {
    pub(crate) fn new(blobs: &'a mut BlobWriter) -> Self {
        Self {
            blobs,
            begun: Vec::with_capacity(PIECE),
            record: PiecesRecord { first: 0, count: 0 },
        }
    }

    /// Adds bytes that stay together.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        if self.begun.len() + bytes.len() > PIECE {
            self.end();
        }
        self.begun.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        if self.begun.is_empty() {
            return;
        }
        let number = self.blobs.add(&self.begun);
        self.begun.clear();
        if self.record.count == 0 {
            self.record.first = number;
        }
        self.record.count += 1;
    }

    pub(crate) fn finish(mut self) -> PiecesRecord {
        self.end();
        self.record
    }
}

/// A piece that is unpacked at the first look, for everybody.
pub(crate) struct Piece {
    blob: Blob,
    bytes: OnceLock<Box<[u8]>>,
    /// Part of the program, which files may have for nothing.
    free: bool,
}

/// Contents that are linked into the program, packed in pieces of one size.
pub struct Pieces {
    size: usize,
    pieces: Vec<Arc<Piece>>,
}

impl Pieces {
    /// `packed` are LZ4 blocks one after the other, of these `lengths`; unpacked, each has `size` bytes, the last what is left of `len`. Nothing is unpacked yet.
    ///
    /// # Errors
    /// [`LoadError::Damaged`] if they cannot be so many.
    pub fn new(
        packed: &ImageBytes,
        lengths: &[u32],
        size: usize,
        len: usize,
    ) -> Result<Self, LoadError> {
        let blobs = Blobs::one_after_the_other(packed, lengths, size, len)?;
        let pieces = blobs.into_iter().map(|blob| {
            Arc::new(Piece {
                blob,
                bytes: OnceLock::new(),
                free: true,
            })
        });
        Ok(Self {
            size,
            pieces: pieces.collect(),
        })
    }

    /// The piece that has `len` bytes from `at` on, and where in it they begin; `None` if there is none with all of them.
    pub(crate) fn find(&self, at: usize, len: usize) -> Option<(Arc<Piece>, usize)> {
        let piece = self.pieces.get(at.checked_div(self.size)?)?;
        let within = at % self.size;
        (within + len <= piece.blob.len()).then(|| (Arc::clone(piece), within))
    }
}

impl Piece {
    /// Its bytes. `EIO` if they cannot be read any more: the checksum of the whole image was right when it was opened.
    pub(crate) fn bytes(&self) -> Result<&[u8], Errno> {
        if let Some(bytes) = self.bytes.get() {
            return Ok(bytes);
        }
        let unpacked = self.blob.unpack().map_err(|error| {
            tracing::error!(%error, "a file's contents cannot be had from the image");
            Errno::EIO
        })?;
        // If two threads come here, one's work is thrown away.
        Ok(self.bytes.get_or_init(|| unpacked.into_boxed_slice()))
    }

    /// True if it costs a file system nothing.
    pub(crate) fn is_free(&self) -> bool {
        self.free
    }

    /// True once somebody has looked.
    #[cfg(test)]
    pub(crate) fn is_unpacked(&self) -> bool {
        self.bytes.get().is_some()
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({})", self.blob.len())
    }
}

/// Takes what was added, in the same order.
pub(crate) struct PieceReader {
    pieces: std::vec::IntoIter<Arc<Piece>>,
    /// The piece that is taken from, and how much of it was.
    current: Option<(Arc<Piece>, usize)>,
}

impl PieceReader {
    pub(crate) fn new(record: PiecesRecord, blobs: &Blobs) -> Result<Self, LoadError> {
        let numbers = record.first..record.first.saturating_add(record.count);
        let pieces = numbers.map(|number| {
            Ok(Arc::new(Piece {
                blob: blobs.get(number)?.clone(),
                bytes: OnceLock::new(),
                free: false,
            }))
        });
        let mut pieces = pieces.collect::<Result<Vec<_>, LoadError>>()?.into_iter();
        let current = pieces.next().map(|piece| (piece, 0));
        Ok(Self { pieces, current })
    }

    /// The next `len` bytes: their piece, and where in it they begin.
    pub(crate) fn take(&mut self, len: usize) -> Option<(Arc<Piece>, usize)> {
        if let Some((piece, taken)) = &self.current
            && *taken == piece.blob.len()
        {
            self.current = self.pieces.next().map(|piece| (piece, 0));
        }
        let (piece, taken) = self.current.as_mut()?;
        let at = *taken;
        *taken = at.checked_add(len).filter(|&end| end <= piece.blob.len())?;
        Some((Arc::clone(piece), at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_again_and_only_what_is_looked_at_is_unpacked() {
        let mut blobs = BlobWriter::default();
        blobs.add(b"something else");
        let mut writer = PieceWriter::new(&mut blobs);
        let all: Vec<Vec<u8>> = (0..40_u8)
            .map(|n| vec![n; 100 + 200 * usize::from(n)])
            .collect();
        for bytes in &all {
            writer.add(bytes);
        }
        let record = writer.finish();
        assert_eq!((record.first, record.count), (1, 3));
        let blobs = Blobs::try_from(blobs).unwrap();
        let mut reader = PieceReader::new(record, &blobs).unwrap();
        let taken: Vec<_> = all
            .iter()
            .map(|bytes| reader.take(bytes.len()).unwrap())
            .collect();
        assert!(reader.take(1).is_none());
        for ((piece, at), bytes) in taken.iter().zip(&all).rev().take(3) {
            assert_eq!(&piece.bytes().unwrap()[*at..][..bytes.len()], bytes);
        }
        assert!(taken[39].0.is_unpacked() && !taken[0].0.is_unpacked());
        let mut reader = PieceReader::new(record, &blobs).unwrap();
        assert!(reader.take(PIECE + 1).is_none(), "more than a piece has");
        let missing = PiecesRecord { first: 2, count: 7 };
        assert!(PieceReader::new(missing, &blobs).is_err());
        let none = PieceWriter::new(&mut BlobWriter::default()).finish();
        assert!(PieceReader::new(none, &blobs).unwrap().take(1).is_none());
    }
}
