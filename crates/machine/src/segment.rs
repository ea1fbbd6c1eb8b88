//! Shared memory: a memory object of the host that several spaces map.

use std::any::Any;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::memory::Segment;

use crate::sys;

/// A segment.
pub struct MemorySegment {
    id: u64,
    file: File,
    len: AtomicU64,
}

impl MemorySegment {
    /// `len` zero bytes.
    pub fn new(len: u64) -> Result<Self, Errno> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let file = sys::memory_object(c"pglite-shared", len)?;
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            file,
            len: AtomicU64::new(len),
        })
    }

    /// The host's object.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Segment for MemorySegment {
    fn id(&self) -> u64 {
        self.id
    }

    fn len(&self) -> u64 {
        self.len.load(Ordering::SeqCst)
    }

    fn resize(&self, len: u64) -> Result<(), Errno> {
        self.file.set_len(len)?;
        self.len.store(len, Ordering::SeqCst);
        Ok(())
    }

    fn duplicate(&self) -> Result<Arc<dyn Segment>, Errno> {
        let copy = Self::new(self.len())?;
        sys::copy_data(&self.file, &copy.file, self.len())?;
        Ok(Arc::new(copy))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        Ok(self.file.read_at(out, offset)?)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let room = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        Ok(self
            .file
            .write_at(&bytes[..bytes.len().min(room)], offset)?)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
