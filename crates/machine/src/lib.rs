//! The machine: address spaces, images, shared segments, threads and traps for guests compiled ahead of time.
//!
//! It implements [`pglite_oxide_kernel::memory::Machine`]. All `unsafe` code of the workspace is here, in [`sys`] (mapping memory), [`space`], [`image`], [`segment`], `frozen`, [`module`], [`library`], [`pack`],
//! `places`, `trap` and `thread`.
//!
//! # How a guest is confined
//!
//! Compiled code reaches memory as `instance + constant + 32-bit address + 32-bit offset`. The instance lies [`module::INSTANCE_SPAN`] below the guest's byte 0,
//! and 8 GiB from there on belong to the space: 4 GiB of memory less the first and last 64 KiB, the rest never mapped. So no load or store can leave the reservation.
//! Below the instance is the guest's native stack, in the same reservation.
//! Calls through the function table are checked for range and type; everything else the guest can reach is the system call trampoline.
#![deny(unsafe_op_in_unsafe_fn)]

mod frozen;
pub mod image;
mod known;
mod layer;
pub mod library;
mod machine;
pub mod module;
pub mod pack;
mod places;
mod saved;
pub mod segment;
pub mod space;
mod spare;
pub mod sys;
mod thread;
mod trap;
mod watch;

pub use library::{Library, LibraryError};
pub use machine::{NativeMachine, Stats};
pub use module::Module;
