//! The frozen state of a program that has been instantiated and not yet started: what every process of it begins as.

use std::fs::File;
use std::os::unix::fs::FileExt;

use pglite_oxide_kernel::Errno;

use crate::library::Library;
use crate::module::{FIRST_BYTE, Module};
use crate::space::{Memory, zero_memory};
use crate::sys;

/// Initialised data as a memory object, mapped copy-on-write by each process, and the instance's globals.
pub struct Image {
    /// Bytes from [`FIRST_BYTE`] on.
    data: File,
    len: usize,
    globals: Vec<u64>,
}

impl Image {
    /// Instantiates `module` in a scratch space and keeps what it wrote. The caller makes sure that this happens for one module at a time.
    ///
    /// Of `libraries`, which have been validated beside the module, those of this program become part of it.
    pub fn freeze(module: &'static Module, libraries: &[&'static Library]) -> Result<Self, Errno> {
        let scratch = zero_memory()?;
        // SAFETY: the space is fresh zero memory, and the caller serialises instantiation.
        unsafe { module.instantiate(scratch.instance()) };
        for library in libraries {
            if library.program() == module.name() {
                // SAFETY: the program has been instantiated here just now.
                unsafe { library.instantiate(scratch.instance()) };
            }
        }
        let all = module.heap_base() as usize - FIRST_BYTE as usize;
        let page = sys::page_size();
        let start = scratch.byte(FIRST_BYTE).cast_const();
        // Only what was written: reading the rest (the places of side modules that are not linked, bss, the stack) would fault its pages in.
        let mut written = Vec::new();
        if !sys::dirty_runs(start, all.div_ceil(page) * page, |offset, len| {
            written.push((offset, len));
        }) {
            written.push((0, all));
        }
        let len = written
            .last()
            .map_or(page, |(offset, len)| (offset + len).div_ceil(page) * page);
        let data = sys::memory_object(c"pglite-image", len as u64)?;
        for (offset, len) in written {
            // SAFETY: [FIRST_BYTE, heap_base) and the rest of its last page are mapped, and nobody else knows the scratch space.
            let bytes = unsafe { std::slice::from_raw_parts(start.add(offset), len) };
            data.write_all_at(bytes, offset as u64)?;
        }
        let mut globals = vec![0_u64; module.instance_size().div_ceil(8)];
        // SAFETY: the vector holds at least instance_size bytes and is aligned for any C type; both are valid for reading and writing.
        unsafe {
            std::ptr::copy_nonoverlapping(
                scratch.instance().cast_const(),
                globals.as_mut_ptr().cast(),
                module.instance_size(),
            );
        };
        Ok(Self { data, len, globals })
    }

    /// Maps the data into a fresh space.
    pub(crate) fn map_into(&self, space: &sys::Reservation) -> Result<(), Errno> {
        space.map_file(Memory::offset(FIRST_BYTE), self.len, &self.data, 0, false)?;
        Ok(())
    }

    /// Sets the globals of a memory whose data is mapped.
    pub(crate) fn init_globals(&self, module: &Module, memory: &Memory) {
        // SAFETY: the vector holds the globals of an instance of the same module, which does not run; the child is not started yet.
        unsafe { module.fork_instance(memory.instance(), self.globals.as_ptr().cast()) };
    }
}
