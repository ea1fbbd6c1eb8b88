//! Images: frozen kernels ([`Kernel::duplicate`]) as bytes, from which the same program makes the same kernel again, in this process or in another one.
//!
//! An image holds what is the kernel's own. What the program has anyway is only named in it: trees of files and single files that are given by whoever saves and loads, and
//! the tree a file system in memory began as, of which only the differences are written. Memory of guests is the machine's business
//! ([`crate::memory::AddressSpace::save`]). Whatever cannot be saved is a [`SaveError`] that names it.
//!
//! ```text
//! u32      bytes of the head
//! head     sizes of everything after it (postcard)
//! record   a KernelRecord (postcard), LZ4
//! zeros    up to a multiple of ALIGNMENT
//! pages    those of shared memory as they are, to be mapped from here
//! pieces   other pages and contents of files, each LZ4 by itself or as it is: read and unpacked when they are wanted
//! ```
//!
//! The format is of one build only: whoever keeps an image keeps a fingerprint with it. What is read is checked all the same, so that damage is an error; that pieces are what
//! they were is for whoever keeps the image to check when it opens, by a checksum, since they are read much later.

mod blobs;
mod load;
pub(crate) mod pieces;
pub(crate) mod record;
mod save;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::errno::Errno;
use crate::file::File;
use crate::fs::FileSystem;
use crate::fs::mem::MemFs;
use crate::kernel::Kernel;
use crate::memory::Machine;
use crate::net::HostStream;

pub use blobs::{Blob, BlobWriter, Blobs, ImageBytes};
pub(crate) use load::{Loader, file_kind};
pub use pieces::Pieces;
pub use record::{FileRecord, FsRecord};
pub use save::Saver;

/// Why a kernel cannot be saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// It is not frozen: save a copy of it.
    #[error("the kernel runs; only a frozen copy of one can be saved")]
    Running,
    /// Something of it has no form in an image.
    #[error("{what} cannot be saved in an image")]
    Unsupported {
        /// What it is.
        what: String,
    },
    /// A process keeps an address of the host that means nothing in another process.
    #[error("{place} holds the host's address {address:#x}, which has no name in an image")]
    Address {
        /// Where it was found.
        place: String,
        /// The address.
        address: usize,
    },
    /// Memory could not be read.
    #[error("memory could not be read for an image")]
    Kernel(#[from] Errno),
}

impl SaveError {
    /// For something that has no form.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is no image, or not whole.
    #[error("the image is damaged: {0}")]
    Damaged(&'static str),
    /// It is of another program or build.
    #[error("the image is of another build: {0}")]
    Foreign(&'static str),
    /// It needs something that was not given.
    #[error("the image needs {0}, which was not given")]
    Missing(String),
    /// Its file cannot be read.
    #[error("the image's file cannot be read")]
    Read(#[source] std::io::Error),
    /// There is no memory for it.
    #[error("no memory for the image")]
    Kernel(#[from] Errno),
}

/// Bytes: pages that are stored as they were begin at a multiple of it from the image's start, so that they can be mapped from where they are.
pub const ALIGNMENT: usize = 4096;

/// Which programs can open an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// The executable that wrote it, in other processes.
    #[default]
    Executable,
    /// All that the same compiled guests are linked into.
    Build,
}

/// What a kernel that is saved shares with the program.
#[derive(Default)]
pub struct SaveOptions<'a> {
    /// Who shall be able to open it.
    pub scope: Scope,
    /// Files that are only named, by their order.
    pub files: &'a [Arc<dyn File>],
    /// Trees that are only named.
    pub trees: &'a [(&'a str, Arc<dyn FileSystem>)],
    /// What the file systems in memory at these mounts began as.
    pub bases: &'a [(&'a str, &'a MemFs)],
    /// Connections that go on, their ends of the host.
    pub keep: &'a [&'a HostStream],
}

/// What a kernel that is loaded gets from the program: the same as [`SaveOptions`] named.
pub struct LoadOptions<'a> {
    /// Runs the guests.
    pub machine: Arc<dyn Machine>,
    /// By their order.
    pub files: &'a [Arc<dyn File>],
    /// By their names.
    pub trees: &'a [(&'a str, Arc<dyn FileSystem>)],
    /// What the file systems in memory at these mounts began as.
    pub bases: &'a [(&'a str, &'a MemFs)],
    /// As for a new kernel.
    pub test_hooks: bool,
    /// As for a new kernel.
    pub trace: bool,
}

/// A kernel that was loaded, frozen, and its ends of the connections that were kept.
pub struct Loaded {
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// The connections, in order.
    pub streams: Vec<HostStream>,
}

impl Kernel {
    /// This frozen kernel as bytes.
    ///
    /// # Errors
    /// See [`SaveError`].
    pub fn save(&self, options: &SaveOptions<'_>) -> Result<Vec<u8>, SaveError> {
        save::kernel(self, options)
    }

    /// The kernel that was saved, frozen as it was: the time between does not count.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(image: &ImageBytes, options: &LoadOptions<'_>) -> Result<Loaded, LoadError> {
        load::kernel(image, options)
    }
}
