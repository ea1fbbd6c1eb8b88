//! The system call table, its dispatch and the trace of calls.
//!
//! The table is the truth about compatibility: `docs/SYSCALLS.md`, the strace output and the coverage test come from it.

use crate::errno::{Errno, SysResult};
use crate::memory::GuestAddr;
use crate::process::Process;

mod table;

pub use table::TABLE;

/// The six argument slots of a call, as the guest passed them.
#[derive(Clone, Copy, Debug)]
pub struct Args(pub [u32; 6]);

impl Args {
    /// Slot `n` as it is.
    #[must_use]
    pub const fn u32(&self, n: usize) -> u32 {
        self.0[n]
    }

    /// Slot `n` as a signed number.
    #[must_use]
    pub const fn i32(&self, n: usize) -> i32 {
        self.0[n].cast_signed()
    }

    /// Slot `n` as a guest address.
    #[must_use]
    pub const fn ptr(&self, n: usize) -> GuestAddr {
        GuestAddr(self.0[n])
    }

    /// Slots `n` (low) and `n + 1` (high) as a 64-bit number.
    #[must_use]
    pub fn u64(&self, n: usize) -> u64 {
        u64::from(self.0[n]) | u64::from(self.0[n + 1]) << 32
    }

    /// The same, signed.
    #[must_use]
    pub fn i64(&self, n: usize) -> i64 {
        self.u64(n).cast_signed()
    }
}

/// A call's implementation.
pub type Handler = fn(&Process, &Args) -> SysResult;

/// How faithful a call is (after gVisor's table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// As Linux does it, for what a guest can observe.
    Supported,
    /// Works; what is ignored or different.
    Partial(&'static str),
    /// Always fails with this error; why.
    Error(Errno, &'static str),
}

/// One row of the table.
pub struct Call {
    /// asm-generic number, or ours from 0x1000.
    pub number: u32,
    /// Linux's name.
    pub name: &'static str,
    /// Implementation.
    pub handler: Handler,
    /// Status.
    pub support: Support,
    /// Argument formats for the trace, one letter each: `d` signed, `u` unsigned, `x` hex or pointer, `o` octal, `s` C string, `l` 64-bit (two slots), `f` descriptor, `g` signal.
    pub signature: &'static str,
}

/// What the guest's thread does after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Returns this to the guest: a result, or `-errno`.
    Return(i32),
    /// Leaves the guest for good: the process has exited or was killed; its status is recorded already.
    Unwind,
}
