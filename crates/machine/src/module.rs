//! The C ABI of compiled modules: the Rust mirror of `guest/runtime/pglite_module.h`.

use std::ffi::{CStr, c_char, c_int, c_void};

/// Version of the ABI this crate speaks.
pub const ABI_VERSION: u32 = 2;
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
/// `enter` result: a system call left the guest.
pub const EXITED: c_int = 1;
/// `enter` results from here on: a trap.
pub const TRAPPED: c_int = 2;

/// The head of `struct pgl_context`; the C side knows the rest.
#[repr(C)]
pub struct Context {
    /// Serves a system call.
    pub syscall:
        Option<extern "C" fn(task: *mut c_void, number: u32, arguments: *const u32) -> i64>,
    /// Handed to it.
    pub task: *mut c_void,
}

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
    instantiate: unsafe extern "C" fn(instance: *mut c_void),
    fork_instance: unsafe extern "C" fn(child: *mut c_void, parent: *const c_void),
    enter_start:
        unsafe extern "C" fn(instance: *mut c_void, argc: u32, argv: u32, envp: u32) -> c_int,
    enter_fork_child:
        unsafe extern "C" fn(instance: *mut c_void, function: u32, argument: u32) -> c_int,
    unwind: unsafe extern "C" fn(context: *mut Context, code: c_int),
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
        extern "C" fn instantiate(_: *mut c_void) {}
        extern "C" fn fork(_: *mut c_void, _: *const c_void) {}
        extern "C" fn start(_: *mut c_void, _: u32, _: u32, _: u32) -> c_int {
            EXITED
        }
        extern "C" fn fork_child(_: *mut c_void, _: u32, _: u32) -> c_int {
            EXITED
        }
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
            enter_start: start,
            enter_fork_child: fork_child,
            unwind,
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
        unsafe { CStr::from_ptr(self.core) }
            .to_str()
            .unwrap_or("?")
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
    /// `instance` lies [`INSTANCE_SPAN`] below a guest memory of zero pages, and the caller instantiates no module at the same time.
    pub(crate) unsafe fn instantiate(&self, instance: *mut u8) {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.instantiate)(instance.cast()) }
    }

    /// Copies the globals.
    ///
    /// # Safety
    /// Both point to instances of this module (the child's may be unset), and neither runs.
    pub(crate) unsafe fn fork_instance(&self, child: *mut u8, parent: *const u8) {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.fork_instance)(child.cast(), parent.cast()) }
    }

    /// Runs `guest_start` until the guest is left.
    ///
    /// # Safety
    /// `instance` is instantiated, its context is set, and this thread runs no other guest.
    pub(crate) unsafe fn enter_start(
        &self,
        instance: *mut u8,
        argc: u32,
        argv: u32,
        envp: u32,
    ) -> c_int {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.enter_start)(instance.cast(), argc, argv, envp) }
    }

    /// Runs `guest_fork_child` until the guest is left.
    ///
    /// # Safety
    /// As [`Self::enter_start`].
    pub(crate) unsafe fn enter_fork_child(
        &self,
        instance: *mut u8,
        function: u32,
        argument: u32,
    ) -> c_int {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.enter_fork_child)(instance.cast(), function, argument) }
    }

    /// Jumps to the enter frame of `context`; does not return.
    ///
    /// # Safety
    /// This thread runs the guest of `context`, with nothing but compiled C on its stack above the enter frame.
    pub(crate) unsafe fn unwind(&self, context: *mut Context, code: c_int) {
        // SAFETY: the caller's contract is that of the C function.
        unsafe { (self.unwind)(context, code) }
    }
}
