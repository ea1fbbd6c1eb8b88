//! What the operating system is asked for: reserving, mapping, shared memory objects, which pages are dirty, loading code.

#[cfg(unix)]
mod loadable;
#[cfg(unix)]
mod program;
#[cfg(unix)]
mod unix;
#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod written;
#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
#[path = "written_unknown.rs"]
mod written;
#[cfg(unix)]
pub use loadable::Loadable;
#[cfg(unix)]
pub use program::place_in_file;
#[cfg(unix)]
pub use unix::*;
pub use written::{private_pages, take_written, watch};

#[cfg(windows)]
compile_error!(
    "pglite-oxide does not run on Windows yet: sys/windows needs VirtualAlloc2 placeholders and a vectored exception handler"
);
