//! The state of a parked guest process, from which copies of it start: private memory as files that are mapped copy-on-write, globals, context and native stack.
//!
//! Copies of copies share what they have in common: each freezing adds a layer with the pages that are new since the one before.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use pglite_oxide_kernel::Errno;
use pglite_oxide_kernel::memory::GuestAddr;

use crate::module::Module;
use crate::space::{Memory, SPAN};
use crate::sys;

/// Clean pages between two runs of dirty ones that are rather copied than mapped apart.
const GAP_PAGES: usize = 8;
/// Layers beyond this are made one: each costs mappings in every copy.
const LAYERS_MAX: usize = 3;

/// Consecutive bytes of guest memory in a layer's file.
struct Run {
    start: u32,
    len: u32,
    offset: u64,
}

/// What one freezing found.
struct Layer {
    /// Zero in this layer, whatever is below.
    zeroed: Vec<(u32, u32)>,
    file: File,
    runs: Vec<Run>,
}

/// A parked process.
pub(crate) struct Frozen {
    layers: Vec<Arc<Layer>>,
    instance: Vec<u64>,
    context: Vec<u64>,
    /// The native stack in use, and where in the space it lies.
    stack: Vec<u64>,
    stack_offset: usize,
    /// Where the space was that it was taken from.
    old: usize,
}

impl Frozen {
    /// Takes the state of a parked process whose memory began as `base` says, less the ranges in `zeroed`.
    pub(crate) fn of(
        module: &Module,
        memory: &Memory,
        base: Option<&Self>,
        zeroed: Vec<(u32, u32)>,
        private: &[(GuestAddr, u32)],
    ) -> Result<Self, Errno> {
        let mut layers = base.map(|base| base.layers.clone()).unwrap_or_default();
        let layer = if layers.len() < LAYERS_MAX {
            Layer::of_dirty(memory, zeroed, private)?
        } else {
            None
        };
        match layer {
            Some(layer) if layer.runs.is_empty() && layer.zeroed.is_empty() => {}
            Some(layer) => layers.push(Arc::new(layer)),
            None => layers = vec![Arc::new(Layer::of_all(memory, private)?)],
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
        })
    }

    /// True if some of its pages are in the range.
    pub(crate) fn touches(&self, start: u32, end: u32) -> bool {
        self.layers.iter().any(|layer| {
            layer
                .runs
                .iter()
                .any(|run| run.start < end && start < run.start + run.len)
        })
    }

    /// Maps its pages into a fresh memory that holds the program's image.
    pub(crate) fn map_into(&self, memory: &Memory) -> Result<(), Errno> {
        for layer in &self.layers {
            for &(start, end) in &layer.zeroed {
                memory
                    .reservation()
                    .map_zero(Memory::offset(start), (end - start) as usize)?;
            }
            for run in &layer.runs {
                memory.reservation().map_file(
                    Memory::offset(run.start),
                    run.len as usize,
                    &layer.file,
                    run.offset,
                    false,
                )?;
            }
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

fn bytes(memory: &Memory, start: u32, len: u32) -> &[u8] {
    // SAFETY: the range lies in guest memory, which is mapped; the process is parked, so nobody writes to its private memory.
    unsafe { std::slice::from_raw_parts(memory.byte(start), len as usize) }
}

fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Layer {
    /// The pages that the process has of its own; `None` if the host cannot tell which these are.
    fn of_dirty(
        memory: &Memory,
        zeroed: Vec<(u32, u32)>,
        private: &[(GuestAddr, u32)],
    ) -> Result<Option<Self>, Errno> {
        let gap = narrow(GAP_PAGES * sys::page_size());
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &(start, len) in private {
            let first = runs.len();
            let known = sys::dirty_runs(memory.byte(start.0), len as usize, |offset, len| {
                let (from, len) = (start.0 + narrow(offset), narrow(len));
                match runs[first..].last_mut() {
                    Some(last) if from - (last.0 + last.1) <= gap => last.1 = from + len - last.0,
                    _ => runs.push((from, len)),
                }
            });
            if !known {
                return Ok(None);
            }
        }
        Self::write(memory, zeroed, &runs).map(Some)
    }

    /// Everything that is not zero.
    fn of_all(memory: &Memory, private: &[(GuestAddr, u32)]) -> Result<Self, Errno> {
        let page = narrow(sys::page_size());
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &(start, len) in private {
            for at in (start.0..start.0 + len).step_by(page as usize) {
                let len = page.min(start.0 + len - at);
                if bytes(memory, at, len).iter().all(|&byte| byte == 0) {
                    continue;
                }
                match runs.last_mut() {
                    Some(last) if last.0 + last.1 == at => last.1 += len,
                    _ => runs.push((at, len)),
                }
            }
        }
        let zeroed = private
            .iter()
            .map(|&(start, len)| (start.0, start.0 + len))
            .collect();
        Self::write(memory, zeroed, &runs)
    }

    fn write(
        memory: &Memory,
        zeroed: Vec<(u32, u32)>,
        found: &[(u32, u32)],
    ) -> Result<Self, Errno> {
        let total: u64 = found.iter().map(|&(_, len)| u64::from(len)).sum();
        let file = sys::memory_object(c"pglite-frozen", total)?;
        let mut runs = Vec::with_capacity(found.len());
        let mut offset = 0;
        for &(start, len) in found {
            file.write_all_at(bytes(memory, start, len), offset)?;
            runs.push(Run { start, len, offset });
            offset += u64::from(len);
        }
        Ok(Self { zeroed, file, runs })
    }
}
