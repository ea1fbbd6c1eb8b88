//! The address space of one guest process.
//!
//! ```text
//! 0            guard
//! GUARD        native stack, growing down from STACK_SPAN
//! STACK_SPAN   the instance, and CONTEXT_SPAN below byte 0 the context
//! BYTE_0       linear memory: 4 GiB, less the first and the last 64 KiB; then 4 GiB that are never mapped
//! ```
//!
//! A space that was copied is mapped when it is first used: most processes of a copied cluster never run.

use std::any::Any;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::image::{BlobWriter, SaveError, Scope};
use pglite_oxide_kernel::memory::{AddressSpace, GuestAddr, Segment};

use crate::frozen::{Frozen, Then};
use crate::image::Image;
use crate::module::{CONTEXT_SPAN, Context, FIRST_BYTE, INSTANCE_SPAN, MEMORY_SIZE, Module};
use crate::places;
use crate::saved;
use crate::segment::MemorySegment;
use crate::spare::{Spare, Spares};
use crate::sys::{self, Reservation};

/// Bytes of native stack, the guard below it included, committed as they are used. Compiled frames are larger than the guest's own; the guest is told of half.
pub(crate) const STACK_SPAN: usize = 16 << 20;
pub(crate) const GUARD: usize = 64 << 10;
const BYTE_0: usize = STACK_SPAN + INSTANCE_SPAN;
/// Bytes reserved behind the guest's byte 0: a 32-bit address plus a 32-bit offset stays inside.
const GUEST_SPAN: usize = 8 << 30;
/// Bytes of the whole.
pub(crate) const SPAN: usize = BYTE_0 + GUEST_SPAN;

/// Where spaces begin: they differ only in the upper halves of their addresses. A word of a native stack whose lower half is a guest's value and whose upper half is left
/// over from an address looks like one, and moving it (`pgl_relocate`) must not change the value.
const ALIGN: usize = 4 << 30;

/// Spaces mapped in this host process.
pub(crate) static LIVE: AtomicUsize = AtomicUsize::new(0);

/// A reservation with native stack, instance prefix and guest memory mapped as zero pages.
pub(crate) struct Memory {
    reservation: Reservation,
    /// It did not begin as its mappings say, but where they differ its pages are its own.
    pub(crate) is_inherited: bool,
}

/// A fresh memory.
pub(crate) fn zero_memory() -> Result<Memory, Errno> {
    let reservation = Reservation::uncommon(SPAN, ALIGN)?;
    reservation.map_zero(GUARD, BYTE_0 - GUARD)?;
    reservation.map_zero(
        Memory::offset(FIRST_BYTE),
        (MEMORY_SIZE - FIRST_BYTE) as usize,
    )?;
    LIVE.fetch_add(1, Ordering::Relaxed);
    Ok(Memory {
        reservation,
        is_inherited: false,
    })
}

impl Drop for Memory {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Memory {
    /// Its first address.
    pub(crate) fn start(&self) -> *mut u8 {
        self.reservation.start().as_ptr()
    }

    /// Where the instance lies, and the native stack begins.
    pub(crate) fn instance(&self) -> *mut u8 {
        // SAFETY: inside the reservation.
        unsafe { self.start().add(STACK_SPAN) }
    }

    /// Where the context lies.
    pub(crate) fn context(&self) -> *mut Context {
        // SAFETY: inside the reservation; it is page-aligned, so aligned for Context.
        unsafe { self.start().add(BYTE_0 - CONTEXT_SPAN) }.cast()
    }

    /// The host address of a guest address.
    pub(crate) fn byte(&self, at: u32) -> *mut u8 {
        // SAFETY: any 32-bit offset from byte 0 is inside the reservation.
        unsafe { self.start().add(Self::offset(at)) }
    }

    /// True if the host address belongs to this space.
    pub(crate) fn contains(&self, address: usize) -> bool {
        let start = self.start().addr();
        (start..start + self.reservation.size()).contains(&address)
    }

    pub(crate) fn reservation(&self) -> &Reservation {
        &self.reservation
    }

    /// Where a guest address is in the reservation.
    pub(crate) fn offset(at: u32) -> usize {
        BYTE_0 + at as usize
    }

    /// A page of it that is mapped: offset in the reservation.
    fn page(&mut self, offset: usize) -> &mut [u8] {
        // SAFETY: the caller's page is mapped, and whoever has the memory mutably is alone with it.
        unsafe { std::slice::from_raw_parts_mut(self.start().add(offset), sys::page_size()) }
    }
}

/// A segment in a space.
#[derive(Clone)]
struct Shared {
    from: u32,
    to: u32,
    segment: Arc<dyn Segment>,
    /// Of the segment's byte at `from`.
    offset: u64,
}

impl Shared {
    fn segment(&self) -> Result<&MemorySegment, Errno> {
        self.segment.as_any().downcast_ref().ok_or(Errno::EINVAL)
    }

    /// What it has of `[start, end)` in this memory is going away.
    fn unmapped(&self, memory: &Memory, (start, end): (u32, u32)) {
        let (from, to) = (self.from.max(start), self.to.min(end));
        if from < to
            && let Ok(segment) = self.segment()
        {
            segment.unmapped(&(memory.byte(from).addr()..memory.byte(to).addr()));
        }
    }
}

/// A guest's linear memory, with native stack, instance and context below it.
///
/// **Invariant:** once it is mapped, `[FIRST_BYTE, MEMORY_SIZE)` is readable and writable, so a checked address never faults, except past the end of a
/// shared segment that was made smaller.
pub struct Space {
    module: &'static Module,
    image: Arc<Image>,
    /// What it is a copy of.
    frozen: Option<Arc<Frozen>>,
    memory: OnceLock<Memory>,
    /// Also held while the space is being mapped.
    mapped: Mutex<Mapped>,
    last: Mutex<Last>,
}

/// What a space was frozen as last: the next time only the difference is copied. The pages stay in memory for it as long as the space does.
#[derive(Default)]
struct Last {
    frozen: Option<Arc<Frozen>>,
    /// It has not run since.
    current: bool,
    /// Ranges of `frozen` that were discarded since.
    discarded: Vec<(u32, u32)>,
}

#[derive(Default)]
struct Mapped {
    /// Where segments are. Discarding there needs a new mapping instead of advice.
    shared: Vec<Shared>,
    /// Ranges of `frozen` that were discarded: copies of this space must not show them again.
    zeroed: Vec<(u32, u32)>,
}

impl Space {
    /// A space that holds a program, not started.
    pub(crate) fn load(module: &'static Module, image: &Arc<Image>) -> Result<Self, Errno> {
        let space = Self {
            module,
            image: Arc::clone(image),
            frozen: None,
            memory: OnceLock::new(),
            mapped: Mutex::default(),
            last: Mutex::default(),
        };
        space.memory()?;
        Ok(space)
    }

    /// A space that is a copy of a frozen one, with these shared mappings.
    pub(crate) fn of_frozen(
        module: &'static Module,
        image: &Arc<Image>,
        frozen: Arc<Frozen>,
        shared: &[(GuestAddr, u32, Arc<dyn Segment>, u64)],
    ) -> Self {
        let shared = shared
            .iter()
            .map(|(addr, len, segment, offset)| Shared {
                from: addr.0,
                to: addr.0 + len,
                segment: Arc::clone(segment),
                offset: *offset,
            })
            .collect();
        Self {
            module,
            image: Arc::clone(image),
            frozen: Some(frozen),
            memory: OnceLock::new(),
            mapped: Mutex::new(Mapped {
                shared,
                zeroed: Vec::new(),
            }),
            last: Mutex::default(),
        }
    }

    fn mapped(&self) -> MutexGuard<'_, Mapped> {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is going to run: what it was frozen as is not what it is any more, nor are its segments what they were copied as.
    pub(crate) fn runs(&self) {
        self.last().current = false;
        for entry in &self.mapped().shared {
            if let Ok(segment) = entry.segment() {
                segment.touch();
            }
        }
    }

    /// The mapped memory; maps it at the first use.
    pub(crate) fn memory(&self) -> Result<&Memory, Errno> {
        if let Some(memory) = self.memory.get() {
            return Ok(memory);
        }
        let mapped = self.mapped();
        if let Some(memory) = self.memory.get() {
            return Ok(memory);
        }
        let memory = self.map_private()?;
        if let Some(frozen) = &self.frozen {
            frozen.thaw(self.module, &memory);
        }
        for entry in &mapped.shared {
            map_shared(&memory, entry)?;
        }
        // Nobody else sets it: the lock is held.
        Ok(self.memory.get_or_init(|| memory))
    }

    /// Memory with what this space began with, but for the native stack.
    fn map_private(&self) -> Result<Memory, Errno> {
        let renewed = self
            .spares()
            .take()
            .and_then(|spare| self.renew(spare).ok());
        let memory = match renewed {
            Some(memory) => memory,
            None => {
                let memory = zero_memory()?;
                self.image.map_into(memory.reservation())?;
                if let Some(frozen) = &self.frozen {
                    frozen.map_into(&memory)?;
                }
                memory
            }
        };
        self.image.init_globals(self.module, &memory);
        Ok(memory)
    }

    /// The memories of processes that began as this one.
    fn spares(&self) -> &Spares {
        match &self.frozen {
            Some(frozen) => &frozen.spares,
            None => &self.image.spares,
        }
    }

    /// Makes another's memory what it was when that began.
    fn renew(&self, spare: Spare) -> Result<Memory, Errno> {
        let Spare {
            mut memory,
            written,
            ..
        } = spare;
        let page = sys::page_size();
        for run in written {
            for offset in run.step_by(page) {
                let offset = usize::try_from(offset).map_err(|_| Errno::EFAULT)?;
                let began = match offset.checked_sub(BYTE_0) {
                    Some(at) => self.began(u32::try_from(at).map_err(|_| Errno::EFAULT)?)?,
                    None => Then::Zero,
                };
                match began {
                    Then::Bytes(began) => memory.page(offset).copy_from_slice(began),
                    Then::Zero => memory.page(offset).fill(0),
                    Then::Image => memory.reservation.discard(offset, page)?,
                }
            }
        }
        Ok(memory)
    }

    /// What this space began with at a page; [`Then::Image`] for constants, which only their mapping shows.
    fn began(&self, at: u32) -> Result<Then<'_>, Errno> {
        let then = match &self.frozen {
            Some(frozen) => frozen.then(u64::from(at))?,
            None => Then::Image,
        };
        if !matches!(then, Then::Image) || self.image.is_constant(at) {
            return Ok(then);
        }
        Ok(self.image.page(at)?.map_or(Then::Zero, Then::Bytes))
    }

    /// A copy of this space, as far as `private` says; called on the guest's own thread while it is in the kernel.
    pub(crate) fn fork(&self, private: &[(GuestAddr, u32)]) -> Result<Self, Errno> {
        let parent = self.memory()?;
        let memory = self.map_private()?;
        let zeroed = self.mapped().zeroed.clone();
        for &(start, end) in &zeroed {
            memory
                .reservation
                .map_zero(Memory::offset(start), (end - start) as usize)?;
        }
        for &(start, len) in private {
            check_range(start.0, len)?;
            copy_dirty(parent, &memory, start.0, len as usize);
        }
        // SAFETY: both are instances of the same module; the parent is in the kernel and the child has not started.
        unsafe {
            self.module
                .fork_instance(memory.instance(), parent.instance().cast_const());
        };
        let child = Self {
            module: self.module,
            image: Arc::clone(&self.image),
            frozen: self.frozen.clone(),
            memory: OnceLock::new(),
            mapped: Mutex::new(Mapped {
                shared: Vec::new(),
                zeroed,
            }),
            last: Mutex::default(),
        };
        let _ = child.memory.set(memory);
        Ok(child)
    }

    pub(crate) fn module(&self) -> &'static Module {
        self.module
    }

    fn checked(&self, addr: GuestAddr, len: u32) -> Result<*mut u8, Errno> {
        let memory = self.memory()?;
        let end = u64::from(addr.0) + u64::from(len);
        if addr.0 < FIRST_BYTE || end > u64::from(MEMORY_SIZE) {
            // An empty range is nowhere, so any address will do.
            if len == 0 {
                return Ok(memory.byte(FIRST_BYTE));
            }
            return Err(Errno::EFAULT);
        }
        Ok(memory.byte(addr.0))
    }
}

/// That a range lies in guest memory.
fn check_range(start: u32, len: u32) -> Result<(), Errno> {
    let end = u64::from(start) + u64::from(len);
    if start < FIRST_BYTE || end > u64::from(MEMORY_SIZE) {
        return Err(Errno::EFAULT);
    }
    Ok(())
}

fn map_shared(memory: &Memory, entry: &Shared) -> Result<(), Errno> {
    entry.segment()?.map_into(
        &memory.reservation,
        Memory::offset(entry.from),
        (entry.to - entry.from) as usize,
        entry.offset,
    )
}

/// Copies the pages of `[start, start + len)` that the parent has of its own. Both began alike, the child has not started, and the parent is in the kernel.
fn copy_dirty(parent: &Memory, child: &Memory, start: u32, len: usize) {
    let (from, to) = (parent.byte(start).cast_const(), child.byte(start));
    let copy = |offset: usize, len: usize| {
        if len > sys::page_size() {
            let place = Memory::offset(start) + offset;
            child.reservation.populate(place, len);
        }
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

impl Drop for Space {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else {
            return;
        };
        let mapped = std::mem::take(&mut *self.mapped());
        for entry in &mapped.shared {
            entry.unmapped(&memory, (entry.from, entry.to));
        }
        // Where something was discarded, or a segment was mapped over it, its beginning is not below what it wrote.
        let is_whole = mapped.zeroed.is_empty()
            && !self.frozen.as_ref().is_some_and(|frozen| {
                let mut shared = mapped.shared.iter();
                shared.any(|entry| frozen.touches(entry.from, entry.to))
            });
        let without_segments = || {
            let mut shared = mapped.shared.iter();
            shared.all(|entry| {
                let len = (entry.to - entry.from) as usize;
                let at = Memory::offset(entry.from);
                memory.reservation.map_zero(at, len).is_ok()
            })
        };
        if is_whole && self.spares().have_room() && without_segments() {
            self.spares().keep(memory);
        }
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
        self.checked(addr, len)?;
        let entry = Shared {
            from: addr.0,
            to: addr.0 + len,
            segment: Arc::clone(segment),
            offset,
        };
        let memory = self.memory()?;
        let mut mapped = self.mapped();
        for before in &mapped.shared {
            if before.from < entry.to && entry.from < before.to {
                // As in `discard`.
                before.segment.share()?;
                before.unmapped(memory, (entry.from, entry.to));
            }
        }
        map_shared(memory, &entry)?;
        cut(&mut mapped.shared, entry.from, entry.to);
        mapped.shared.push(entry);
        Ok(())
    }

    fn discard(&self, addr: GuestAddr, len: u32) -> Result<(), Errno> {
        self.checked(addr, len)?;
        let memory = self.memory()?;
        let (start, end) = (addr.0, addr.0 + len);
        let touches = |frozen: &Arc<Frozen>| frozen.touches(start, end);
        {
            let mut last = self.last();
            if last.frozen.as_ref().is_some_and(touches) {
                last.discarded.push((start, end));
            }
        }
        let of_file = self.frozen.as_ref().is_some_and(touches);
        let mut mapped = self.mapped();
        let mut is_shared = false;
        for entry in &mapped.shared {
            if entry.from < end && start < entry.to {
                is_shared = true;
                // What this process wrote is for the others.
                entry.segment.share()?;
                entry.unmapped(memory, (start, end));
            }
        }
        // Advice would bring the image's pages back.
        if !is_shared && !of_file {
            memory
                .reservation
                .discard(Memory::offset(start), len as usize)?;
            return Ok(());
        }
        memory
            .reservation
            .map_zero(Memory::offset(start), len as usize)?;
        if of_file {
            mapped.zeroed.push((start, end));
        }
        cut(&mut mapped.shared, start, end);
        Ok(())
    }

    fn duplicate(
        &self,
        private: &[(GuestAddr, u32)],
        shared: &[(GuestAddr, u32, Arc<dyn Segment>, u64)],
    ) -> Result<Arc<dyn AddressSpace>, Errno> {
        let mut last = self.last();
        let frozen = match (self.memory.get(), &self.frozen, &last.frozen) {
            // Never used: what it was a copy of is what it is.
            (None, Some(frozen), _) => Arc::clone(frozen),
            (_, _, Some(frozen)) if last.current => Arc::clone(frozen),
            _ => {
                for &(start, len) in private {
                    check_range(start.0, len)?;
                }
                // If this fails, the next one begins where the space began.
                let frozen = last.frozen.take();
                let discarded = std::mem::take(&mut last.discarded);
                let (base, zeroed) = match frozen {
                    Some(frozen) => (Some(frozen), discarded),
                    None => (self.frozen.clone(), self.mapped().zeroed.clone()),
                };
                Arc::new(Frozen::of(
                    self.module,
                    self.memory()?,
                    base,
                    zeroed,
                    private,
                )?)
            }
        };
        last.frozen = Some(Arc::clone(&frozen));
        last.current = true;
        Ok(Arc::new(Self::of_frozen(
            self.module,
            &self.image,
            frozen,
            shared,
        )))
    }

    fn save(
        &self,
        _private: &[(GuestAddr, u32)],
        scope: Scope,
        blobs: &mut BlobWriter,
    ) -> Result<Vec<u8>, SaveError> {
        let places = places::of(self.module, scope)
            .ok_or_else(|| SaveError::unsupported("a program that the host cannot describe"))?;
        match (&self.frozen, self.memory.get()) {
            (Some(frozen), None) => {
                saved::save_space(self.module, &self.image, frozen, &*places, blobs)
            }
            _ => Err(SaveError::unsupported("a process that has run")),
        }
    }

    fn heap_base(&self) -> GuestAddr {
        GuestAddr(self.module.heap_base())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Takes `[start, end)` out of the segments' ranges.
fn cut(shared: &mut Vec<Shared>, start: u32, end: u32) {
    let left: Vec<_> = shared
        .iter()
        .flat_map(|entry| {
            let after = entry.from.max(end);
            [
                Shared {
                    to: entry.to.min(start),
                    ..entry.clone()
                },
                Shared {
                    from: after,
                    offset: entry.offset + u64::from(after - entry.from),
                    ..entry.clone()
                },
            ]
        })
        .filter(|entry| entry.from < entry.to)
        .collect();
    *shared = left;
}
