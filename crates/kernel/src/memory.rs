//! What the kernel asks of whatever runs guests: address spaces, shared segments, and starting a process.
//!
//! The implementation is the `machine` crate's; the kernel's own tests use a small one of plain vectors.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use crate::errno::Errno;
use crate::image::{BlobWriter, Blobs, LoadError, SaveError, Scope};
use crate::process::Process;

/// An address in a guest's linear memory, in bytes. Not trusted: every use is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GuestAddr(pub u32);

impl GuestAddr {
    /// The null pointer.
    pub const NULL: Self = Self(0);

    /// True for the null pointer.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// This address plus `bytes`, or `EFAULT` past the end of the 32-bit space.
    pub fn offset(self, bytes: u32) -> Result<Self, Errno> {
        self.0.checked_add(bytes).map(Self).ok_or(Errno::EFAULT)
    }
}

impl std::fmt::Debug for GuestAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Size of a guest page in bytes (the host's may be larger; mappings are aligned to [`MAP_GRANULE`]).
pub const PAGE_SIZE: u32 = 4096;
/// Alignment and granularity of shared mappings in bytes: the largest page size of a supported host.
pub const MAP_GRANULE: u32 = 65_536;

/// The linear memory of one guest process.
///
/// Slices stay valid as long as the borrow of the space. Private memory is only touched by the process's own thread
/// (in the guest, or in the kernel on its behalf). Shared segments may be written by other processes while a
/// slice is held: contents are bytes without any promise of consistency, as a `read(2)` into shared memory has.
pub trait AddressSpace: Send + Sync {
    /// `len` readable bytes at `addr`, or `EFAULT`.
    fn bytes(&self, addr: GuestAddr, len: u32) -> Result<&[u8], Errno>;

    /// `len` writable bytes at `addr`, or `EFAULT`.
    #[expect(
        clippy::mut_from_ref,
        reason = "guest memory is shared and interior-mutable by nature; see the trait's contract"
    )]
    fn bytes_mut(&self, addr: GuestAddr, len: u32) -> Result<&mut [u8], Errno>;

    /// The aligned 32-bit word at `addr` as an atomic; `EFAULT`, or `EINVAL` when misaligned.
    fn atomic_u32(&self, addr: GuestAddr) -> Result<&AtomicU32, Errno>;

    /// Maps `len` bytes of `segment` from `offset` at `addr` (all multiples of [`MAP_GRANULE`] except that the tail of the last
    /// granule may lie past the segment's end), replacing what was there.
    fn map_segment(
        &self,
        addr: GuestAddr,
        len: u32,
        segment: &Arc<dyn Segment>,
        offset: u64,
    ) -> Result<(), Errno>;

    /// Makes `[addr, addr+len)` fresh private zero pages again and gives their memory back to the host.
    /// `addr` and `len` are multiples of [`PAGE_SIZE`], and of [`MAP_GRANULE`] when a segment is mapped there.
    fn discard(&self, addr: GuestAddr, len: u32) -> Result<(), Errno>;

    /// A copy of this space, whose process has parked: private memory in `private` (as for [`Machine::fork`]), the parked native stack, and these shared mappings
    /// (address, bytes, segment, offset). Takes memory when it is first used, or when either side writes.
    fn duplicate(
        &self,
        private: &[(GuestAddr, u32)],
        shared: &[(GuestAddr, u32, Arc<dyn Segment>, u64)],
    ) -> Result<Arc<dyn AddressSpace>, Errno>;

    /// This space, whose process is frozen, for an image: pages go to `blobs`, the rest is returned, for [`Machine::load_space`]. `private` is as for [`Self::duplicate`].
    ///
    /// # Errors
    /// [`SaveError::Unsupported`] if the machine has no images, as the default.
    fn save(
        &self,
        _private: &[(GuestAddr, u32)],
        _scope: Scope,
        _blobs: &mut BlobWriter,
    ) -> Result<Vec<u8>, SaveError> {
        Err(SaveError::unsupported("memory of this machine"))
    }

    /// Where `brk` begins: the first byte after the program's data and stack.
    fn heap_base(&self) -> GuestAddr;

    /// For the implementation's own use.
    fn as_any(&self) -> &dyn Any;
}

/// Reads and writes of whole values; little-endian, as wasm is.
pub trait AddressSpaceExt: AddressSpace {
    /// The little-endian `u32` at `addr`.
    fn read_u32(&self, addr: GuestAddr) -> Result<u32, Errno> {
        let bytes = self.bytes(addr, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The little-endian `u64` at `addr`.
    fn read_u64(&self, addr: GuestAddr) -> Result<u64, Errno> {
        let low = u64::from(self.read_u32(addr)?);
        let high = u64::from(self.read_u32(addr.offset(4)?)?);
        Ok(low | high << 32)
    }

    /// Stores a little-endian `u32`.
    fn write_u32(&self, addr: GuestAddr, value: u32) -> Result<(), Errno> {
        self.bytes_mut(addr, 4)?
            .copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// Stores a little-endian `u64`.
    fn write_u64(&self, addr: GuestAddr, value: u64) -> Result<(), Errno> {
        self.bytes_mut(addr, 8)?
            .copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// Copies `bytes` to `addr`.
    fn write(&self, addr: GuestAddr, bytes: &[u8]) -> Result<(), Errno> {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::EFAULT)?;
        self.bytes_mut(addr, len)?.copy_from_slice(bytes);
        Ok(())
    }

    /// The NUL-terminated string at `addr`, without the NUL; `ENAMETOOLONG` when none is found in `max` bytes.
    fn read_c_string(&self, addr: GuestAddr, max: u32) -> Result<Vec<u8>, Errno> {
        let room = (u32::MAX - addr.0).min(max);
        let mut out = Vec::new();
        let mut at = addr.0;
        let end = addr.0.saturating_add(room);
        while at < end {
            // A page at a time, so that a string just below an unmapped page is found.
            let stop = ((at / PAGE_SIZE + 1).saturating_mul(PAGE_SIZE)).min(end);
            let chunk = self.bytes(GuestAddr(at), stop - at)?;
            if let Some(nul) = chunk.iter().position(|&byte| byte == 0) {
                out.extend_from_slice(&chunk[..nul]);
                return Ok(out);
            }
            out.extend_from_slice(chunk);
            at = stop;
        }
        Err(Errno::ENAMETOOLONG)
    }
}

impl<T: AddressSpace + ?Sized> AddressSpaceExt for T {}

/// A piece of memory that several address spaces can map (System V or POSIX shared memory, `MAP_SHARED | MAP_ANONYMOUS`).
/// Freed when the last reference goes.
pub trait Segment: Send + Sync {
    /// Unique in the host process; futexes on shared memory are keyed by it.
    fn id(&self) -> u64;
    /// Current size in bytes.
    fn len(&self) -> u64;
    /// True when the size is zero.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Grows or shrinks; new bytes are zero.
    fn resize(&self, len: u64) -> Result<(), Errno>;
    /// Another segment with the same contents as this one has now, for a kernel in which, while `sole` is true, at most one process that maps it runs.
    fn duplicate(&self, sole: &Arc<AtomicBool>) -> Result<Arc<dyn Segment>, Errno>;
    /// Prepares it for a second process, after `sole` has become false, while the one that has it mapped stands still.
    fn share(&self) -> Result<(), Errno> {
        Ok(())
    }
    /// The segment for an image, as [`AddressSpace::save`].
    ///
    /// # Errors
    /// As there.
    fn save(&self, _blobs: &mut BlobWriter) -> Result<Vec<u8>, SaveError> {
        Err(SaveError::unsupported("shared memory of this machine"))
    }
    /// Copies out of the segment; short at its end.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Errno>;
    /// Copies into the segment; short at its end.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno>;
    /// For the implementation's own use.
    fn as_any(&self) -> &dyn Any;
}

/// Where a new thread of control begins.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// `guest_start(argc, argv, envp)`; the block at `argv`/`envp` is already in the space.
    Start {
        /// Number of arguments.
        argc: u32,
        /// Guest address of the argument vector.
        argv: GuestAddr,
        /// Guest address of the environment vector.
        envp: GuestAddr,
    },
    /// `guest_fork_child(function, arg)` in a copy of the parent.
    ForkChild {
        /// Index in the guest's function table.
        function: u32,
        /// Passed to it.
        arg: u32,
    },
    /// Where the process parked ([`crate::syscalls::Outcome::Park`]): it makes the same call again.
    Resume,
}

/// Whatever can run guests.
pub trait Machine: Send + Sync {
    /// A new shared segment of `len` zero bytes.
    fn create_segment(&self, len: u64) -> Result<Arc<dyn Segment>, Errno>;

    /// A fresh address space holding the program called `name` (`"postgres"`, `"initdb"`), not started; `ENOENT` when there is none.
    fn load(&self, name: &str) -> Result<Arc<dyn AddressSpace>, Errno>;

    /// A copy of `parent`, as `fork(2)` makes it: private memory in `private` (page ranges in use: data, stack, heap, private mappings) copied (on write where
    /// the machine can), everything else fresh. Shared segments are mapped afterwards by the caller. Called on the parent's own thread.
    fn fork(
        &self,
        parent: &dyn AddressSpace,
        private: &[(GuestAddr, u32)],
    ) -> Result<Arc<dyn AddressSpace>, Errno>;

    /// What an image must have been saved by to be loaded here: the program and all that its memory refers to.
    ///
    /// # Errors
    /// [`SaveError::Unsupported`] if the machine has no images, as the default, or cannot say.
    fn identity(&self, _scope: Scope) -> Result<Vec<u8>, SaveError> {
        Err(SaveError::unsupported("memory of this machine"))
    }

    /// The space that [`AddressSpace::save`] described, frozen, with these shared mappings. Pages are unpacked when they are first wanted.
    ///
    /// # Errors
    /// See [`LoadError`].
    fn load_space(
        &self,
        _record: &[u8],
        _scope: Scope,
        _blobs: &Blobs,
        _shared: &[(GuestAddr, u32, Arc<dyn Segment>, u64)],
    ) -> Result<Arc<dyn AddressSpace>, LoadError> {
        Err(LoadError::Foreign("this machine has no images"))
    }

    /// The segment that [`Segment::save`] described, for a kernel as [`Segment::duplicate`] has it.
    ///
    /// # Errors
    /// See [`LoadError`].
    fn load_segment(
        &self,
        _record: &[u8],
        _blobs: &Blobs,
        _sole: &Arc<AtomicBool>,
    ) -> Result<Arc<dyn Segment>, LoadError> {
        Err(LoadError::Foreign("this machine has no images"))
    }

    /// Runs `process` from `entry` on a thread. When the guest is done (exit, kill, trap), on that same thread, the machine calls [`Process::finish`]
    /// exactly once. System calls of the guest go to [`crate::syscalls::dispatch`]. When one answers [`crate::syscalls::Outcome::Park`], the machine takes the
    /// guest off the thread and asks [`Process::parked`] whether to go on; [`Entry::Resume`] begins with [`Process::unpark`]. Takes no lock of the kernel's.
    fn start(&self, process: Arc<Process>, entry: Entry) -> Result<(), Errno>;

    /// Resumes `process` on the calling thread, if it is dormant, and returns when it has parked or ended.
    fn carry(&self, process: Arc<Process>) {
        let _ = self.start(process, Entry::Resume);
    }

    /// Makes the thread of `process` leave the guest if it runs there without ever calling the kernel. The process has been told to end already.
    /// The default does nothing: the thread leaves at its next call.
    fn interrupt(&self, _process: &Process) {}

    /// Bytes of native stack each guest thread has; `RLIMIT_STACK` answers less.
    fn native_stack_size(&self) -> u64;
}
