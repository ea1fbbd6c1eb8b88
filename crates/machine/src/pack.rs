//! Side modules that are loaded at run time: shared objects out of packs.
//!
//! A loaded library is a [`Library`] like the linked ones. What differs: its place is chosen here, behind those of all libraries before it, and the addresses of the server's functions are
//! looked up in the table [`Exports`], since a program exports none of its own.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::slice;
use std::sync::{Mutex, PoisonError};

use crate::library::Library;
use crate::module::{ABI_VERSION, FIRST_BYTE, Present};
use crate::sys;

/// `PGL_PACK_VERSION`: the form of a shared object's descriptor.
pub const PACK_VERSION: u32 = 1;
/// The name under which it has its descriptor.
const SYMBOL: &CStr = c"pgl_pack_library";
/// `PGL_TABLE_ROOM`: slots behind the server's own.
const TABLE_ROOM: u32 = 32_768;
/// Bytes of a fingerprint.
const CORE_LEN: usize = 64;

/// The head of the table of the server's functions; entries and names follow (`exports.rs` of the toolchain).
#[repr(C)]
pub struct Exports {
    abi_version: u32,
    count: u32,
    table: u32,
    data_end: u32,
    core: [u8; CORE_LEN],
}

#[repr(C)]
struct Export {
    /// From this field to the function.
    distance: i32,
    /// Of its name among the names.
    name: u32,
}

/// `struct pgl_import`.
#[repr(C)]
struct Import {
    name: *const c_char,
    place: *mut *const c_void,
}

/// `struct pgl_pack_library`.
#[repr(C)]
struct Descriptor {
    pack_version: u32,
    abi_version: u32,
    data_size: u32,
    data_align: u32,
    table_size: u32,
    import_count: u32,
    memory_base: *mut u32,
    table_base: *mut u32,
    imports: *const Import,
    name: *const c_char,
    program: *const c_char,
    core: *const c_char,
    fingerprint: *const c_char,
    instantiate: unsafe extern "C" fn(instance: *mut c_void, present: Present, state: *mut c_void),
}

/// Why a shared object was not loaded. Nothing of it is used then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The system refused to hold or load it.
    #[error("the system does not load it: {0}")]
    System(String),
    /// It was not made by `pglite ext build`.
    #[error("it has no descriptor {SYMBOL:?}")]
    Descriptor,
    /// Made for another version of this crate.
    #[error("it has version {found} of the {what}, this program needs {wanted}")]
    Version {
        /// `descriptor` or `ABI`.
        what: &'static str,
        /// What it has.
        found: u32,
        /// What is needed.
        wanted: u32,
    },
    /// It calls itself otherwise than the file it came from.
    #[error("it says that it is {found}")]
    Name {
        /// The name in its descriptor.
        found: String,
    },
    /// Made for another server.
    #[error("it was built for the server {found}, this program has {wanted}")]
    Core {
        /// The server's fingerprint there.
        found: String,
        /// The one here.
        wanted: String,
    },
    /// It needs functions that the server does not have.
    #[error("the server has no function {}", .0.join(", "))]
    Symbols(Vec<String>),
    /// Libraries loaded before have taken the room.
    #[error("there is no room left for its {what}: {wanted} more, of which {left} are left")]
    Room {
        /// `data` or `slots`.
        what: &'static str,
        /// Bytes or slots it needs.
        wanted: u32,
        /// Bytes or slots left.
        left: u32,
    },
}

/// The first byte and the first slot that nobody has.
struct Free {
    data: u32,
    slot: u32,
}

/// In this host process. A library keeps its place for good.
static FREE: Mutex<Option<Free>> = Mutex::new(None);

impl Exports {
    /// The fingerprint of the server whose functions these are.
    #[must_use]
    pub fn core(&self) -> &str {
        std::str::from_utf8(&self.core).unwrap_or("?")
    }

    fn entries(&self) -> &[Export] {
        let first = ptr::from_ref(self).wrapping_add(1).cast::<Export>();
        // SAFETY: the build lays `count` entries out right behind the head; the whole is one constant object.
        unsafe { slice::from_raw_parts(first, self.count as usize) }
    }

    /// The address of a function.
    fn find(&self, name: &CStr) -> Option<*const c_void> {
        let entries = self.entries();
        let names = entries.as_ptr_range().end.cast::<c_char>();
        let at = entries
            .binary_search_by(|entry| {
                // SAFETY: each entry has the offset of a NUL-terminated name behind the entries.
                unsafe { CStr::from_ptr(names.add(entry.name as usize)) }.cmp(name)
            })
            .ok()?;
        let field = &raw const entries[at].distance;
        Some(
            field
                .cast::<c_void>()
                .wrapping_offset(entries[at].distance as isize),
        )
    }
}

/// A shared object, closed again unless it is kept.
struct Opened {
    handle: *mut c_void,
    _file: sys::Loadable,
}

impl Opened {
    /// Loads the bytes as they are: nobody can change them on the way.
    fn new(bytes: &[u8]) -> Result<Self, LoadError> {
        let file =
            sys::Loadable::new(bytes).map_err(|error| LoadError::System(error.to_string()))?;
        // SAFETY: this runs the initialisers of the object: native code that whoever names a pack answers for (see `load`).
        let handle =
            unsafe { libc::dlopen(file.path().as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: dlerror has a string after a failure, or none; it is copied at once.
            let said = unsafe {
                let text = libc::dlerror();
                (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
            };
            let said = said.unwrap_or_else(|| "no reason given".to_owned());
            return Err(LoadError::System(said));
        }
        Ok(Self {
            handle,
            _file: file,
        })
    }

    fn descriptor(&self) -> Result<&'static Descriptor, LoadError> {
        // SAFETY: the handle is open.
        let found = unsafe { libc::dlsym(self.handle, SYMBOL.as_ptr()) };
        if found.is_null() {
            return Err(LoadError::Descriptor);
        }
        // SAFETY: the toolchain puts a constant descriptor under this name; its version is looked at before any other field. It lives as long as the object is open, which callers of
        // this private function see to.
        Ok(unsafe { &*found.cast::<Descriptor>() })
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and nothing of the object is used any more.
        unsafe { libc::dlclose(self.handle) };
    }
}

/// Loads the shared object in `bytes`, the library `name` of a pack, for the server that `exports` belongs to and that has the `linked` libraries. It stays loaded as long as the process lives.
///
/// # Errors
/// See [`LoadError`]; the object is unloaded then.
///
/// # Trust
/// The bytes are a shared object that `pglite ext build` made, unchanged: its code runs in this process, with all of the process's rights, as that of a linked C library does. Nothing here can
/// check that; whoever names a pack answers for it. This function is no `unsafe fn`, for what it asks is not a promise about the caller's code, but about a file.
pub fn load(
    name: &str,
    bytes: &[u8],
    exports: &'static Exports,
    linked: &[&'static Library],
) -> Result<&'static Library, LoadError> {
    let opened = Opened::new(bytes)?;
    let found = opened.descriptor()?;
    for (what, found, wanted) in [
        ("descriptor", found.pack_version, PACK_VERSION),
        ("ABI", found.abi_version, ABI_VERSION),
        ("ABI (of the table)", exports.abi_version, ABI_VERSION),
    ] {
        if found != wanted {
            return Err(LoadError::Version {
                what,
                found,
                wanted,
            });
        }
    }
    // SAFETY: the versions are ours, so these are static NUL-terminated strings of the object.
    let text = |text: *const c_char| unsafe { CStr::from_ptr(text) };
    let said = text(found.name).to_string_lossy();
    if said != name {
        return Err(LoadError::Name {
            found: said.into_owned(),
        });
    }
    let core = text(found.core).to_string_lossy();
    if core != exports.core() {
        return Err(LoadError::Core {
            found: core.into_owned(),
            wanted: exports.core().to_owned(),
        });
    }
    // SAFETY: as above; the descriptor says how many there are.
    let imports = unsafe { slice::from_raw_parts(found.imports, found.import_count as usize) };
    let addresses: Vec<_> = imports
        .iter()
        .map(|import| exports.find(text(import.name)))
        .collect();
    let missing: Vec<String> = imports
        .iter()
        .zip(&addresses)
        .filter(|(_, address)| address.is_none())
        .map(|(import, _)| text(import.name).to_string_lossy().into_owned())
        .collect();
    if !missing.is_empty() {
        return Err(LoadError::Symbols(missing));
    }
    let (data_base, table_base) = place(found, exports, linked)?;
    for (import, address) in imports.iter().zip(addresses) {
        // SAFETY: variables of the object for this purpose; nothing of it runs yet.
        unsafe { *import.place = address.unwrap_or(ptr::null()) };
    }
    // SAFETY: as above.
    unsafe {
        *found.memory_base = data_base;
        *found.table_base = table_base;
    }
    let library = Library::loaded(
        (data_base, found.data_size),
        (table_base, found.table_size),
        [found.name, found.program, found.core, found.fingerprint],
        found.instantiate,
    );
    // Its strings and its code are used from now on.
    std::mem::forget(opened);
    Ok(Box::leak(Box::new(library)))
}

/// Takes a place behind all others.
fn place(
    wanted: &Descriptor,
    exports: &Exports,
    linked: &[&'static Library],
) -> Result<(u32, u32), LoadError> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let free = free.get_or_insert_with(|| {
        let mut first = Free {
            data: FIRST_BYTE,
            slot: exports.table,
        };
        for library in linked {
            first.data = first.data.max(library.data().end);
            first.slot = first.slot.max(library.slots().end);
        }
        first
    });
    let room = |what, wanted: u32, left: u32| LoadError::Room { what, wanted, left };
    let left = exports.data_end.saturating_sub(free.data);
    let data = free
        .data
        .checked_next_multiple_of(wanted.data_align.max(1))
        .filter(|start| {
            start
                .checked_add(wanted.data_size)
                .is_some_and(|end| end <= exports.data_end)
        })
        .ok_or_else(|| room("data", wanted.data_size, left))?;
    let left = (exports.table + TABLE_ROOM).saturating_sub(free.slot);
    if wanted.table_size > left {
        return Err(room("slots", wanted.table_size, left));
    }
    let slot = free.slot;
    *free = Free {
        data: data + wanted.data_size,
        slot: slot + wanted.table_size,
    };
    Ok((data, slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of two functions, laid out as the build does it.
    #[repr(C)]
    struct Table {
        head: Exports,
        entries: [Export; 2],
        names: [u8; 8],
    }

    fn exports() -> &'static Exports {
        let table = Box::leak(Box::new(Table {
            head: Exports {
                abi_version: ABI_VERSION,
                count: 2,
                table: 100,
                data_end: 8 << 20,
                core: [b'c'; CORE_LEN],
            },
            entries: [
                Export {
                    distance: 16,
                    name: 0,
                },
                Export {
                    distance: -8,
                    name: 4,
                },
            ],
            names: *b"aaa\0bbb\0",
        }));
        // SAFETY: the first field of the same object.
        unsafe { &*ptr::from_ref(table).cast::<Exports>() }
    }

    #[test]
    fn functions_are_found_by_name() {
        let exports = exports();
        let first = exports.entries().as_ptr().addr();
        assert_eq!(
            exports.find(c"aaa").map(<*const c_void>::addr),
            Some(first + 16)
        );
        assert_eq!(exports.find(c"bbb").map(<*const c_void>::addr), Some(first));
        assert_eq!(exports.find(c"abc"), None);
    }

    #[test]
    fn what_is_no_library_of_a_pack_is_refused() {
        let error = load("x", b"no ELF", exports(), &[]).err();
        assert!(matches!(error, Some(LoadError::System(_))), "{error:?}");
    }
}
