//! The C ABI of compiled modules: the Rust mirror of `guest/runtime/pglite_module.h`.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ops::Range;

/// Version of the ABI this crate speaks.
pub const ABI_VERSION: u32 = 6;
/// Bytes from the instance to the guest's byte 0.
pub const INSTANCE_SPAN: usize = 0x10_0000;
/// Bytes from the context to the guest's byte 0.
pub const CONTEXT_SPAN: usize = 0x1_0000;
/// Bytes of linear memory a module may touch.
pub const MEMORY_SIZE: u32 = 4_294_901_760;
/// The first byte a guest may touch: below is never mapped, so that null pointers fault.
pub const FIRST_BYTE: u32 = 0x1_0000;
/// What the system call trampoline answers to leave the guest.
pub const UNWIND: i64 = i64::MIN;
/// ... and to leave it for now.
pub const PARK: i64 = i64::MIN + 1;
/// `resume` result: a system call left the guest for good.
pub const EXITED: c_int = 1;
/// `resume` result: a system call left the guest for now.
pub const PARKED: c_int = 2;
/// `resume` results from here on: a trap.
pub const TRAPPED: c_int = 3;

/// The head of `struct pgl_context`; the C side knows the rest.
#[repr(C)]
pub struct Context {
    /// Serves a system call.
    pub syscall:
        Option<extern "C" fn(task: *mut c_void, number: u32, arguments: *const u32) -> i64>,
    /// Handed to it.
    pub task: *mut c_void,
    /// Where the native stack begins, growing down.
    pub stack_base: *mut u8,
    /// Top of the native stack while the guest does not run.
    pub guest_stack: *mut u8,
    /// Top of the carrier's stack while it does.
    pub carrier_stack: *mut u8,
}

/// `pgl_present_fn`: how many bytes of a data segment the memory will have without their being written.
pub(crate) type Present =
    unsafe extern "C" fn(state: *mut c_void, offset: u32, data: *const u8, size: usize) -> usize;

/// `struct pgl_module`: what a compiled module offers. Made by the build, linked into the binary, never changed.
#[repr(C)]
pub struct Module {
    abi_version: u32,
    instance_size: u32,
    context_size: u32,
    heap_base: u32,
    name: *const c_char,
    fingerprint: *const c_char,
    core: *const c_char,
    instantiate: unsafe extern "C" fn(instance: *mut c_void, present: Present, state: *mut c_void),
    fork_instance: unsafe extern "C" fn(child: *mut c_void, parent: *const c_void),
    prepare_start: unsafe extern "C" fn(
        instance: *mut c_void,
        stack_base: *mut c_void,
        argc: u32,
        argv: u32,
        envp: u32,
    ),
    prepare_fork_child: unsafe extern "C" fn(
        instance: *mut c_void,
        stack_base: *mut c_void,
        function: u32,
        argument: u32,
    ),
    resume: unsafe extern "C" fn(context: *mut Context) -> c_int,
    relocate: unsafe extern "C" fn(
        context: *mut Context,
        old: *const c_void,
        new: *const c_void,
        span: usize,
    ),
    unwind: unsafe extern "C" fn(context: *mut Context, code: c_int),
    code_start: *const c_char,
    code_end: *const c_char,
    constants_start: *const c_char,
    constants_end: *const c_char,
}

// SAFETY: immutable data and function pointers; the strings are static.
unsafe impl Sync for Module {}
// SAFETY: as above.
unsafe impl Send for Module {}

/// Why a module cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// Built for another version of this crate.
    #[error(
        "compiled module {name} has ABI version {found}, this build needs {ABI_VERSION}: run `cargo xtask assets` again"
    )]
    Version {
        /// The module.
        name: String,
        /// What it says.
        found: u32,
    },
    /// Its instance or context does not fit its place.
    #[error("compiled module {name}: its {what} of {size} bytes does not fit")]
    Size {
        /// The module.
        name: String,
        /// `instance`, `context` or `image`.
        what: &'static str,
        /// Bytes.
        size: u32,
    },
    /// A side module cannot be used.
    #[error(transparent)]
    Library(#[from] crate::library::LibraryError),
}

impl Module {
    /// A descriptor that nothing can be run with.
    #[cfg(test)]
    pub(crate) fn for_tests(
        name: &'static CStr,
        core: &'static CStr,
        heap_base: u32,
    ) -> &'static Self {
        extern "C" fn instantiate(_: *mut c_void, _: Present, _: *mut c_void) {}
        extern "C" fn fork(_: *mut c_void, _: *const c_void) {}
        extern "C" fn start(_: *mut c_void, _: *mut c_void, _: u32, _: u32, _: u32) {}
        extern "C" fn fork_child(_: *mut c_void, _: *mut c_void, _: u32, _: u32) {}
        extern "C" fn resume(_: *mut Context) -> c_int {
            EXITED
        }
        extern "C" fn relocate(_: *mut Context, _: *const c_void, _: *const c_void, _: usize) {}
        extern "C" fn unwind(_: *mut Context, _: c_int) {}
        Box::leak(Box::new(Self {
            abi_version: ABI_VERSION,
            instance_size: 8,
            context_size: 64,
            heap_base,
            name: name.as_ptr(),
            fingerprint: c"".as_ptr(),
            core: core.as_ptr(),
            instantiate,
            fork_instance: fork,
            prepare_start: start,
            prepare_fork_child: fork_child,
            resume,
            relocate,
            unwind,
            code_start: name.as_ptr(),
            // SAFETY: the string and its end.
            code_end: unsafe { name.as_ptr().add(name.count_bytes()) },
            constants_start: std::ptr::null(),
            constants_end: std::ptr::null(),
        }))
    }

    /// The program's name.
    pub fn name(&self) -> &str {
        // SAFETY: the build writes a static NUL-terminated string.
        unsafe { CStr::from_ptr(self.name) }.to_str().unwrap_or("?")
    }

    /// Fingerprint of the build that made it.
    pub fn fingerprint(&self) -> &str {
        // SAFETY: the build writes a static NUL-terminated string.
        unsafe { CStr::from_ptr(self.fingerprint) }
            .to_str()
            .unwrap_or("?")
    }

    /// Fingerprint of the program as linked: side modules are built for exactly one.
    pub fn core(&self) -> &str {
        // SAFETY: the build writes a static NUL-terminated string.
        unsafe { CStr::from_ptr(self.core) }.to_str().unwrap_or("?")
    }

    /// Where the parts of the module are that no linker takes apart: its code, its constants. `None` if there are none, as in a module without a profile.
    pub(crate) fn gathered(&self) -> Option<[Range<usize>; 2]> {
        let range = |start: *const c_char, end: *const c_char| start.addr()..end.addr();
        (!self.code_start.is_null()).then(|| {
            [
                range(self.code_start, self.code_end),
                range(self.constants_start, self.constants_end),
            ]
        })
    }

    /// Checks that the descriptor is one that this crate can run.
    pub fn validate(&self) -> Result<(), ModuleError> {
        let name = || self.name().to_owned();
        if self.abi_version != ABI_VERSION {
            return Err(ModuleError::Version {
                name: name(),
                found: self.abi_version,
            });
        }
        if self.instance_size as usize > INSTANCE_SPAN - CONTEXT_SPAN {
            return Err(ModuleError::Size {
                name: name(),
                what: "instance",
                size: self.instance_size,
            });
        }
        if self.context_size as usize > CONTEXT_SPAN
            || (self.context_size as usize) < size_of::<Context>()
        {
            return Err(ModuleError::Size {
                name: name(),
                what: "context",
                size: self.context_size,
            });
        }
        if self.heap_base <= FIRST_BYTE || self.heap_base > MEMORY_SIZE / 2 {
            return Err(ModuleError::Size {
                name: name(),
                what: "image",
                size: self.heap_base,
            });
        }
        Ok(())
    }

    /// First byte after data and stack.
    pub fn heap_base(&self) -> u32 {
        self.heap_base
    }

    /// Bytes of the instance.
    pub fn instance_size(&self) -> usize {
        self.instance_size as usize
    }

    /// Writes globals, table and data.
    ///
    /// # Safety
    /// `instance` lies [`INSTANCE_SPAN`] below a guest memory of zero pages, the caller instantiates no module at the same time, and `present` can be called with `state`.
    pub(crate) unsafe fn instantiate(
        &self,
        instance: *mut u8,
        present: Present,
        state: *mut c_void,
    ) {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.instantiate)(instance.cast(), present, state) }
    }

    /// Copies the globals.
    ///
    /// # Safety
    /// Both point to instances of this module (the child's may be unset), and neither runs.
    pub(crate) unsafe fn fork_instance(&self, child: *mut u8, parent: *const u8) {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.fork_instance)(child.cast(), parent.cast()) }
    }

    /// Bytes of the context.
    pub fn context_size(&self) -> usize {
        self.context_size as usize
    }

    /// Makes `guest_start` what [`Self::resume`] runs.
    ///
    /// # Safety
    /// `instance` is instantiated and does not run; `stack_base` is the end of its native stack.
    pub(crate) unsafe fn prepare_start(
        &self,
        instance: *mut u8,
        stack_base: *mut u8,
        [argc, argv, envp]: [u32; 3],
    ) {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.prepare_start)(instance.cast(), stack_base.cast(), argc, argv, envp) }
    }

    /// Makes `guest_fork_child` what [`Self::resume`] runs.
    ///
    /// # Safety
    /// As [`Self::prepare_start`].
    pub(crate) unsafe fn prepare_fork_child(
        &self,
        instance: *mut u8,
        stack_base: *mut u8,
        [function, argument]: [u32; 2],
    ) {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.prepare_fork_child)(instance.cast(), stack_base.cast(), function, argument) }
    }

    /// Runs a prepared or parked guest until it is left; see [`EXITED`], [`PARKED`], [`TRAPPED`].
    ///
    /// # Safety
    /// The context is prepared or parked, `syscall` and `task` are set, and this thread runs no other guest.
    pub(crate) unsafe fn resume(&self, context: *mut Context) -> c_int {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.resume)(context) }
    }

    /// Adjusts the addresses in a copied context and native stack.
    ///
    /// # Safety
    /// Both lie in the space at `new` as they lay, parked, in the one that was at `old`; each of these has `span` bytes.
    pub(crate) unsafe fn relocate(
        &self,
        context: *mut Context,
        old: usize,
        new: *const u8,
        span: usize,
    ) {
        let old = std::ptr::without_provenance(old);
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.relocate)(context, old, new.cast(), span) }
    }

    /// Leaves the guest of `context`; does not return.
    ///
    /// # Safety
    /// This thread runs the guest of `context`, with nothing but compiled C on the guest's stack.
    pub(crate) unsafe fn unwind(&self, context: *mut Context, code: c_int) {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.unwind)(context, code) }
    }
}
