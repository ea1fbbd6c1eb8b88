//! Tree images as they are linked into programs: the contents packed, in pieces that can be unpacked one by one.
//!
//! ```text
//! offset  size  field (all integers little-endian)
//!      0     8  magic "PGOPACK1"
//!      8     8  bytes of the tree image
//!     16     4  bytes of its tables: all before the contents
//!     20     4  the same, packed
//!     24     4  number of pieces: [`PIECE`] bytes of contents each, less in the last
//!     28     4  zero
//!     32    4n  bytes of each piece, packed
//!      -     -  the tables, the pieces: LZ4 blocks. One as long as what it is unpacked to is stored as it is.
//! ```
//!
//! Bytes of one file that lie in [`CHUNK`] bytes from a multiple of it are in one piece: the writer of the tree image sees to it.

use std::ops::Range;

use crate::image::{ImageError, Layout, Stored, Table, Tree};

/// First eight bytes.
const MAGIC: [u8; 8] = *b"PGOPACK1";
/// Bytes before the sizes of the pieces.
const HEADER_LEN: usize = 32;
/// Bytes of a piece: whoever reads one page unpacks this much.
pub const PIECE: usize = 64 << 10;
/// Bytes that are read together: PostgreSQL's page.
pub const CHUNK: usize = 8192;

fn pack_block(bytes: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::block::compress(bytes);
    if packed.len() < bytes.len() {
        packed
    } else {
        bytes.to_vec()
    }
}

/// Packs a tree image.
///
/// # Errors
/// For one that cannot be used.
pub fn pack(name: &str, image: &[u8]) -> Result<Vec<u8>, ImageError> {
    let layout = Tree::parse(name, image)?.table().layout;
    let (tables, contents) = image.split_at(layout.contents);
    let packed_tables = pack_block(tables);
    let pieces: Vec<Vec<u8>> = contents.chunks(PIECE).map(pack_block).collect();
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&(image.len() as u64).to_le_bytes());
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    for n in [tables.len(), packed_tables.len(), pieces.len(), 0] {
        out.extend_from_slice(&number(n));
    }
    for piece in &pieces {
        out.extend_from_slice(&number(piece.len()));
    }
    out.extend_from_slice(&packed_tables);
    out.extend(pieces.into_iter().flatten());
    Ok(out)
}

/// A packed tree image whose tables are unpacked and checked.
#[derive(Clone)]
pub struct Packed {
    name: &'static str,
    tables: Box<[u8]>,
    layout: Layout,
    lengths: Vec<u32>,
    pieces: &'static [u8],
}

impl Packed {
    /// Unpacks the tables and checks them. `name` is for messages.
    ///
    /// # Errors
    /// Fails closed, naming the image, what was wanted and what was found.
    pub fn parse(name: &'static str, bytes: &'static [u8]) -> Result<Self, ImageError> {
        let short = |wanted: &str| ImageError::Field {
            image: name.to_owned(),
            field: "length".to_owned(),
            wanted: wanted.to_owned(),
            found: format!("{} bytes", bytes.len()),
        };
        if bytes.get(..8) != Some(&MAGIC) {
            return Err(ImageError::Field {
                image: name.to_owned(),
                field: "magic".to_owned(),
                wanted: MAGIC.escape_ascii().to_string(),
                found: bytes[..bytes.len().min(8)].escape_ascii().to_string(),
            });
        }
        let number = |at: usize| {
            let field = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
            field
                .map(u32::from_le_bytes)
                .ok_or_else(|| short("a whole header"))
        };
        let total = u64::from(number(8)?) | u64::from(number(12)?) << 32;
        let total = usize::try_from(total).map_err(|_| short("an image that fits the memory"))?;
        let (tables_len, packed_len, count) = (number(16)?, number(20)?, number(24)? as usize);
        let lengths = (0..count)
            .map(|n| number(HEADER_LEN + 4 * n))
            .collect::<Result<Vec<_>, _>>()?;
        let rest = &bytes[HEADER_LEN + 4 * count..];
        let (packed, pieces) = rest
            .split_at_checked(packed_len as usize)
            .ok_or_else(|| short("the tables"))?;
        let tables = unpack_block(packed, tables_len as usize)
            .filter(|_| tables_len as usize <= total)
            .ok_or_else(|| short("tables that can be unpacked"))?;
        let layout = Table::parse(name, &tables, total)?.layout;
        let held: usize = lengths.iter().map(|&len| len as usize).sum();
        if count != (total - tables.len()).div_ceil(PIECE) || held != pieces.len() {
            return Err(short("all pieces of the contents"));
        }
        Ok(Self {
            name,
            tables: tables.into_boxed_slice(),
            layout,
            lengths,
            pieces,
        })
    }

    /// As it was when it was parsed: nothing is checked again.
    fn table(&self) -> Table<'_> {
        Table {
            head: &self.tables,
            layout: self.layout,
        }
    }

    /// Bytes of all contents.
    fn len(&self) -> usize {
        self.layout.total - self.tables.len()
    }

    /// The entries by path, parents before children; where contents are is told from the start of all contents.
    pub fn entries(&self) -> impl Iterator<Item = Stored<'_>> {
        let before = self.tables.len();
        let from = move |at: usize| at.saturating_sub(before);
        self.table().stored().map(move |stored| Stored {
            range: from(stored.range.start)..from(stored.range.end),
            ..stored
        })
    }

    /// As [`Tree::fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.table().fingerprint()
    }

    /// The packed pieces one after the other, the bytes of each, and those of all contents.
    #[must_use]
    pub fn pieces(&self) -> (&'static [u8], &[u32], usize) {
        (self.pieces, &self.lengths, self.len())
    }

    /// Some of the contents.
    ///
    /// # Errors
    /// When they cannot be unpacked.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<u8>, ImageError> {
        let broken = || ImageError::Field {
            image: self.name.to_owned(),
            field: "contents".to_owned(),
            wanted: "pieces that can be unpacked".to_owned(),
            found: "damaged ones".to_owned(),
        };
        let all = self.len();
        let mut out = Vec::new();
        let mut at = 0;
        for (n, &len) in self.lengths.iter().enumerate() {
            let end = at + len as usize;
            let (from, to) = (n * PIECE, (n * PIECE + PIECE).min(all));
            if from < range.end && range.start < to {
                let packed = self.pieces.get(at..end).ok_or_else(broken)?;
                let piece = unpack_block(packed, to - from).ok_or_else(broken)?;
                let (first, last) = (range.start.max(from), range.end.min(to));
                out.extend_from_slice(&piece[first - from..last - from]);
            }
            at = end;
        }
        Ok(out)
    }

    /// The tree image.
    ///
    /// # Errors
    /// When it cannot be unpacked.
    pub fn unpack(&self) -> Result<Vec<u8>, ImageError> {
        let mut image = self.tables.to_vec();
        image.extend(self.read(0..self.len())?);
        Ok(image)
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed")
            .field("name", &self.name)
            .field("bytes", &self.layout.total)
            .finish_non_exhaustive()
    }
}

/// `None` for one that does not have `len` bytes.
fn unpack_block(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    if packed.len() == len {
        return Some(packed.to_vec());
    }
    // What a few bytes claim to be must not decide how much memory is asked for.
    if len / 256 > packed.len() {
        return None;
    }
    let mut out = vec![0; len];
    let n = lz4_flex::block::decompress_into(packed, &mut out).ok()?;
    (n == len).then_some(out)
}
