//! The bytes of a file in memory: fixed-size chunks that are holes, slices of the binary, counted buffers, or still in an image.
//!
//! Cloning a [`Content`] costs one reference count, whatever its size: the chunk list is copied at the first change after, and a chunk only when
//! it is itself written. Chunks linked into the binary ([`Content::from_static`]) take no memory until written, and those of an image
//! ([`Content::load`]) none until their piece of it is looked at.
//!
//! **Invariant:** bytes at or past `len` read as zero in every chunk, so that growing a file needs no cleaning.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::errno::Errno;
use crate::image::Pieces;
use crate::image::pieces::{Piece, PieceReader, PieceWriter};
use crate::image::record::ChunkRecord;

/// Bytes per chunk: PostgreSQL's page, so that a page written whole replaces or fills exactly one chunk, and the first write to a shared page copies no
/// more than that page. Larger chunks measured no faster for page-sized requests and made first writes after a clone slower.
pub(super) const CHUNK: usize = 8192;
/// The largest file in bytes (64 GiB): bounds the chunk list a guest can ask for with one sparse write.
pub(super) const MAX_LEN: u64 = 1 << 36;
/// The smallest buffer of a chunk; small files do not take a whole one.
const MIN_BUFFER: usize = 64;

/// How many bytes the files of one file system may hold.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    pub(super) const fn new(limit: u64) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
        }
    }

    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes`, or `ENOSPC`.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), Errno> {
        if bytes == 0 {
            return Ok(());
        }
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }

    /// Takes `bytes` even past the limit.
    pub(super) fn force(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A piece of a file. Its bytes may be fewer than [`CHUNK`]: the rest is zero.
#[derive(Clone, Debug)]
enum Chunk {
    Hole,
    Static(&'static [u8]),
    Data(Arc<[u8]>),
    /// `len` bytes from `at` on of a piece that may not be unpacked yet.
    Packed {
        piece: Arc<Piece>,
        at: u32,
        len: u32,
    },
}

impl Chunk {
    /// Fails only for one of an image that cannot be read any more.
    fn bytes(&self) -> Result<&[u8], Errno> {
        Ok(match self {
            Self::Hole => &[],
            Self::Static(bytes) => bytes,
            Self::Data(bytes) => bytes,
            Self::Packed { piece, at, len } => {
                let rest = piece.bytes()?.get(*at as usize..).ok_or(Errno::EIO)?;
                rest.get(..*len as usize).ok_or(Errno::EIO)?
            }
        })
    }

    /// How many there are.
    fn len(&self) -> usize {
        match self {
            Self::Hole => 0,
            Self::Static(bytes) => bytes.len(),
            Self::Data(bytes) => bytes.len(),
            Self::Packed { len, .. } => *len as usize,
        }
    }

    /// True if it is the same piece of memory as another one.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hole, Self::Hole) => true,
            (Self::Static(one), Self::Static(two)) => std::ptr::eq(*one, *two),
            (Self::Data(one), Self::Data(two)) => Arc::ptr_eq(one, two),
            (
                Self::Packed {
                    piece: one,
                    at,
                    len,
                },
                Self::Packed {
                    piece: two,
                    at: other,
                    len: size,
                },
            ) => Arc::ptr_eq(one, two) && (at, len) == (other, size),
            _ => false,
        }
    }

    /// Bytes charged to the budget. Shared buffers are charged to each file that has them.
    fn charged(&self) -> u64 {
        match self {
            Self::Packed { piece, .. } if piece.is_free() => 0,
            Self::Data(_) | Self::Packed { .. } => self.len() as u64,
            Self::Hole | Self::Static(_) => 0,
        }
    }

    fn read(&self, within: usize, out: &mut [u8]) -> Result<(), Errno> {
        let bytes = self.bytes()?.get(within..).unwrap_or_default();
        let n = bytes.len().min(out.len());
        out[..n].copy_from_slice(&bytes[..n]);
        out[n..].fill(0);
        Ok(())
    }

    /// Overwrites `within..within + bytes.len()`, which lies in the chunk.
    fn write(&mut self, within: usize, bytes: &[u8], budget: &Budget) -> Result<(), Errno> {
        let end = within + bytes.len();
        match self {
            Self::Data(data) if data.len() >= end => {
                if let Some(own) = Arc::get_mut(data) {
                    own[within..end].copy_from_slice(bytes);
                    return Ok(());
                }
            }
            // Zeros written to a hole (a new WAL segment) leave it one.
            Self::Hole if is_zero(bytes) => return Ok(()),
            _ => {}
        }
        let size = end
            .max(self.len())
            .next_power_of_two()
            .clamp(MIN_BUFFER, CHUNK);
        // What is written over as a whole need not be had from an image.
        let old = if bytes.len() == size {
            &[]
        } else {
            self.bytes()?
        };
        budget.reserve((size as u64).saturating_sub(self.charged()))?;
        let fresh = if bytes.len() == size {
            Arc::from(bytes)
        } else {
            let mut fresh: Arc<[u8]> = if old.len() == size {
                Arc::from(old)
            } else {
                std::iter::repeat_n(0, size).collect()
            };
            if let Some(own) = Arc::get_mut(&mut fresh) {
                if old.len() != size {
                    own[..old.len()].copy_from_slice(old);
                }
                own[within..end].copy_from_slice(bytes);
            }
            fresh
        };
        *self = Self::Data(fresh);
        Ok(())
    }

    /// Makes every byte from `keep` on zero.
    fn cut(&mut self, keep: usize, budget: &Budget) {
        let before = self.charged();
        match self {
            Self::Hole => {}
            _ if keep == 0 => *self = Self::Hole,
            Self::Static(bytes) => *bytes = &bytes[..keep.min(bytes.len())],
            Self::Data(data) if data.len() > keep => match Arc::get_mut(data) {
                Some(own) => own[keep..].fill(0),
                None => *data = Arc::from(&data[..keep]),
            },
            Self::Packed { len, .. } if (*len as usize) > keep => {
                *len = u32::try_from(keep).unwrap_or(*len);
            }
            Self::Data(_) | Self::Packed { .. } => {}
        }
        budget.release(before.saturating_sub(self.charged()));
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|&byte| byte == 0)
}

fn index(offset: u64) -> usize {
    usize::try_from(offset / CHUNK as u64).unwrap_or(usize::MAX)
}

fn within(offset: u64) -> usize {
    usize::try_from(offset % CHUNK as u64).unwrap_or(0)
}

/// All bytes of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// May end before `len`: the rest is a hole.
    chunks: Arc<Vec<Chunk>>,
    len: u64,
    charged: u64,
}

impl Content {
    /// The bytes themselves, without a copy until written. They are not looked at, so that pages of the binary are not loaded.
    pub(super) fn from_static(bytes: &'static [u8]) -> Self {
        let chunks = bytes.chunks(CHUNK).map(Chunk::Static).collect();
        Self {
            chunks: Arc::new(chunks),
            len: bytes.len() as u64,
            charged: 0,
        }
    }

    /// Bytes of the program that are packed, unpacked when they are first read; `EINVAL` if a chunk of them lies in two pieces, or in none.
    pub(super) fn from_pieces(pieces: &Pieces, range: Range<usize>) -> Result<Self, Errno> {
        let len = range.len() as u64;
        let mut chunks = Vec::with_capacity(range.len().div_ceil(CHUNK));
        for at in range.clone().step_by(CHUNK) {
            let len = CHUNK.min(range.end - at);
            let (piece, at) = pieces.find(at, len).ok_or(Errno::EINVAL)?;
            let narrow = |n| u32::try_from(n).map_err(|_| Errno::EINVAL);
            chunks.push(Chunk::Packed {
                piece,
                at: narrow(at)?,
                len: narrow(len)?,
            });
        }
        Ok(Self {
            chunks: Arc::new(chunks),
            len,
            charged: 0,
        })
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Bytes charged to the budget.
    pub(super) const fn charged(&self) -> u64 {
        self.charged
    }

    /// Fails only for bytes of an image that cannot be read any more.
    pub(super) fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let total = left.min(out.len());
        let mut done = 0;
        while done < total {
            let at = offset + done as u64;
            let from = within(at);
            let n = (CHUNK - from).min(total - done);
            let piece = &mut out[done..done + n];
            match self.chunks.get(index(at)) {
                Some(chunk) => chunk.read(from, piece)?,
                None => piece.fill(0),
            }
            done += n;
        }
        Ok(total)
    }

    /// Writes all, or as much as the budget allows; `ENOSPC` when that is nothing, `EFBIG` past [`MAX_LEN`].
    pub(super) fn write_at(
        &mut self,
        offset: u64,
        bytes: &[u8],
        budget: &Budget,
    ) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let end = offset
            .checked_add(bytes.len() as u64)
            .filter(|&end| end <= MAX_LEN)
            .ok_or(Errno::EFBIG)?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let needed = index(end - 1) + 1;
        if chunks.len() < needed {
            chunks
                .try_reserve(needed - chunks.len())
                .map_err(|_| Errno::ENOSPC)?;
            chunks.resize(needed, Chunk::Hole);
        }
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let from = within(at);
            let n = (CHUNK - from).min(bytes.len() - done);
            let chunk = &mut chunks[index(at)];
            let before = chunk.charged();
            match chunk.write(from, &bytes[done..done + n], budget) {
                Ok(()) => self.charged += chunk.charged().saturating_sub(before),
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            done += n;
        }
        self.len = self.len.max(offset + done as u64);
        Ok(done)
    }

    /// Cuts or extends with a hole; `EFBIG` past [`MAX_LEN`].
    pub(super) fn set_len(&mut self, len: u64, budget: &Budget) -> Result<(), Errno> {
        if len > MAX_LEN {
            return Err(Errno::EFBIG);
        }
        if len < self.len {
            let chunks = Arc::make_mut(&mut self.chunks);
            let keep = index(len.div_ceil(CHUNK as u64) * CHUNK as u64);
            let mut freed = 0;
            for chunk in chunks.drain(keep.min(chunks.len())..) {
                freed += chunk.charged();
            }
            budget.release(freed);
            if within(len) != 0
                && let Some(last) = chunks.get_mut(index(len))
            {
                let before = last.charged();
                last.cut(within(len), budget);
                freed += before.saturating_sub(last.charged());
            }
            if chunks.capacity() > 4 * chunks.len() {
                chunks.shrink_to_fit();
            }
            self.charged -= freed;
        }
        self.len = len;
        Ok(())
    }

    /// Makes `[offset, offset + len)` equal to the same many bytes of `source` from `source_offset`, sharing whole chunks where both offsets are aligned alike
    /// on chunk boundaries. Returns the bytes done: short at the source's end.
    pub(super) fn clone_range(
        &mut self,
        source: &Self,
        source_offset: u64,
        offset: u64,
        len: u64,
        budget: &Budget,
    ) -> Result<u64, Errno> {
        let len = len.min(source.len.saturating_sub(source_offset));
        let end = offset
            .checked_add(len)
            .filter(|&end| end <= MAX_LEN)
            .ok_or(Errno::EFBIG)?;
        let mut done = 0;
        let mut buffer = Vec::new();
        while done < len {
            let (from, to) = (source_offset + done, offset + done);
            let left = len - done;
            // A last partial chunk can be shared too, when nothing follows on either side.
            let whole =
                left >= CHUNK as u64 || (from + left == source.len && to + left >= self.len);
            let step = left.min(CHUNK as u64);
            let result = if within(from) == 0 && within(to) == 0 && whole {
                let chunk = source
                    .chunks
                    .get(index(from))
                    .cloned()
                    .unwrap_or(Chunk::Hole);
                self.put(index(to), chunk, budget)
            } else {
                let step = left
                    .min((CHUNK - within(from)) as u64)
                    .min((CHUNK - within(to)) as u64);
                buffer.resize(usize::try_from(step).unwrap_or(CHUNK), 0);
                source
                    .read_at(from, &mut buffer)
                    .and_then(|_| self.write_at(to, &buffer, budget))
                    .map(drop)
            };
            match result {
                Ok(()) => {}
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            let step = if within(from) == 0 && within(to) == 0 && whole {
                step
            } else {
                buffer.len() as u64
            };
            done += step;
            self.len = self.len.max(to + step);
        }
        debug_assert!(offset + done <= end);
        Ok(done)
    }

    /// True if it has the very chunks of another one.
    pub(super) fn is_shared_with(&self, other: &Self) -> bool {
        self.len == other.len && Arc::ptr_eq(&self.chunks, &other.chunks)
    }

    /// The chunks for an image, beside those of `base`; the bytes of its own go to `data`.
    pub(super) fn save(
        &self,
        base: Option<&Self>,
        data: &mut PieceWriter<'_>,
    ) -> Result<Vec<ChunkRecord>, Errno> {
        let mut records = Vec::new();
        for (at, chunk) in self.chunks.iter().enumerate() {
            let known = base.and_then(|base| base.chunks.get(at));
            if known.is_some_and(|known| chunk.is(known)) && !matches!(chunk, Chunk::Hole) {
                match records.last_mut() {
                    Some(ChunkRecord::Same(count)) => *count += 1,
                    _ => records.push(ChunkRecord::Same(1)),
                }
                continue;
            }
            let bytes = chunk.bytes()?;
            if is_zero(bytes) {
                match records.last_mut() {
                    Some(ChunkRecord::Holes(count)) => *count += 1,
                    _ => records.push(ChunkRecord::Holes(1)),
                }
            } else {
                let len = u32::try_from(bytes.len()).map_err(|_| Errno::EFBIG)?;
                records.push(ChunkRecord::Data(len));
                data.add(bytes);
            }
        }
        Ok(records)
    }

    /// What was saved beside `base`, whose own bytes are the next of `data`; `None` if that cannot be.
    pub(super) fn load(
        len: u64,
        records: &[ChunkRecord],
        base: Option<&Self>,
        data: &mut PieceReader,
    ) -> Option<Self> {
        let mut chunks = Vec::new();
        let mut charged = 0;
        for record in records {
            match *record {
                ChunkRecord::Holes(count) => {
                    let end = chunks.len() + count as usize;
                    chunks.resize((end <= index(MAX_LEN)).then_some(end)?, Chunk::Hole);
                }
                ChunkRecord::Same(count) => {
                    let from = chunks.len();
                    let known = base?.chunks.get(from..from + count as usize)?;
                    charged += known.iter().map(Chunk::charged).sum::<u64>();
                    chunks.extend_from_slice(known);
                }
                ChunkRecord::Data(len) => {
                    let own = (len as usize <= CHUNK).then_some(len as usize)?;
                    let (piece, at) = data.take(own)?;
                    charged += u64::from(len);
                    let at = u32::try_from(at).ok()?;
                    chunks.push(Chunk::Packed { piece, at, len });
                }
            }
        }
        (len <= MAX_LEN && chunks.len() as u64 <= len.div_ceil(CHUNK as u64)).then(|| Self {
            chunks: Arc::new(chunks),
            len,
            charged,
        })
    }

    fn put(&mut self, at: usize, chunk: Chunk, budget: &Budget) -> Result<(), Errno> {
        budget.reserve(chunk.charged())?;
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.len() <= at {
            chunks.resize(at + 1, Chunk::Hole);
        }
        let freed = chunks[at].charged();
        self.charged = self.charged + chunk.charged() - freed;
        budget.release(freed);
        chunks[at] = chunk;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(content: &Content) -> Vec<u8> {
        let mut out = vec![1; usize::try_from(content.len()).unwrap()];
        assert_eq!(content.read_at(0, &mut out), Ok(out.len()));
        out
    }

    #[test]
    fn static_bytes_are_copied_by_the_first_write_only_where_it_falls() {
        static BYTES: [u8; 3 * CHUNK] = [7; 3 * CHUNK];
        let budget = Budget::new(u64::MAX);
        let mut content = Content::from_static(&BYTES);
        let copy = content.clone();
        content.write_at(CHUNK as u64 + 5, b"abc", &budget).unwrap();
        assert_eq!(budget.used(), CHUNK as u64);
        let all = read_all(&content);
        assert_eq!(&all[CHUNK + 4..CHUNK + 9], b"\x07abc\x07");
        assert_eq!(read_all(&copy), BYTES);
    }

    #[test]
    fn growing_after_a_cut_shows_zeros() {
        let budget = Budget::new(u64::MAX);
        for shared in [false, true] {
            let mut content = Content::default();
            content.write_at(0, &[9; 2 * CHUNK], &budget).unwrap();
            let other = shared.then(|| content.clone());
            content.set_len(100, &budget).unwrap();
            content.set_len(2 * CHUNK as u64, &budget).unwrap();
            let all = read_all(&content);
            assert!(
                all[..100].iter().all(|&byte| byte == 9)
                    && all[100..].iter().all(|&byte| byte == 0)
            );
            if let Some(other) = other {
                assert_eq!(read_all(&other), [9; 2 * CHUNK]);
            }
        }
    }

    #[test]
    fn the_limit_is_kept_and_given_back() {
        let budget = Budget::new(2 * CHUNK as u64);
        let mut content = Content::default();
        assert_eq!(content.write_at(0, &[1; 3 * CHUNK], &budget), Ok(2 * CHUNK));
        assert_eq!(
            content.write_at(2 * CHUNK as u64, b"x", &budget),
            Err(Errno::ENOSPC)
        );
        assert_eq!(budget.used(), content.charged());
        content.set_len(1, &budget).unwrap();
        content.set_len(0, &budget).unwrap();
        assert_eq!((budget.used(), content.charged()), (0, 0));
        assert_eq!(content.write_at(1 << 40, b"x", &budget), Err(Errno::EFBIG));
    }

    #[test]
    fn clone_range_shares_chunks_and_copies_odd_pieces() {
        let budget = Budget::new(u64::MAX);
        let mut source = Content::default();
        let bytes: Vec<u8> = (0..3 * CHUNK + 77)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        source.write_at(0, &bytes, &budget).unwrap();
        let mut whole = Content::default();
        assert_eq!(
            whole.clone_range(&source, 0, 0, u64::MAX, &budget),
            Ok(bytes.len() as u64)
        );
        assert_eq!(read_all(&whole), bytes);
        assert!(
            matches!((&whole.chunks[1], &source.chunks[1]), (Chunk::Data(a), Chunk::Data(b)) if Arc::ptr_eq(a, b))
        );
        let mut odd = Content::default();
        assert_eq!(
            odd.clone_range(&source, 10, 3, 2 * CHUNK as u64, &budget),
            Ok(2 * CHUNK as u64)
        );
        assert_eq!(&read_all(&odd)[3..], &bytes[10..10 + 2 * CHUNK]);
    }
}
