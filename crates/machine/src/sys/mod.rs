//! What the operating system is asked for: reserving, mapping, shared memory objects, which pages are dirty.

#[cfg(unix)]
mod loadable;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use loadable::Loadable;
#[cfg(unix)]
pub use unix::*;

#[cfg(windows)]
compile_error!(
    "pglite-oxide does not run on Windows yet: sys/windows needs VirtualAlloc2 placeholders and a vectored exception handler"
);
