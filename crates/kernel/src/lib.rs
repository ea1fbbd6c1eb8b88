//! A small POSIX kernel that lives inside the host process.
//!
//! Guests (see the `pglite-oxide-machine` crate) reach the world through [`syscalls::dispatch`] alone. The kernel knows
//! nothing of wasm, machine code or PostgreSQL: guest memory is reached through [`memory::AddressSpace`], processes
//! are started through [`memory::Machine`].
//!
//! # Lock order
//!
//! `Kernel::processes` -> `Process::family` -> `Process::files` -> `Process::mm` -> a file's own locks -> wait queues.
//! Nothing is locked while a process sleeps ([`wait::wait_until`]).
#![forbid(unsafe_code)]

pub mod abi;
pub mod copy;
pub mod errno;
pub mod fdtable;
pub mod file;
pub mod fs;
pub mod handoff;
pub mod image;
pub mod kernel;
pub mod memory;
pub mod net;
pub mod process;
pub(crate) mod reactor;
pub mod syscalls;
pub mod wait;

pub use errno::Errno;
pub use kernel::{Kernel, KernelOptions};
pub use process::{ExitStatus, Pid, Process};
