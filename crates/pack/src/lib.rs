//! Packs: an extension in one file.
//!
//! A pack is a gzip-compressed tar archive of plain files. The first is `manifest.json` ([`Manifest`]); it lists all others with their lengths and hashes, and says what the pack was built for:
//!
//! ```text
//! manifest.json
//! lib/NAME.so                    a shared object for each library
//! share/extension/NAME.control   what PostgreSQL installs
//! share/extension/NAME--1.0.sql
//! ```
//!
//! [`Pack::read`] reads one as a whole and checks everything about it that can be known without a server; nothing is ever written anywhere. What a pack holds is native code: a
//! hash says that a file is what was packed, and not that its author can be trusted.
#![forbid(unsafe_code)]

mod error;
mod manifest;
mod read;
mod write;

pub use error::PackError;
pub use manifest::{FORMAT, Library, MANIFEST, Manifest, Member};
pub use read::{Pack, PackFile};
pub use write::write;

/// Most bytes of a pack, compressed and unpacked: more is refused before it is read.
pub const MAX_BYTES: u64 = 256 << 20;
/// Most bytes of its manifest.
pub const MAX_MANIFEST: u64 = 1 << 20;
/// Most files.
pub const MAX_FILES: usize = 4096;
/// Most bytes of a file's path.
pub const MAX_PATH: usize = 200;
