//! The state of a parked guest process, from which copies of it start: private memory as files that are mapped copy-on-write, globals, context and native stack.
//!
//! Copies of copies share what they have in common: each freezing adds a layer with the pages that are new since the one before.

use std::mem::offset_of;
use std::sync::Arc;

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::memory::GuestAddr;

use crate::layer::{self, Found, Layer};
use crate::module::{Context, Module};
use crate::space::{Memory, SPAN};
use crate::spare::Spares;
use crate::sys;

/// Layers beyond this are made fewer: each costs mappings in every copy.
const LAYERS_MAX: usize = 4;

/// One freezing's pages.
struct Pages {
    /// Zero from here on, whatever is below.
    zeroed: Vec<(u32, u32)>,
    layer: Layer,
}

/// A parked process.
pub(crate) struct Frozen {
    layers: Vec<Arc<Pages>>,
    pub(crate) instance: Vec<u64>,
    context: Vec<u64>,
    /// The native stack in use, and where in the space it lies.
    pub(crate) stack: Vec<u64>,
    pub(crate) stack_offset: usize,
    /// Where the space was that it was taken from.
    pub(crate) old: usize,
    /// Of processes that began as it.
    pub(crate) spares: Spares,
}

/// What a frozen process has at a page.
pub(crate) enum Then<'a> {
    Bytes(&'a [u8]),
    Zero,
    /// What the program's image has.
    Image,
}

impl Frozen {
    /// Takes the state of a parked process that was, or began as, `base`; the ranges in `zeroed` were discarded since. If nobody else has the base, what is left of those that began as
    /// it is for those that will begin as this.
    pub(crate) fn of(
        module: &Module,
        memory: &Memory,
        base: Option<Arc<Self>>,
        zeroed: Vec<(u32, u32)>,
        private: &[(GuestAddr, u32)],
    ) -> Result<Self, Errno> {
        let mut layers = base
            .as_ref()
            .map(|base| base.layers.clone())
            .unwrap_or_default();
        let spares = base.and_then(Arc::into_inner).map(|base| base.spares);
        let spares = match Pages::changed(memory, &layers, zeroed, private)? {
            Some(pages) => {
                let spares = spares.map(|spares| spares.inherited(pages.ranges()));
                if !pages.layer.is_empty() || !pages.zeroed.is_empty() {
                    layers.push(Arc::new(pages));
                }
                spares.unwrap_or_default()
            }
            None => {
                layers = vec![Arc::new(Pages::of_all(memory, private)?)];
                Spares::default()
            }
        };
        if layers.len() > LAYERS_MAX {
            merge(memory, &mut layers, private)?;
        }
        let context = memory.context();
        // SAFETY: the context is mapped, and its process parked, so nobody writes there.
        let (stack_base, guest_stack) = unsafe { ((*context).stack_base, (*context).guest_stack) };
        Ok(Self {
            layers,
            instance: words(memory.instance(), module.instance_size()),
            context: words(context.cast(), module.context_size()),
            stack: words(guest_stack, stack_base.addr() - guest_stack.addr()),
            stack_offset: guest_stack.addr() - memory.start().addr(),
            old: memory.start().addr(),
            spares,
        })
    }

    /// One that was in an image.
    pub(crate) fn loaded(
        layer: Layer,
        (instance, context, stack): (Vec<u64>, Vec<u64>, Vec<u64>),
        stack_offset: usize,
        old: usize,
    ) -> Self {
        let zeroed = Vec::new();
        Self {
            layers: vec![Arc::new(Pages { zeroed, layer })],
            instance,
            context,
            stack,
            stack_offset,
            old,
            spares: Spares::default(),
        }
    }

    /// What it has at a page.
    pub(crate) fn then(&self, at: u64) -> Result<Then<'_>, Errno> {
        Pages::then(&self.layers, at, sys::page_size() as u64)
    }

    /// The context without what is set whenever the process is resumed.
    pub(crate) fn context_at_rest(&self) -> Vec<u64> {
        let mut words = self.context.clone();
        for field in [
            offset_of!(Context, syscall),
            offset_of!(Context, task),
            offset_of!(Context, carrier_stack),
        ] {
            if let Some(word) = words.get_mut(field / 8) {
                *word = 0;
            }
        }
        words
    }

    /// Where it may differ from the program's image, which has something in `extent` only.
    pub(crate) fn touched(&self, extent: (u64, u64)) -> Found {
        let page = sys::page_size() as u64;
        let mut ranges = Vec::new();
        for pages in &self.layers {
            ranges.extend(pages.layer.runs().iter().map(|run| (run.start, run.len)));
            for &(from, to) in &pages.zeroed {
                let (from, to) = (u64::from(from).max(extent.0), u64::from(to).min(extent.1));
                if from < to {
                    ranges.push((from, (to - from).next_multiple_of(page)));
                }
            }
        }
        Found::of_ranges(ranges)
    }

    /// True if some of its pages are in the range.
    pub(crate) fn touches(&self, start: u32, end: u32) -> bool {
        self.layers
            .iter()
            .any(|pages| pages.layer.touches(u64::from(start), u64::from(end)))
    }

    /// Maps its pages into a fresh memory that holds the program's image.
    pub(crate) fn map_into(&self, memory: &Memory) -> Result<(), Errno> {
        for pages in &self.layers {
            for &(start, end) in &pages.zeroed {
                memory
                    .reservation()
                    .map_zero(Memory::offset(start), (end - start) as usize)?;
            }
            pages
                .layer
                .map_into(memory.reservation(), Memory::offset(0), (0, 1 << 32))?;
        }
        Ok(())
    }

    /// Gives a memory that its pages are mapped into the rest: then it can be resumed where it was parked.
    pub(crate) fn thaw(&self, module: &Module, memory: &Memory) {
        let copy = |from: &[u64], to: *mut u8| {
            // SAFETY: the places are those the words were taken from, as offsets in a space; nothing runs in this one yet.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr().cast(), to, from.len() * 8) };
        };
        copy(&self.instance, memory.instance());
        copy(&self.context, memory.context().cast());
        // SAFETY: the offset is that of the stack in another space.
        copy(&self.stack, unsafe {
            memory.start().add(self.stack_offset)
        });
        // SAFETY: context and stack lie here as they lay in the space at `old`, where their process was parked; the instance is one of this module.
        unsafe {
            module.relocate(memory.context(), self.old, memory.start(), SPAN);
            module.fork_instance(memory.instance(), memory.instance().cast_const());
        }
    }
}

/// `len` bytes as words, rounded up; they lie in mapped memory that nobody writes to.
fn words(from: *const u8, len: usize) -> Vec<u64> {
    let mut out = vec![0_u64; len.div_ceil(8)];
    // SAFETY: instance, context and stack are each followed by mapped memory up to the next multiple of eight; see above for writers.
    unsafe { std::ptr::copy_nonoverlapping(from, out.as_mut_ptr().cast(), out.len() * 8) };
    out
}

/// Guest memory of a parked process.
pub(crate) fn bytes(memory: &Memory, start: u64, len: u64) -> &[u8] {
    let (start, len) = (
        u32::try_from(start).unwrap_or(0),
        usize::try_from(len).unwrap_or(0),
    );
    // SAFETY: callers pass ranges of guest memory, which is mapped; the process is parked, so nobody writes to its private memory.
    unsafe { std::slice::from_raw_parts(memory.byte(start), len) }
}

/// True if one of the ranges has some of `[at, at + len)`.
fn touch(ranges: &[(u32, u32)], at: u64, len: u64) -> bool {
    ranges
        .iter()
        .any(|&(from, to)| u64::from(from) < at + len && at < u64::from(to))
}

impl Pages {
    /// The pages that the process has of its own and that are not what `layers` say; `None` if the host cannot tell which these are.
    fn changed(
        memory: &Memory,
        layers: &[Arc<Self>],
        zeroed: Vec<(u32, u32)>,
        private: &[(GuestAddr, u32)],
    ) -> Result<Option<Self>, Errno> {
        let page = sys::page_size() as u64;
        let mut found = Found::new();
        let mut failed = Ok(());
        for &(start, len) in private {
            found.separate(u64::from(start.0));
            let known = sys::dirty_runs(memory.byte(start.0), len as usize, |offset, len| {
                let from = u64::from(start.0) + offset as u64;
                for at in (from..from + len as u64).step_by(sys::page_size()) {
                    // What was discarded since is not what the layers say.
                    let again = touch(&zeroed, at, page);
                    match Self::then(layers, at, page) {
                        Ok(Then::Bytes(then)) if !again && then == bytes(memory, at, page) => {}
                        Ok(_) => found.add(at, page),
                        Err(error) => failed = Err(error),
                    }
                }
            });
            if !known {
                return Ok(None);
            }
        }
        failed?;
        Self::write(memory, zeroed, &found).map(Some)
    }

    /// From where to where it has something, or has taken something away.
    fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        let runs = self.layer.runs().iter();
        let zeroed = self.zeroed.iter();
        runs.map(|run| (run.start, run.start + run.len))
            .chain(zeroed.map(|&(from, to)| (from.into(), to.into())))
    }

    /// What the layers have at a page.
    fn then(layers: &[Arc<Self>], at: u64, page: u64) -> Result<Then<'_>, Errno> {
        for pages in layers.iter().rev() {
            if let Some(bytes) = pages.layer.bytes(at, page)? {
                return Ok(Then::Bytes(bytes));
            }
            if touch(&pages.zeroed, at, page) {
                return Ok(Then::Zero);
            }
        }
        Ok(Then::Image)
    }

    /// Everything that is not zero.
    fn of_all(memory: &Memory, private: &[(GuestAddr, u32)]) -> Result<Self, Errno> {
        let page = sys::page_size() as u64;
        let mut found = Found::new();
        for &(start, len) in private {
            let (from, to) = (u64::from(start.0), u64::from(start.0) + u64::from(len));
            found.separate(from);
            let mut at = from;
            while at < to {
                let len = page.min(to - at);
                if bytes(memory, at, len).iter().any(|&byte| byte != 0) {
                    found.add(at, len);
                }
                at += len;
            }
        }
        let zeroed = private
            .iter()
            .map(|&(start, len)| (start.0, start.0 + len))
            .collect();
        Self::write(memory, zeroed, &found)
    }

    fn write(memory: &Memory, zeroed: Vec<(u32, u32)>, found: &Found) -> Result<Self, Errno> {
        let layer = Layer::write(found, |start, len| bytes(memory, start, len))?;
        Ok(Self { zeroed, layer })
    }
}

/// Makes fewer of the layers: see [`layer::kept`]. They are what the process is now.
fn merge(
    memory: &Memory,
    layers: &mut Vec<Arc<Pages>>,
    private: &[(GuestAddr, u32)],
) -> Result<(), Errno> {
    let keep = layer::kept(layers.iter().map(|pages| &pages.layer));
    let above = &layers[keep..];
    let zeroed = above.iter().flat_map(|pages| pages.zeroed.clone());
    let runs = Found::of(above.iter().flat_map(|pages| pages.layer.runs()));
    let mut found = Found::new();
    for &(start, len) in private {
        let (from, to) = (u64::from(start.0), u64::from(start.0) + u64::from(len));
        found.separate(from);
        for &(start, len) in runs.runs() {
            let (start, end) = (start.max(from), (start + len).min(to));
            if start < end {
                found.add(start, end - start);
            }
        }
    }
    let one = Pages::write(memory, zeroed.collect(), &found)?;
    layers.truncate(keep);
    layers.push(Arc::new(one));
    Ok(())
}
