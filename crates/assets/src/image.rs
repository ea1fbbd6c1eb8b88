//! The tree image: a read-only directory tree in one run of bytes, and its reader.
//!
//! ```text
//! offset  size  field (all integers little-endian)
//!      0     8  magic "PGOTREE1"
//!      8     8  total length of the image in bytes
//!     16    32  fingerprint: sha256 of everything from byte 64 on
//!     48     4  number of entries
//!     52     4  length of the path table in bytes
//!     56     8  offset of the contents (a multiple of 4096)
//!     64   32n  entries, sorted by path, parents before children
//!               0  u32 offset of the path in the path table
//!               4  u16 length of the path in bytes
//!               6  u8  kind: 1 directory, 2 regular file, 3 symbolic link
//!               7  u8  zero
//!               8  u32 permission bits (0o7777)
//!              12  u32 stored bytes
//!              16  u64 logical length of the file; the bytes after the stored ones are zero
//!              24  u64 offset of the stored bytes in the image
//!      -     -  path table: UTF-8, '/' between components, no leading or trailing slash, no "." or ".."
//!      -     -  contents; those of 4096 bytes or more begin on a multiple of 4096, of more than 8192 on one of 8192 from the start of the contents, and none that are shorter cross a
//!               multiple of 65,536 there ([`crate::packed`]). A link's contents are its target.
//! ```
//!
//! Equal contents may be stored once, and trailing zeros are not stored: a 16 MiB segment of mostly unwritten log costs what was written.

use std::ops::Range;

use thiserror::Error;

/// First eight bytes of an image.
pub const MAGIC: [u8; 8] = *b"PGOTREE1";
/// Bytes before the entries.
pub const HEADER_LEN: usize = 64;
/// Bytes of one entry.
pub const ENTRY_LEN: usize = 32;
/// Contents of at least this many bytes begin on a multiple of it.
pub const ALIGNMENT: usize = 4096;

/// Why an image cannot be used. Nothing is repaired or skipped: one wrong byte of structure refuses the whole image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A field does not hold what it must.
    #[error("{image}: {field}: wanted {wanted}, found {found}")]
    Field {
        /// The image's name.
        image: String,
        /// Which field.
        field: String,
        /// What it should be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// An entry is not acceptable.
    #[error("{image}: entry {index}: wanted {wanted}, found {found}")]
    Entry {
        /// The image's name.
        image: String,
        /// The entry's number.
        index: usize,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// The crate was built without assets (`PGLITE_OXIDE_NO_ASSETS` or a documentation build).
    #[error(
        "{image}: this build contains no assets (PGLITE_OXIDE_NO_ASSETS was set); run `cargo xtask assets` and build again"
    )]
    NotBuilt {
        /// The image's name.
        image: String,
    },
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A directory.
    Directory = 1,
    /// A regular file.
    File = 2,
    /// A symbolic link; its contents are the target.
    Symlink = 3,
}

/// One file, directory or link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Relative to the tree's root, no leading slash; empty for the root itself.
    pub path: &'a str,
    /// What it is.
    pub kind: Kind,
    /// Permission bits (`0o7777`).
    pub mode: u32,
    /// Logical length in bytes: `contents.len()` or more; what is beyond `contents` is zero.
    pub len: u64,
    /// The stored bytes.
    pub contents: &'a [u8],
}

/// One file, directory or link, by where its contents are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<'a> {
    /// As [`Entry::path`].
    pub path: &'a str,
    /// What it is.
    pub kind: Kind,
    /// Permission bits (`0o7777`).
    pub mode: u32,
    /// As [`Entry::len`].
    pub len: u64,
    /// The stored bytes, from the image's start.
    pub range: Range<usize>,
}

/// The checked tables of an image: all of it but the contents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Table<'a> {
    /// The image, at least up to its contents.
    pub(crate) head: &'a [u8],
    pub(crate) layout: Layout,
}

/// What a [`Table`] that was checked is, apart from its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    entries: usize,
    /// Where the path table begins and ends.
    paths: (usize, usize),
    /// Where the contents begin.
    pub(crate) contents: usize,
    /// Bytes of the whole image.
    pub(crate) total: usize,
}

/// A checked tree image. Cheap to copy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tree<'a> {
    bytes: &'a [u8],
    table: Table<'a>,
}

impl std::fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree")
            .field("entries", &self.table.layout.entries)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(array(bytes, at)?)).ok()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(array(bytes, at)?))
}

/// Says whether a path has the form that images demand.
pub(crate) fn path_is_normal(path: &str) -> bool {
    path.is_empty()
        || path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'))
}

impl<'a> Table<'a> {
    /// Checks the tables of an image of `total` bytes, of which `head` has at least all before the contents.
    pub(crate) fn parse(name: &str, head: &'a [u8], total: usize) -> Result<Self, ImageError> {
        let field = |field: &str, wanted: String, found: String| ImageError::Field {
            image: name.to_owned(),
            field: field.to_owned(),
            wanted,
            found,
        };
        if head.len() < HEADER_LEN {
            return Err(field(
                "length",
                format!("at least {HEADER_LEN} bytes"),
                format!("{} bytes", head.len()),
            ));
        }
        if head[..8] != MAGIC {
            return Err(field(
                "magic",
                MAGIC.escape_ascii().to_string(),
                head[..8].escape_ascii().to_string(),
            ));
        }
        let claimed = u64_at(head, 8).unwrap_or(0);
        if usize::try_from(claimed) != Ok(total) {
            return Err(field(
                "length",
                format!("{claimed} bytes (from the header)"),
                format!("{total} bytes"),
            ));
        }
        let entries = u32_at(head, 48).unwrap_or(usize::MAX);
        let paths_len = u32_at(head, 52).unwrap_or(usize::MAX);
        let contents = u64_at(head, 56)
            .and_then(|at| usize::try_from(at).ok())
            .unwrap_or(usize::MAX);
        let tables = (|| {
            let paths_at = entries.checked_mul(ENTRY_LEN)?.checked_add(HEADER_LEN)?;
            let end = paths_at.checked_add(paths_len)?;
            let fits = end <= contents && contents <= head.len() && head.len() <= total;
            (fits && contents.is_multiple_of(ALIGNMENT)).then_some((paths_at, end))
        })();
        let Some((paths_at, paths_end)) = tables else {
            return Err(field(
                "tables",
                "entries, paths and contents in that order inside the image".to_owned(),
                format!(
                    "{entries} entries, {paths_len} bytes of paths, contents at {contents}, {total} bytes in all"
                ),
            ));
        };
        let layout = Layout {
            entries,
            paths: (paths_at, paths_end),
            contents,
            total,
        };
        let table = Self { head, layout };
        let mut previous: Option<Stored<'_>> = None;
        let mut directories: Vec<&str> = Vec::new();
        for index in 0..entries {
            let bad = |wanted, found: String| ImageError::Entry {
                image: name.to_owned(),
                index,
                wanted,
                found,
            };
            let entry = table
                .decode(index)
                .map_err(|(wanted, found)| bad(wanted, found))?;
            if let Some(previous) = &previous
                && previous.path >= entry.path
            {
                return Err(bad(
                    "paths in ascending order",
                    format!("{:?} after {:?}", entry.path, previous.path),
                ));
            }
            let parent = entry.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            if !entry.path.is_empty()
                && !parent.is_empty()
                && directories.binary_search(&parent).is_err()
            {
                return Err(bad(
                    "a directory entry for the parent before it",
                    format!("none for {:?}", entry.path),
                ));
            }
            if entry.kind == Kind::Directory {
                directories.push(entry.path);
            }
            previous = Some(entry);
        }
        Ok(table)
    }

    /// Entry `index`, or what is wrong with it as (wanted, found).
    fn decode(&self, index: usize) -> Result<Stored<'a>, (&'static str, String)> {
        let at = HEADER_LEN + index * ENTRY_LEN;
        let raw = self
            .head
            .get(at..at + ENTRY_LEN)
            .ok_or(("an entry inside the image", format!("offset {at}")))?;
        let cut = || ("a whole entry", String::from("a cut one"));
        let paths = self
            .head
            .get(self.layout.paths.0..self.layout.paths.1)
            .unwrap_or_default();
        let path_at = u32_at(raw, 0).ok_or_else(cut)?;
        let path_len = usize::from(u16::from_le_bytes([raw[4], raw[5]]));
        let path = path_at
            .checked_add(path_len)
            .and_then(|end| paths.get(path_at..end))
            .ok_or_else(|| {
                (
                    "a path inside the path table",
                    format!("{path_len} bytes at {path_at} of {}", paths.len()),
                )
            })?;
        let path = std::str::from_utf8(path)
            .map_err(|_| ("a path in UTF-8", path.escape_ascii().to_string()))?;
        if !path_is_normal(path) {
            return Err(("a normal relative path", format!("{path:?}")));
        }
        let kind = match (raw[6], raw[7]) {
            (1, 0) => Kind::Directory,
            (2, 0) => Kind::File,
            (3, 0) => Kind::Symlink,
            other => return Err(("a known kind", format!("{other:?} of {path:?}"))),
        };
        let mode = u32_at(raw, 8)
            .and_then(|mode| u32::try_from(mode).ok())
            .ok_or_else(cut)?;
        if mode & !0o7777 != 0 {
            return Err((
                "permission bits only",
                format!("mode {mode:#o} of {path:?}"),
            ));
        }
        let stored = u32_at(raw, 12).ok_or_else(cut)?;
        let len = u64_at(raw, 16).ok_or_else(cut)?;
        let offset = u64_at(raw, 24)
            .and_then(|at| usize::try_from(at).ok())
            .ok_or_else(cut)?;
        let range = if stored == 0 {
            0..0
        } else {
            offset
                .checked_add(stored)
                .map(|end| offset..end)
                .filter(|range| {
                    range.start >= self.layout.contents && range.end <= self.layout.total
                })
                .ok_or_else(|| {
                    (
                        "contents inside the image",
                        format!("{stored} bytes at {offset} for {path:?}"),
                    )
                })?
        };
        let sound = match kind {
            Kind::Directory => stored == 0 && len == 0,
            Kind::File => len >= stored as u64,
            Kind::Symlink => len == stored as u64 && stored > 0,
        };
        if !sound {
            return Err((
                "a length that fits the kind",
                format!("{stored} stored of {len} bytes, {kind:?} {path:?}"),
            ));
        }
        Ok(Stored {
            path,
            kind,
            mode,
            len,
            range,
        })
    }

    /// By path, parents before children.
    pub(crate) fn stored(self) -> impl ExactSizeIterator<Item = Stored<'a>> + Clone {
        // `parse` has decoded every entry once: a failure here cannot happen, and would show as an empty directory.
        let nothing = Stored {
            path: "",
            kind: Kind::Directory,
            mode: 0,
            len: 0,
            range: 0..0,
        };
        (0..self.layout.entries)
            .map(move |index| self.decode(index).unwrap_or_else(|_| nothing.clone()))
    }

    /// As [`Tree::fingerprint`].
    pub(crate) fn fingerprint(self) -> [u8; 32] {
        array(self.head, 16).unwrap_or_default()
    }
}

impl<'a> Tree<'a> {
    /// Checks the whole structure of `bytes` (not the fingerprint over the contents: see [`Tree::fingerprint`]). `name` is for messages.
    ///
    /// Takes time in proportion to the number of entries, and touches no content but the targets of links.
    ///
    /// # Errors
    /// Fails closed, naming the image, what was wanted and what was found.
    pub fn parse(name: &str, bytes: &'a [u8]) -> Result<Self, ImageError> {
        let table = Table::parse(name, bytes, bytes.len())?;
        let tree = Self { bytes, table };
        for (index, entry) in tree.entries().enumerate() {
            if entry.kind == Kind::Symlink && std::str::from_utf8(entry.contents).is_err() {
                return Err(ImageError::Entry {
                    image: name.to_owned(),
                    index,
                    wanted: "a target in UTF-8",
                    found: entry.contents.escape_ascii().to_string(),
                });
            }
        }
        Ok(tree)
    }

    /// Its tables.
    pub(crate) fn table(self) -> Table<'a> {
        self.table
    }

    fn entry(self, stored: Stored<'a>) -> Entry<'a> {
        Entry {
            path: stored.path,
            kind: stored.kind,
            mode: stored.mode,
            len: stored.len,
            contents: self.bytes.get(stored.range).unwrap_or_default(),
        }
    }

    /// The entries by path, parents before children.
    pub fn entries(self) -> impl ExactSizeIterator<Item = Entry<'a>> + Clone {
        self.table.stored().map(move |stored| self.entry(stored))
    }

    /// The entry at `path` (relative, no leading slash), by binary search.
    #[must_use]
    pub fn get(self, path: &str) -> Option<Entry<'a>> {
        let (mut low, mut high) = (0, self.table.layout.entries);
        while low < high {
            let middle = low.midpoint(high);
            let entry = self.table.decode(middle).ok()?;
            match entry.path.cmp(path) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(self.entry(entry)),
            }
        }
        None
    }

    /// Number of entries.
    #[must_use]
    pub const fn len(self) -> usize {
        self.table.layout.entries
    }

    /// True without entries.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.table.layout.entries == 0
    }

    /// The fingerprint in the header: sha256 of everything behind it, as it was when the image was written. Not computed again here.
    #[must_use]
    pub fn fingerprint(self) -> [u8; 32] {
        self.table.fingerprint()
    }

    /// The bytes that the fingerprint covers.
    #[must_use]
    pub fn fingerprinted(self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// The image itself.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }
}
