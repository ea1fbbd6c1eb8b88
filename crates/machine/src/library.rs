//! Side modules: the libraries of PostgreSQL's extensions, put into the image of their program before it is frozen.
//!
//! Their code runs on the program's instance (`crates/toolchain/src/guest/side.rs` says how), so nothing of a library is kept per process: its data is a part of the image that every
//! process maps copy-on-write, its functions are slots of the one table. A linked library costs a process nothing.

use std::ffi::{CStr, c_char, c_void};
use std::ops::Range;

use crate::module::{ABI_VERSION, FIRST_BYTE, Module, Present};

/// `struct pgl_library` of `guest/runtime/pglite_module.h`. Made by the build, linked into the binary, never changed.
#[repr(C)]
pub struct Library {
    abi_version: u32,
    data_base: u32,
    data_size: u32,
    table_base: u32,
    table_size: u32,
    reserved: u32,
    name: *const c_char,
    program: *const c_char,
    core: *const c_char,
    fingerprint: *const c_char,
    instantiate: unsafe extern "C" fn(instance: *mut c_void, present: Present, state: *mut c_void),
}

// SAFETY: immutable data and a function pointer; the strings are static.
unsafe impl Sync for Library {}
// SAFETY: as above.
unsafe impl Send for Library {}

/// Why a library cannot be used. Found when a machine is made, before PostgreSQL runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// Built for another version of this crate.
    #[error(
        "side module {name} has ABI version {found}, this build needs {ABI_VERSION}: run `cargo xtask assets` again"
    )]
    Version {
        /// The library.
        name: String,
        /// What it says.
        found: u32,
    },
    /// Its program is not among the machine's.
    #[error("side module {name} is for the program {program}, which is not linked")]
    Program {
        /// The library.
        name: String,
        /// What it is for.
        program: String,
    },
    /// Built for another build of its program: its addresses would be wrong.
    #[error(
        "side module {name} was built for core {found}, the linked {program} is {wanted}: run `cargo xtask assets` again"
    )]
    Core {
        /// The library.
        name: String,
        /// Its program.
        program: String,
        /// The program's core.
        wanted: String,
        /// The library's.
        found: String,
    },
    /// Its data or its slots are where another's are, or outside of what is left for libraries.
    #[error("side module {name}: its {what} {range:#x?} overlaps {other}")]
    Overlap {
        /// The library.
        name: String,
        /// `data` or `slots`.
        what: &'static str,
        /// Where they are.
        range: Range<u32>,
        /// Whose place that is.
        other: String,
    },
}

impl Library {
    /// As `dlopen` knows it: `vector`, `uuid-ossp`.
    pub fn name(&self) -> &'static str {
        // SAFETY: the build writes a static NUL-terminated string.
        unsafe { text(self.name) }
    }

    /// The program it is a part of.
    pub fn program(&self) -> &'static str {
        // SAFETY: the build writes a static NUL-terminated string.
        unsafe { text(self.program) }
    }

    /// Fingerprint of the build that made it.
    pub fn fingerprint(&self) -> &'static str {
        // SAFETY: the build writes a static NUL-terminated string.
        unsafe { text(self.fingerprint) }
    }

    fn core(&self) -> &'static str {
        // SAFETY: the build writes a static NUL-terminated string.
        unsafe { text(self.core) }
    }

    /// Guest addresses of its data and constants.
    pub fn data(&self) -> Range<u32> {
        self.data_base..self.data_base.saturating_add(self.data_size)
    }

    /// Its slots in the program's table.
    pub(crate) fn slots(&self) -> Range<u32> {
        self.table_base..self.table_base.saturating_add(self.table_size)
    }

    /// One that was loaded: its place, the static strings of its descriptor (name, program, core, fingerprint) and its function.
    pub(crate) fn loaded(
        (data_base, data_size): (u32, u32),
        (table_base, table_size): (u32, u32),
        [name, program, core, fingerprint]: [*const c_char; 4],
        instantiate: unsafe extern "C" fn(
            instance: *mut c_void,
            present: Present,
            state: *mut c_void,
        ),
    ) -> Self {
        Self {
            abi_version: ABI_VERSION,
            data_base,
            data_size,
            table_base,
            table_size,
            reserved: 0,
            name,
            program,
            core,
            fingerprint,
            instantiate,
        }
    }

    /// Writes its data and its slots; asks for its constants.
    ///
    /// # Safety
    /// `instance` is the instance of its program, which has just been instantiated and does not run; the library has passed [`validate`] beside that program; the caller
    /// instantiates nothing else at the same time; and `present` can be called with `state`.
    pub(crate) unsafe fn instantiate(
        &self,
        instance: *mut u8,
        present: Present,
        state: *mut c_void,
    ) {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.instantiate)(instance.cast(), present, state) }
    }
}

/// The text of a descriptor.
///
/// # Safety
/// A static NUL-terminated string.
unsafe fn text(text: *const c_char) -> &'static str {
    // SAFETY: the caller's contract.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or("?")
}

/// Checks that `libraries` belong to these programs and do not get into each other's way.
pub(crate) fn validate(
    modules: &[&'static Module],
    libraries: &[&'static Library],
) -> Result<(), LibraryError> {
    for (index, library) in libraries.iter().enumerate() {
        let name = || library.name().to_owned();
        if library.abi_version != ABI_VERSION {
            return Err(LibraryError::Version {
                name: name(),
                found: library.abi_version,
            });
        }
        let program = || library.program().to_owned();
        let module = modules
            .iter()
            .find(|module| module.name() == library.program())
            .ok_or_else(|| LibraryError::Program {
                name: name(),
                program: program(),
            })?;
        if library.core() != module.core() {
            return Err(LibraryError::Core {
                name: name(),
                program: program(),
                wanted: module.core().to_owned(),
                found: library.core().to_owned(),
            });
        }
        let overlap = |what, range: Range<u32>, other: &str| LibraryError::Overlap {
            name: name(),
            what,
            range,
            other: other.to_owned(),
        };
        if library.data_base < FIRST_BYTE || library.data().end > module.heap_base() {
            return Err(overlap("data", library.data(), "what is no library's"));
        }
        for other in &libraries[..index] {
            if meet(&library.data(), &other.data()) {
                return Err(overlap("data", library.data(), other.name()));
            }
            if meet(&library.slots(), &other.slots()) {
                return Err(overlap("slots", library.slots(), other.name()));
            }
        }
    }
    Ok(())
}

fn meet(one: &Range<u32>, other: &Range<u32>) -> bool {
    one.start < other.end && other.start < one.end
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn nothing(_: *mut c_void, _: Present, _: *mut c_void) {}

    fn library(name: &'static CStr, data_base: u32, table_base: u32) -> &'static Library {
        Box::leak(Box::new(Library {
            abi_version: ABI_VERSION,
            data_base,
            data_size: 0x100,
            table_base,
            table_size: 4,
            reserved: 0,
            name: name.as_ptr(),
            program: c"program".as_ptr(),
            core: c"core".as_ptr(),
            fingerprint: c"".as_ptr(),
            instantiate: nothing,
        }))
    }

    #[test]
    fn a_library_that_does_not_fit_is_refused_by_name() {
        let program = Module::for_tests(c"program", c"core", 0x10_0000);
        let stale = Module::for_tests(c"program", c"other", 0x10_0000);
        let good = library(c"good", 0x2_0000, 100);
        validate(&[program], &[good]).unwrap();
        let error = |modules: &[&'static Module], libraries: &[&'static Library]| {
            validate(modules, libraries).unwrap_err()
        };
        assert!(matches!(
            error(&[stale], &[good]),
            LibraryError::Core { name, found, .. } if name == "good" && found == "core"
        ));
        assert!(matches!(error(&[], &[good]), LibraryError::Program { .. }));
        for (other, wanted) in [
            (library(c"data", 0x2_00ff, 200), "data"),
            (library(c"slots", 0x3_0000, 103), "slots"),
            (library(c"low", 0x100, 300), "data"),
            (library(c"high", 0xF_FFFF, 300), "data"),
        ] {
            assert!(matches!(
                error(&[program], &[good, other]),
                LibraryError::Overlap { what, .. } if what == wanted
            ));
        }
        let old = Box::leak(Box::new(Library {
            abi_version: 1,
            ..*library(c"old", 0x3_0000, 200)
        }));
        assert!(matches!(
            error(&[program], &[old]),
            LibraryError::Version { found: 1, .. }
        ));
    }
}
