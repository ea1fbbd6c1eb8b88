//! Pieces of an image: what is large and may never be wanted, each read and unpacked by itself.

use std::fs::File;
use std::io::{Error, ErrorKind, Result as IoResult};
use std::ops::Range;
use std::sync::Arc;
use std::{cmp, fmt};

use serde::{Deserialize, Serialize};

use super::LoadError;

/// Bytes of a file that are looked at in one go.
const AT_ONCE: u64 = 64 << 10;

const SHORT: LoadError = LoadError::Damaged("it ends too early");

/// The bytes of an image, wherever they are: linked into the program, or in a file. Clones share them.
#[derive(Clone)]
pub struct ImageBytes {
    source: Source,
    within: Range<u64>,
}

#[derive(Clone)]
enum Source {
    Memory(Arc<dyn AsRef<[u8]> + Send + Sync>),
    /// Read where it is wanted, not mapped: a mapped file that somebody cuts short ends the process that looks at it, a read is an error.
    File(Arc<File>),
}

impl ImageBytes {
    /// Bytes that somebody else keeps.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let within = 0..bytes.as_ref().len() as u64;
        Self {
            source: Source::Memory(Arc::new(bytes)),
            within,
        }
    }

    /// What a file holds from `start` on. It is read for as long as anything of the image is used, and must not change: whoever makes another image makes another file.
    ///
    /// # Errors
    /// Those of asking for its length.
    pub fn of_file(file: File, start: u64) -> IoResult<Self> {
        let end = file.metadata()?.len();
        Ok(Self {
            source: Source::File(Arc::new(file)),
            within: start.min(end)..end,
        })
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.within.end - self.within.start
    }

    /// True for none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if nothing has to be read for a look at them.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        matches!(self.source, Source::Memory(_))
    }

    /// Those from `start` on.
    ///
    /// # Errors
    /// [`LoadError::Damaged`] if there are not so many.
    pub fn tail(&self, start: u64) -> Result<Self, LoadError> {
        self.part(start..self.len())
    }

    /// Some of them.
    ///
    /// # Errors
    /// [`LoadError::Damaged`] if there are not so many.
    pub fn part(&self, range: Range<u64>) -> Result<Self, LoadError> {
        if range.start > range.end || range.end > self.len() {
            return Err(SHORT);
        }
        let from = self.within.start;
        Ok(Self {
            source: self.source.clone(),
            within: from + range.start..from + range.end,
        })
    }

    /// Shows all of them at once.
    ///
    /// # Errors
    /// [`LoadError::Read`] for a file that cannot be read.
    pub fn look<T>(&self, at: impl FnOnce(&[u8]) -> T) -> Result<T, LoadError> {
        match &self.source {
            Source::Memory(bytes) => Ok(at(self.slice((**bytes).as_ref()))),
            Source::File(_) => {
                let mut bytes = vec![0; usize::try_from(self.len()).map_err(|_| SHORT)?];
                self.read_into(&mut bytes)?;
                Ok(at(&bytes))
            }
        }
    }

    /// Shows all of them, piece by piece.
    ///
    /// # Errors
    /// [`LoadError::Read`] for a file that cannot be read.
    pub fn each(&self, mut see: impl FnMut(&[u8])) -> Result<(), LoadError> {
        if let Source::Memory(bytes) = &self.source {
            see(self.slice((**bytes).as_ref()));
            return Ok(());
        }
        let mut buffer = vec![0; usize::try_from(cmp::min(AT_ONCE, self.len())).unwrap_or(0)];
        let mut done = 0;
        while done < self.len() {
            let part = self.part(done..cmp::min(done + AT_ONCE, self.len()))?;
            let piece = &mut buffer[..usize::try_from(part.len()).unwrap_or(0)];
            part.read_into(piece)?;
            see(piece);
            done += part.len();
        }
        Ok(())
    }

    /// Copies all of them to `out`, which has their length.
    fn read_into(&self, mut out: &mut [u8]) -> Result<(), LoadError> {
        if out.len() as u64 != self.len() {
            return Err(SHORT);
        }
        match &self.source {
            Source::Memory(bytes) => out.copy_from_slice(self.slice((**bytes).as_ref())),
            Source::File(file) => {
                let mut at = self.within.start;
                while !out.is_empty() {
                    let n = match rustix::io::pread(file, &mut *out, at).map_err(Error::from) {
                        Ok(0) => return Err(LoadError::Read(ErrorKind::UnexpectedEof.into())),
                        Ok(n) => n,
                        Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                        Err(error) => return Err(LoadError::Read(error)),
                    };
                    at += n as u64;
                    out = &mut out[n..];
                }
            }
        }
        Ok(())
    }

    fn slice<'a>(&self, all: &'a [u8]) -> &'a [u8] {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        all.get(place(self.within.start)..place(self.within.end))
            .unwrap_or_default()
    }
}

impl fmt::Debug for ImageBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageBytes({})", self.len())
    }
}

/// How long a piece is as it was and as it is stored; as it was, if that is the same.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) len: u64,
    pub(crate) packed: u64,
    /// Among those that are mapped from where they are stored: these lie before all others.
    pub(crate) plain: bool,
}

/// Pieces as they are written.
#[derive(Default)]
pub struct BlobWriter {
    sizes: Vec<Size>,
    packed: Vec<u8>,
    plain: Vec<u8>,
}

impl BlobWriter {
    /// Adds a piece, packed if that makes it smaller; its number.
    pub fn add(&mut self, bytes: &[u8]) -> u32 {
        let packed = lz4_flex::block::compress(bytes);
        let packed = if packed.len() < bytes.len() {
            &packed
        } else {
            bytes
        };
        self.packed.extend_from_slice(packed);
        let packed = packed.len() as u64;
        self.number(bytes.len(), packed, false)
    }

    /// Adds a piece of shared memory, whole pages, as it is: larger, and nothing to unpack where the first process to run maps all of them. Everything else is packed: most processes never
    /// run, and hardly a file is read.
    pub fn add_shared_memory(&mut self, bytes: &[u8]) -> u32 {
        self.plain.extend_from_slice(bytes);
        self.number(bytes.len(), bytes.len() as u64, true)
    }

    fn number(&mut self, len: usize, packed: u64, plain: bool) -> u32 {
        let len = len as u64;
        self.sizes.push(Size { len, packed, plain });
        u32::try_from(self.sizes.len() - 1).unwrap_or(u32::MAX)
    }

    /// The sizes of the pieces, and the pieces.
    pub(super) fn finish(self) -> (Vec<Size>, Vec<u8>) {
        let mut pieces = self.plain;
        pieces.extend_from_slice(&self.packed);
        (self.sizes, pieces)
    }
}

/// The pieces of an image that is being loaded.
pub struct Blobs(Vec<Blob>);

impl Blobs {
    /// `bytes` are the pieces one after the other.
    pub(super) fn new(sizes: &[Size], bytes: &ImageBytes) -> Result<Self, LoadError> {
        let mut blobs = Vec::with_capacity(sizes.len());
        let mut plain = sizes.iter().filter(|size| size.plain);
        let before = plain.try_fold(0_u64, |sum, size| sum.checked_add(size.packed));
        let (mut next_plain, mut next_packed) = (0, before.ok_or(SHORT)?);
        for size in sizes {
            let at = if size.plain {
                &mut next_plain
            } else {
                &mut next_packed
            };
            let end = at.checked_add(size.packed).ok_or(SHORT)?;
            blobs.push(Blob {
                bytes: bytes.part(*at..end)?,
                len: usize::try_from(size.len)
                    .map_err(|_| LoadError::Damaged("a piece is too large"))?,
            });
            *at = end;
        }
        Ok(Self(blobs))
    }

    /// `bytes` are LZ4 blocks one after the other, of these lengths; unpacked, each has `size` bytes, the last what is left of `len`.
    pub(super) fn one_after_the_other(
        bytes: &ImageBytes,
        lengths: &[u32],
        size: usize,
        len: usize,
    ) -> Result<Vec<Blob>, LoadError> {
        let mut left = len;
        let mut sizes = Vec::with_capacity(lengths.len());
        for &packed in lengths {
            let len = left.min(size);
            left -= len;
            sizes.push(Size {
                len: len as u64,
                packed: packed.into(),
                plain: false,
            });
        }
        if left > 0 {
            return Err(SHORT);
        }
        Ok(Self::new(&sizes, bytes)?.0)
    }

    /// Pieces that are stored as they were, one after the other; `None` if they are not.
    pub fn plain(&self, numbers: Range<u32>) -> Option<ImageBytes> {
        let blobs = self
            .0
            .get(numbers.start as usize..numbers.end as usize)
            .unwrap_or_default();
        let (first, last) = (blobs.first()?, blobs.last()?);
        let as_they_were = blobs.iter().all(|blob| blob.bytes.len() == blob.len as u64);
        let ends = |blob: &Blob| blob.bytes.within.clone();
        let adjacent = blobs
            .windows(2)
            .all(|two| ends(&two[0]).end == ends(&two[1]).start);
        (as_they_were && adjacent).then(|| ImageBytes {
            source: first.bytes.source.clone(),
            within: ends(first).start..ends(last).end,
        })
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
        let (sizes, pieces) = writer.finish();
        Self::new(&sizes, &ImageBytes::new(pieces))
    }
}

/// One piece, not read yet.
#[derive(Clone)]
pub struct Blob {
    bytes: ImageBytes,
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
        if self.bytes.len() == self.len as u64 {
            return self.bytes.read_into(out);
        }
        match self
            .bytes
            .look(|packed| lz4_flex::block::decompress_into(packed, out))?
        {
            Ok(n) if n == self.len => Ok(()),
            _ => Err(DAMAGED),
        }
    }

    /// The bytes themselves.
    pub fn unpack(&self) -> Result<Vec<u8>, LoadError> {
        // What a few bytes claim to be must not decide how much memory is asked for.
        if self.len as u64 / 256 > self.bytes.len() {
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
        let (sizes, pieces) = writer.finish();
        assert!(pieces.len() < 2000);
        let bytes = ImageBytes::new(pieces.clone());
        let blobs = Blobs::new(&sizes, &bytes).unwrap();
        assert_eq!(blobs.get(0).unwrap().unpack().unwrap(), one);
        assert!(blobs.get(1).unwrap().unpack().unwrap().is_empty());
        assert_eq!(blobs.get(2).unwrap().unpack().unwrap(), two);
        assert!(blobs.get(3).is_err());
        let short = ImageBytes::new(pieces[..20].to_vec());
        assert!(Blobs::new(&sizes, &short).is_err());
        let wrong = ImageBytes::new(vec![0xff; pieces.len()]);
        let blobs = Blobs::new(&sizes, &wrong).unwrap();
        assert!(blobs.get(0).unwrap().unpack().is_err());
    }

    #[test]
    fn a_file_serves_as_well_until_it_is_cut_short() {
        let mut writer = BlobWriter::default();
        let (one, two) = (vec![7; 100_000], vec![8; 70_000]);
        writer.add(&one);
        writer.add_shared_memory(&two);
        let (sizes, pieces) = writer.finish();
        assert!(pieces.len() > two.len());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, [b"head".as_slice(), &pieces].concat()).unwrap();
        let file = || std::fs::File::open(&path).unwrap();
        let bytes = ImageBytes::of_file(file(), 4).unwrap();
        assert_eq!(bytes.len(), pieces.len() as u64);
        let mut seen = Vec::new();
        bytes.each(|piece| seen.extend_from_slice(piece)).unwrap();
        assert_eq!(seen, pieces);
        let blobs = Blobs::new(&sizes, &bytes).unwrap();
        assert_eq!(blobs.get(0).unwrap().unpack().unwrap(), one);
        assert_eq!(blobs.get(1).unwrap().unpack().unwrap(), two);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(4 + 70_000)
            .unwrap();
        assert_eq!(blobs.get(1).unwrap().unpack().unwrap(), two);
        assert!(matches!(
            blobs.get(0).unwrap().unpack(),
            Err(LoadError::Read(_))
        ));
    }

    #[test]
    fn plain_pieces_lie_together_before_all_others() {
        let mut writer = BlobWriter::default();
        let (one, two) = (vec![1; 8192], vec![2; 4096]);
        for bytes in [&one, &two] {
            writer.add(&[9; 5000]);
            writer.add_shared_memory(bytes);
        }
        writer.add_shared_memory(&one);
        let blobs = Blobs::try_from(writer).unwrap();
        assert_eq!(blobs.get(0).unwrap().unpack().unwrap(), [9; 5000]);
        assert_eq!(blobs.get(3).unwrap().unpack().unwrap(), two);
        let plain = blobs.plain(3..5).unwrap();
        let wanted = [two.as_slice(), &one].concat();
        assert!(plain.look(|bytes| bytes == wanted).unwrap());
        assert_eq!(plain.within, 8192..8192 + 12_288);
        for not in [0..1, 1..3, 3..9, 4..4] {
            assert!(blobs.plain(not.clone()).is_none(), "{not:?}");
        }
    }
}
