//! The address space of one guest process.

use std::any::Any;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::memory::{AddressSpace, GuestAddr, Segment};

use crate::image::Image;
use crate::module::{CONTEXT_SPAN, Context, FIRST_BYTE, INSTANCE_SPAN, MEMORY_SIZE, Module};
use crate::segment::MemorySegment;
use crate::sys::{self, Reservation};

/// Bytes reserved behind the guest's byte 0: a 32-bit address plus a 32-bit offset stays inside.
const GUEST_SPAN: usize = 8 << 30;

/// Spaces alive in this host process.
pub(crate) static LIVE: AtomicUsize = AtomicUsize::new(0);

/// A reservation with instance prefix and guest memory mapped as zero pages.
pub(crate) struct Memory {
    reservation: Reservation,
}

/// A fresh memory.
pub(crate) fn zero_memory() -> Result<Memory, Errno> {
    let reservation = Reservation::new(INSTANCE_SPAN + GUEST_SPAN)?;
    reservation.map_zero(0, INSTANCE_SPAN)?;
    reservation.map_zero(
        INSTANCE_SPAN + FIRST_BYTE as usize,
        (MEMORY_SIZE - FIRST_BYTE) as usize,
    )?;
    Ok(Memory { reservation })
}

impl Memory {
    /// Where the instance lies.
    pub(crate) fn instance(&self) -> *mut u8 {
        self.reservation.start().as_ptr()
    }

    /// Where the context lies.
    pub(crate) fn context(&self) -> *mut Context {
        // SAFETY: INSTANCE_SPAN - CONTEXT_SPAN is inside the reservation; it is page-aligned, so aligned for Context.
        unsafe { self.instance().add(INSTANCE_SPAN - CONTEXT_SPAN) }.cast()
    }

    /// The host address of a guest address.
    pub(crate) fn byte(&self, at: u32) -> *mut u8 {
        // SAFETY: any 32-bit offset from byte 0 is inside the reservation.
        unsafe { self.instance().add(INSTANCE_SPAN + at as usize) }
    }

    /// True if the host address belongs to this space.
    pub(crate) fn contains(&self, address: usize) -> bool {
        let start = self.instance().addr();
        (start..start + self.reservation.size()).contains(&address)
    }

    fn offset(at: u32) -> usize {
        INSTANCE_SPAN + at as usize
    }
}

/// A guest's linear memory, with the instance and context below it.
///
/// **Invariant:** `[FIRST_BYTE, MEMORY_SIZE)` is always mapped readable and writable, so a checked address never faults, except past the end of a
/// shared segment that was made smaller.
pub struct Space {
    memory: Memory,
    module: &'static Module,
    image: Arc<Image>,
    /// Where segments are mapped: start and end. Discarding there needs a new mapping instead of advice.
    shared: Mutex<Vec<(u32, u32)>>,
}

impl Space {
    /// A space that holds a program, not started.
    pub(crate) fn load(module: &'static Module, image: &Arc<Image>) -> Result<Self, Errno> {
        let memory = zero_memory()?;
        image.map_into(&memory.reservation)?;
        let space = Self {
            memory,
            module,
            image: Arc::clone(image),
            shared: Mutex::default(),
        };
        LIVE.fetch_add(1, Ordering::Relaxed);
        image.init_globals(&space);
        Ok(space)
    }

    /// A copy of this space, as far as `private` says; called on the guest's own thread while it is in the kernel.
    pub(crate) fn fork(&self, private: &[(GuestAddr, u32)]) -> Result<Self, Errno> {
        let child = Self::load(self.module, &self.image)?;
        for &(start, len) in private {
            let end = u64::from(start.0) + u64::from(len);
            if start.0 < FIRST_BYTE || end > u64::from(MEMORY_SIZE) {
                return Err(Errno::EFAULT);
            }
            self.copy_dirty(&child, start.0, len as usize);
        }
        // SAFETY: both are instances of the same module; the parent is in the kernel and the child has not started.
        unsafe {
            self.module
                .fork_instance(child.memory.instance(), self.memory.instance().cast_const());
        };
        Ok(child)
    }

    fn copy_dirty(&self, child: &Self, start: u32, len: usize) {
        let (from, to) = (
            self.memory.byte(start).cast_const(),
            child.memory.byte(start),
        );
        let copy = |offset: usize, len: usize| {
            // SAFETY: the run lies in [start, start + len), mapped in both spaces (the type's invariant). The parent's own thread is here, so nothing
            // writes there; the child has not started. The spaces are different reservations, so they do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(from.add(offset), to.add(offset), len) };
        };
        let page = sys::page_size();
        if sys::dirty_runs(from, len, copy) {
            return;
        }
        // A host that does not tell: copy every page that differs.
        for offset in (0..len).step_by(page) {
            let size = page.min(len - offset);
            // SAFETY: as above, for reading.
            let (old, new) = unsafe {
                (
                    std::slice::from_raw_parts(from.add(offset), size),
                    std::slice::from_raw_parts(to.add(offset).cast_const(), size),
                )
            };
            if old != new {
                copy(offset, size);
            }
        }
    }

    pub(crate) fn module(&self) -> &'static Module {
        self.module
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    fn checked(&self, addr: GuestAddr, len: u32) -> Result<*mut u8, Errno> {
        let end = u64::from(addr.0) + u64::from(len);
        if addr.0 < FIRST_BYTE || end > u64::from(MEMORY_SIZE) {
            // An empty range is nowhere, so any address will do.
            if len == 0 {
                return Ok(self.memory.byte(FIRST_BYTE));
            }
            return Err(Errno::EFAULT);
        }
        Ok(self.memory.byte(addr.0))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AddressSpace for Space {
    fn bytes(&self, addr: GuestAddr, len: u32) -> Result<&[u8], Errno> {
        let start = self.checked(addr, len)?;
        // SAFETY: the range is mapped for as long as the space lives. Private memory changes only through the guest's own thread, which is in the kernel while this
        // slice is used; shared segments are treated as bytes without consistency (the trait's contract).
        Ok(unsafe { std::slice::from_raw_parts(start, len as usize) })
    }

    fn bytes_mut(&self, addr: GuestAddr, len: u32) -> Result<&mut [u8], Errno> {
        let start = self.checked(addr, len)?;
        // SAFETY: as `bytes`; the kernel holds one slice of a range at a time.
        Ok(unsafe { std::slice::from_raw_parts_mut(start, len as usize) })
    }

    fn atomic_u32(&self, addr: GuestAddr) -> Result<&AtomicU32, Errno> {
        if !addr.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let start = self.checked(addr, 4)?;
        // SAFETY: mapped, aligned, and only accessed atomically or by the guest's own instructions.
        Ok(unsafe { AtomicU32::from_ptr(start.cast()) })
    }

    fn map_segment(
        &self,
        addr: GuestAddr,
        len: u32,
        segment: &Arc<dyn Segment>,
        offset: u64,
    ) -> Result<(), Errno> {
        let segment = segment
            .as_any()
            .downcast_ref::<MemorySegment>()
            .ok_or(Errno::EINVAL)?;
        self.checked(addr, len)?;
        self.memory.reservation.map_file(
            Memory::offset(addr.0),
            len as usize,
            segment.file(),
            offset,
            true,
        )?;
        self.shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((addr.0, addr.0 + len));
        Ok(())
    }

    fn discard(&self, addr: GuestAddr, len: u32) -> Result<(), Errno> {
        self.checked(addr, len)?;
        let (start, end) = (addr.0, addr.0 + len);
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let touches = shared.iter().any(|&(from, to)| from < end && start < to);
        if !touches {
            self.memory
                .reservation
                .discard(Memory::offset(start), len as usize)?;
            return Ok(());
        }
        self.memory
            .reservation
            .map_zero(Memory::offset(start), len as usize)?;
        // What is left of the segments' ranges on either side.
        let left: Vec<_> = shared
            .iter()
            .flat_map(|&(from, to)| [(from, to.min(start)), (from.max(end), to)])
            .filter(|(from, to)| from < to)
            .collect();
        *shared = left;
        Ok(())
    }

    fn heap_base(&self) -> GuestAddr {
        GuestAddr(self.module.heap_base())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
