//! Names for addresses in the running program: return addresses and pointers to constants, which differ from process to process.

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::ffi::c_int;
use std::ffi::c_void;
use std::ops::Range;

use pglite_oxide_kernel::image::Scope;

use crate::module::Module;

/// An address by its distance from something that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// What the distance is from; what the numbers mean is the [`Places`]' business.
    pub(crate) anchor: u32,
    /// Bytes.
    pub(crate) offset: u64,
}

/// Gives addresses names and finds them again, in this process or in another one.
pub(crate) trait Places {
    /// True if the address belongs to the program, and so must have a name to be of use elsewhere.
    fn covers(&self, address: usize) -> bool;
    /// The name of an address; `None` if it has none.
    fn name(&self, address: usize) -> Option<Place>;
    /// The address with this name here.
    fn find(&self, place: Place) -> Option<usize>;
    /// Bytes that are the same wherever `place` means the same; zero if there are none to compare.
    fn witness(&self, place: Place) -> u64;
    /// What must be the same for names to mean the same.
    fn identity(&self) -> Vec<u8>;
}

/// The names that are good for images of this scope; `None` where the host, or the build, cannot give any.
pub(crate) fn of(module: &'static Module, scope: Scope) -> Option<Box<dyn Places>> {
    let object = LoadedObject::of(std::ptr::from_ref(module).cast())?;
    Some(match scope {
        Scope::Executable => Box::new(object),
        Scope::Build => Box::new(Gathered {
            parts: module.gathered()?,
            object,
        }),
    })
}

/// The names of a module's own code and constants, by their distances from where these begin: good in every program that the module is linked into. What else the program has, it has no
/// names for.
#[derive(Debug)]
struct Gathered {
    /// One for each anchor.
    parts: [Range<usize>; 2],
    /// The program, or what of it the module is in.
    object: LoadedObject,
}

impl Places for Gathered {
    fn covers(&self, address: usize) -> bool {
        self.object.covers(address)
    }

    fn name(&self, address: usize) -> Option<Place> {
        let named = (0..).zip(&self.parts);
        let (anchor, part) = { named }.find(|(_, part)| part.contains(&address))?;
        Some(Place {
            anchor,
            offset: (address - part.start) as u64,
        })
    }

    fn find(&self, place: Place) -> Option<usize> {
        let part = self.parts.get(place.anchor as usize)?;
        let address = part
            .start
            .checked_add(usize::try_from(place.offset).ok()?)?;
        part.contains(&address).then_some(address)
    }

    /// Linkers write other addresses into the code of each program.
    fn witness(&self, _: Place) -> u64 {
        0
    }

    /// The module's fingerprint, which is of everything it was compiled from, says it all.
    fn identity(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// Part of a loaded object.
#[derive(Clone, Copy, Debug)]
struct Segment {
    start: usize,
    end: usize,
    writable: bool,
}

/// The names of one executable or library: the only anchor is the address it was loaded at. Good in other processes of the very same file.
#[derive(Debug)]
pub(crate) struct LoadedObject {
    base: usize,
    segments: Vec<Segment>,
    /// The program headers and the linker's build identifier.
    identity: Vec<u8>,
}

impl LoadedObject {
    /// What `address` was loaded with; `None` if it cannot be told.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn of(address: *const c_void) -> Option<Self> {
        let mut search = Search {
            address: address.addr(),
            found: None,
        };
        // SAFETY: the callback has the right signature, and the state outlives the call.
        unsafe {
            libc::dl_iterate_phdr(Some(look), std::ptr::from_mut(&mut search).cast());
        };
        search.found
    }

    /// What `address` was loaded with: this host does not tell.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn of(_address: *const c_void) -> Option<Self> {
        None
    }

    fn segment(&self, address: usize) -> Option<&Segment> {
        self.segments
            .iter()
            .find(|segment| (segment.start..segment.end).contains(&address))
    }
}

impl Places for LoadedObject {
    fn covers(&self, address: usize) -> bool {
        self.segment(address).is_some()
    }

    fn name(&self, address: usize) -> Option<Place> {
        self.covers(address).then(|| Place {
            anchor: 0,
            offset: (address - self.base) as u64,
        })
    }

    fn find(&self, place: Place) -> Option<usize> {
        let address = self.base.checked_add(usize::try_from(place.offset).ok()?)?;
        (place.anchor == 0 && self.covers(address)).then_some(address)
    }

    fn witness(&self, place: Place) -> u64 {
        let Some(at) = self.find(place) else {
            return 0;
        };
        match self.segment(at) {
            Some(segment) if !segment.writable && at + 8 <= segment.end => {
                let at: *const u64 = std::ptr::with_exposed_provenance(at);
                // SAFETY: inside a segment of a loaded object that is mapped for reading and never written.
                unsafe { at.read_unaligned() }
            }
            _ => 0,
        }
    }

    fn identity(&self) -> Vec<u8> {
        self.identity.clone()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
struct Search {
    address: usize,
    found: Option<LoadedObject>,
}

/// Looks at one loaded object; 1 ends the search.
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe extern "C" fn look(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    state: *mut c_void,
) -> c_int {
    // SAFETY: `LoadedObject::of` passes it.
    let search = unsafe { &mut *state.cast::<Search>() };
    // SAFETY: the system describes an object that stays loaded during the call.
    let (base, headers) = unsafe {
        let info = &*info;
        let base = usize::try_from(info.dlpi_addr).unwrap_or(0);
        (
            base,
            std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)),
        )
    };
    let mut segments = Vec::new();
    let mut identity = Vec::new();
    for header in headers {
        let (start, len) = (
            base.wrapping_add(usize::try_from(header.p_vaddr).unwrap_or(0)),
            usize::try_from(header.p_memsz).unwrap_or(0),
        );
        for word in [
            u64::from(header.p_type),
            u64::from(header.p_flags),
            header.p_vaddr,
            header.p_filesz,
            header.p_memsz,
        ] {
            identity.extend_from_slice(&word.to_le_bytes());
        }
        match header.p_type {
            libc::PT_LOAD if header.p_flags & libc::PF_R != 0 => segments.push(Segment {
                start,
                end: start + len,
                writable: header.p_flags & libc::PF_W != 0,
            }),
            libc::PT_NOTE => {
                // SAFETY: notes are loaded with the object.
                let notes = unsafe {
                    std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(start), len)
                };
                identity.extend_from_slice(notes);
            }
            _ => {}
        }
    }
    if !segments
        .iter()
        .any(|segment| (segment.start..segment.end).contains(&search.address))
    {
        return 0;
    }
    search.found = Some(LoadedObject {
        base,
        segments,
        identity,
    });
    1
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn code_has_names_and_what_is_allocated_has_none() {
        let code = (look as *const ()).cast::<c_void>();
        let object = LoadedObject::of(code).expect("this program is loaded");
        let place = object.name(code.addr()).expect("its code has names");
        assert_eq!(object.find(place), Some(code.addr()));
        assert_ne!(object.witness(place), 0);
        let other = Place {
            offset: place.offset + 1,
            ..place
        };
        assert_ne!(object.witness(place), object.witness(other));
        let boxed = Box::new(1_u8);
        assert!(object.name(std::ptr::from_ref(&*boxed).addr()).is_none());
        assert_eq!(object.find(Place { anchor: 1, ..place }), None);
        assert_eq!(
            object.find(Place {
                anchor: 0,
                offset: 1 << 40
            }),
            None
        );
        assert!(!object.identity().is_empty());
        let same = LoadedObject::of(std::ptr::from_ref(&LIMIT).cast()).unwrap();
        assert_eq!(same.identity(), object.identity());
    }

    #[test]
    fn a_module_s_own_parts_have_names_for_other_programs() {
        let module = Module::for_tests(c"anywhere", c"", 0x10_0000);
        let rust = (look as *const ()).addr();
        let names = Gathered {
            parts: module.gathered().unwrap(),
            object: LoadedObject::of((look as *const ()).cast()).unwrap(),
        };
        let [code, _] = module.gathered().unwrap();
        let place = names.name(code.start + 3).unwrap();
        assert_eq!(
            place,
            Place {
                anchor: 0,
                offset: 3
            }
        );
        assert_eq!(names.find(place), Some(code.start + 3));
        assert_eq!(names.name(code.end), None);
        assert!(names.covers(rust), "a part of the program");
        assert_eq!(names.name(rust), None, "not of the module");
        for (anchor, offset) in [(0, code.len() as u64), (1, 0), (2, 0), (0, u64::MAX)] {
            assert_eq!(names.find(Place { anchor, offset }), None);
        }
        assert!(names.object.name(rust).is_some());
    }

    static LIMIT: u32 = 7;
}
