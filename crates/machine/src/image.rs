//! The frozen state of a program that has been instantiated and not yet started: what every process of it begins as.

use std::ffi::c_void;
use std::fs::File;
use std::sync::OnceLock;

use pglite_oxide_kernel::Errno;

use crate::library::Library;
use crate::module::{FIRST_BYTE, Module};
use crate::space::{Memory, zero_memory};
use crate::spare::Spares;
use crate::sys::{self, View};

/// Initialised data, mapped copy-on-write by each process: constants from the running program's own file, the rest from a memory object. And the instance's globals.
pub struct Image {
    /// Bytes from [`FIRST_BYTE`] on.
    data: File,
    len: usize,
    /// In the order of their addresses or not: no two meet.
    constants: Vec<Constants>,
    globals: Vec<u64>,
    /// The data, if its bytes were asked for.
    view: OnceLock<View>,
    /// Of processes that began as it.
    pub(crate) spares: Spares,
}

/// Whole pages of the running program's file.
struct Constants {
    file: File,
    file_offset: u64,
    /// Where they belong.
    start: u32,
    len: usize,
}

/// Segments that have this many whole pages are worth a mapping of their own in each process.
const WORTH_MAPPING: usize = 256;

/// `Present`: whole pages of large segments that can be mapped from the program's file are not written. `state` is a `Vec<Constants>`.
unsafe extern "C" fn present(
    state: *mut c_void,
    start: u32,
    data: *const u8,
    size: usize,
) -> usize {
    // SAFETY: `freeze` passes it, and uses it again only when the module is instantiated.
    let constants = unsafe { &mut *state.cast::<Vec<Constants>>() };
    let page = sys::page_size();
    let len = size - size % page;
    if len / page < WORTH_MAPPING || start < FIRST_BYTE || !(start as usize).is_multiple_of(page) {
        return 0;
    }
    // SAFETY: the segment's bytes are static.
    let data = unsafe { std::slice::from_raw_parts(data, len) };
    let Some((file, file_offset)) = sys::place_in_file(data) else {
        return 0;
    };
    constants.push(Constants {
        file,
        file_offset,
        start,
        len,
    });
    len
}

impl Image {
    /// Instantiates `module` in a scratch space and keeps what it wrote. The caller makes sure that this happens for one module at a time.
    ///
    /// Of `libraries`, which have been validated beside the module, those of this program become part of it.
    pub fn freeze(module: &'static Module, libraries: &[&'static Library]) -> Result<Self, Errno> {
        let page = sys::page_size();
        let all = (module.heap_base() as usize - FIRST_BYTE as usize).next_multiple_of(page);
        let data = sys::memory_object(c"pglite-image", all as u64)?;
        let scratch = zero_memory()?;
        // It is written where it stays.
        scratch
            .reservation()
            .map_file(Memory::offset(FIRST_BYTE), all, &data, 0, true)?;
        let mut constants: Vec<Constants> = Vec::new();
        let state = std::ptr::from_mut(&mut constants).cast();
        // SAFETY: the space is fresh zero memory, the caller serialises instantiation, and `present` gets what it wants.
        unsafe {
            module.instantiate(scratch.instance(), present, state);
        };
        for library in libraries {
            if library.program() == module.name() {
                // SAFETY: the program has been instantiated here just now, and `present` gets what it wants.
                unsafe { library.instantiate(scratch.instance(), present, state) };
            }
        }
        // What follows (bss, the stack) is left to each process.
        let (mut len, mut at) = (page, 0);
        while let Some((_, end)) = sys::next_data(&data, at)? {
            let end = usize::try_from(end).unwrap_or(all).min(all);
            if len == end {
                break;
            }
            (len, at) = (end, end as u64);
        }
        data.set_len(len as u64)?;
        let mut globals = vec![0_u64; module.instance_size().div_ceil(8)];
        // SAFETY: the vector holds at least instance_size bytes and is aligned for any C type; both are valid for reading and writing.
        unsafe {
            std::ptr::copy_nonoverlapping(
                scratch.instance().cast_const(),
                globals.as_mut_ptr().cast(),
                module.instance_size(),
            );
        };
        Ok(Self {
            data,
            len,
            constants,
            globals,
            view: OnceLock::new(),
            spares: Spares::default(),
        })
    }

    /// The instance's globals as every process begins with them; pointers to its own place are still to be set.
    pub(crate) fn globals(&self) -> &[u64] {
        &self.globals
    }

    /// Where it has something, from the first byte to the end.
    pub(crate) fn extent(&self) -> (u64, u64) {
        let start = u64::from(FIRST_BYTE);
        let constants = self.constants.iter();
        let ends = constants.map(|part| u64::from(part.start) + part.len as u64);
        (start, ends.fold(start + self.len as u64, u64::max))
    }

    /// What it has at a page; `None` if nothing of it is there.
    pub(crate) fn page(&self, at: u32) -> Result<Option<&[u8]>, Errno> {
        let (from, to) = (FIRST_BYTE as usize, FIRST_BYTE as usize + self.len);
        let at = at as usize;
        if at < from || at >= to {
            return Ok(None);
        }
        let view = match self.view.get() {
            Some(view) => view,
            None => {
                let view = View::of(&self.data, 0, self.len as u64)?;
                self.view.get_or_init(|| view)
            }
        };
        let offset = (at - from) as u64;
        Ok(Some(view.bytes(offset, offset + sys::page_size() as u64)))
    }

    /// True if the page is one of constants that lie elsewhere.
    pub(crate) fn is_constant(&self, at: u32) -> bool {
        let at = at as usize;
        self.constants
            .iter()
            .any(|part| (part.start as usize..part.start as usize + part.len).contains(&at))
    }

    /// Maps the data into a fresh space.
    pub(crate) fn map_into(&self, space: &sys::Reservation) -> Result<(), Errno> {
        space.map_file(Memory::offset(FIRST_BYTE), self.len, &self.data, 0, false)?;
        for constants in &self.constants {
            space.map_file(
                Memory::offset(constants.start),
                constants.len,
                &constants.file,
                constants.file_offset,
                false,
            )?;
        }
        Ok(())
    }

    /// Sets the globals of a memory whose data is mapped.
    pub(crate) fn init_globals(&self, module: &Module, memory: &Memory) {
        // SAFETY: the vector holds the globals of an instance of the same module, which does not run; the child is not started yet.
        unsafe { module.fork_instance(memory.instance(), self.globals.as_ptr().cast()) };
    }
}
