//! Writing tree images; used when assets are built.

use std::collections::{BTreeMap, HashMap};

use thiserror::Error;

use crate::image::{ALIGNMENT, ENTRY_LEN, HEADER_LEN, Kind, MAGIC, path_is_normal};
use crate::packed::{CHUNK, PIECE};

/// Changes when the same tree is laid out otherwise: an input of whatever keeps images.
pub const LAYOUT: u32 = 2;

/// Why an image cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The path is absolute, has empty, `.` or `..` components, or is longer than 65,535 bytes.
    #[error("{0:?} is no normal relative path")]
    Path(String),
    /// The path was added before.
    #[error("{0:?} was added twice")]
    Twice(String),
    /// The directory above was never added, or is none.
    #[error("{0:?} has no parent directory in the image")]
    NoParent(String),
    /// One file has 4 GiB or more.
    #[error("{0:?} is too large")]
    TooLarge(String),
}

struct Node {
    kind: Kind,
    mode: u32,
    len: u64,
    contents: Vec<u8>,
}

/// Collects a tree and lays it out. The result depends on the tree alone, not on the order of the calls.
#[derive(Default)]
pub struct TreeWriter {
    nodes: BTreeMap<String, Node>,
}

impl TreeWriter {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn add(&mut self, path: &str, node: Node) -> Result<(), WriteError> {
        if !path_is_normal(path) || u16::try_from(path.len()).is_err() {
            return Err(WriteError::Path(path.to_owned()));
        }
        if u32::try_from(node.contents.len()).is_err() {
            return Err(WriteError::TooLarge(path.to_owned()));
        }
        if self.nodes.contains_key(path) {
            return Err(WriteError::Twice(path.to_owned()));
        }
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// Adds a directory; `mode` is its permission bits.
    ///
    /// # Errors
    /// On a bad or repeated path.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<(), WriteError> {
        self.add(
            path,
            Node {
                kind: Kind::Directory,
                mode: mode & 0o7777,
                len: 0,
                contents: Vec::new(),
            },
        )
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// On a bad or repeated path, or 4 GiB and more.
    pub fn file(&mut self, path: &str, mode: u32, mut contents: Vec<u8>) -> Result<(), WriteError> {
        let len = contents.len() as u64;
        let stored = contents
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        // The end of the last page is kept, so that whole pages can be used in place.
        contents.truncate(stored.next_multiple_of(ALIGNMENT).min(contents.len()));
        if stored == 0 {
            contents.clear();
        }
        self.add(
            path,
            Node {
                kind: Kind::File,
                mode: mode & 0o7777,
                len,
                contents,
            },
        )
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// On a bad or repeated path, or an empty target.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), WriteError> {
        if target.is_empty() {
            return Err(WriteError::Path(path.to_owned()));
        }
        let contents = target.as_bytes().to_vec();
        self.add(
            path,
            Node {
                kind: Kind::Symlink,
                mode: 0o777,
                len: contents.len() as u64,
                contents,
            },
        )
    }

    /// Number of entries so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True without entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Lays the image out. `sha256` computes the fingerprint (kept out of this crate, whose users need no hash).
    ///
    /// # Errors
    /// When a parent directory is missing.
    pub fn finish(self, sha256: impl FnOnce(&[u8]) -> [u8; 32]) -> Result<Vec<u8>, WriteError> {
        for path in self.nodes.keys() {
            if let Some((parent, _)) = path.rsplit_once('/')
                && self
                    .nodes
                    .get(parent)
                    .is_none_or(|node| node.kind != Kind::Directory)
            {
                return Err(WriteError::NoParent(path.clone()));
            }
        }
        let paths_len: usize = self.nodes.keys().map(String::len).sum();
        let contents_at =
            (HEADER_LEN + self.nodes.len() * ENTRY_LEN + paths_len).next_multiple_of(ALIGNMENT);
        let mut table = Vec::with_capacity(self.nodes.len() * ENTRY_LEN);
        let mut paths = Vec::with_capacity(paths_len);
        let mut contents: Vec<u8> = Vec::new();
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        // Large contents first, each on its own pages; the small ones fill the end without gaps.
        let mut order: Vec<(&String, &Node)> = self
            .nodes
            .iter()
            .filter(|(_, node)| !node.contents.is_empty())
            .collect();
        order.sort_by_key(|(_, node)| node.contents.len() < ALIGNMENT);
        for (_, node) in &order {
            if !known.contains_key(node.contents.as_slice()) {
                let len = node.contents.len();
                let align = match len {
                    0..ALIGNMENT => 16,
                    ALIGNMENT..=CHUNK => ALIGNMENT,
                    _ => CHUNK,
                };
                let mut at = contents.len().next_multiple_of(align);
                if at / PIECE != (at + len.min(CHUNK) - 1) / PIECE {
                    at = at.next_multiple_of(PIECE);
                }
                contents.resize(at, 0);
                known.insert(&node.contents, contents_at + contents.len());
                contents.extend_from_slice(&node.contents);
            }
        }
        for (path, node) in &self.nodes {
            let too_large = || WriteError::TooLarge(path.clone());
            table.extend_from_slice(
                &u32::try_from(paths.len())
                    .map_err(|_| too_large())?
                    .to_le_bytes(),
            );
            table.extend_from_slice(
                &u16::try_from(path.len())
                    .map_err(|_| too_large())?
                    .to_le_bytes(),
            );
            table.extend_from_slice(&[node.kind as u8, 0]);
            table.extend_from_slice(&node.mode.to_le_bytes());
            table.extend_from_slice(
                &u32::try_from(node.contents.len())
                    .map_err(|_| too_large())?
                    .to_le_bytes(),
            );
            table.extend_from_slice(&node.len.to_le_bytes());
            let at = known.get(node.contents.as_slice()).copied().unwrap_or(0);
            table.extend_from_slice(&(at as u64).to_le_bytes());
            paths.extend_from_slice(path.as_bytes());
        }
        let mut image = vec![0; HEADER_LEN];
        image.extend_from_slice(&table);
        image.extend_from_slice(&paths);
        image.resize(contents_at, 0);
        image.extend_from_slice(&contents);
        let total = image.len() as u64;
        image[..8].copy_from_slice(&MAGIC);
        image[8..16].copy_from_slice(&total.to_le_bytes());
        image[48..52].copy_from_slice(
            &u32::try_from(self.nodes.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        image[52..56]
            .copy_from_slice(&u32::try_from(paths.len()).unwrap_or(u32::MAX).to_le_bytes());
        image[56..64].copy_from_slice(&(contents_at as u64).to_le_bytes());
        let fingerprint = sha256(&image[HEADER_LEN..]);
        image[16..48].copy_from_slice(&fingerprint);
        Ok(image)
    }
}
