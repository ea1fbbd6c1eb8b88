//! The system call table, its dispatch and the trace of calls.
//!
//! The table is the truth about compatibility: `docs/SYSCALLS.md`, the strace output and the coverage test come from it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use crate::errno::{Errno, SysResult};
use crate::memory::GuestAddr;
use crate::process::signal::SIGSYS;
use crate::process::{ExitStatus, Process};

pub mod file;
pub mod futex;
mod io;
mod memory;
mod misc;
mod own;
mod path;
mod poll;
mod proc;
pub mod shm;
mod signal;
mod socket;
mod table;
pub(crate) mod time;
pub(crate) mod trace;

pub(crate) use poll::readiness;
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
    /// Leaves the guest for now, without effect: the call is made again when the process is resumed.
    Park,
    /// Leaves the guest for good: the process has exited or was killed; its status is recorded already.
    Unwind,
}

/// What the guest's wrapper takes as "run the handlers, then call again".
const RESTART: i32 = -512;
/// Linux's numbers end well below; ours are mapped behind them.
const LINUX_CALLS: usize = 512;
const OWN_BASE: u32 = 0x1000;
const OWN_CALLS: usize = 16;

fn slot(number: u32) -> Option<usize> {
    match number {
        0..512 => usize::try_from(number).ok(),
        OWN_BASE..0x1010 => usize::try_from(number - OWN_BASE)
            .ok()
            .map(|at| at + LINUX_CALLS),
        _ => None,
    }
}

/// The row of a call, if there is one.
pub fn lookup(number: u32) -> Option<&'static Call> {
    static INDEX: OnceLock<Vec<Option<&'static Call>>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut index = vec![None; LINUX_CALLS + OWN_CALLS];
        for call in TABLE {
            if let Some(at) = slot(call.number) {
                index[at] = Some(call);
            }
        }
        index
    });
    slot(number).and_then(|at| index[at])
}

/// Calls that Linux restarts after a handler with `SA_RESTART`.
fn restartable(number: u32) -> bool {
    // read, write, readv, writev, waitid, accept, connect, sendto, recvfrom, sendmsg, recvmsg, accept4, flock, openat
    matches!(
        number,
        32 | 56 | 63..=66 | 95 | 202 | 203 | 206 | 207 | 211 | 212 | 242
    )
}

/// Serves one system call on the guest's thread.
pub fn dispatch(process: &Arc<Process>, number: u32, args: [u32; 6]) -> Outcome {
    if process.ending().is_some() {
        return Outcome::Unwind;
    }
    if process.gate.is_closed() {
        return Outcome::Park;
    }
    let args = Args(args);
    let result = match lookup(number) {
        // A panic is a bug of ours; it must not unwind into compiled code, nor end the host.
        Some(call) => catch_unwind(AssertUnwindSafe(|| (call.handler)(process, &args)))
            .unwrap_or_else(|_| {
                tracing::error!(
                    pid = process.pid.0,
                    call = call.name,
                    "a system call handler panicked; the process is killed"
                );
                process.terminate(ExitStatus::Signaled(SIGSYS));
                Err(Errno::ENOSYS)
            }),
        None => {
            misc::unknown(number);
            Err(Errno::ENOSYS)
        }
    };
    if process.kernel().is_ok_and(|kernel| kernel.trace) {
        trace::print(process, number, &args, result);
    }
    if process.ending().is_some() {
        return Outcome::Unwind;
    }
    if result == Err(Errno::ERESTART_RESTARTBLOCK) {
        return Outcome::Park;
    }
    process.restart().take();
    Outcome::Return(match result {
        Ok(value) => value.cast_signed(),
        Err(Errno::EINTR) if restartable(number) && process.signals().restarts() => RESTART,
        Err(error) => -error.number(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_have_a_slot() {
        let mut seen = std::collections::BTreeSet::new();
        for call in TABLE {
            assert!(slot(call.number).is_some(), "{} has no slot", call.name);
            assert!(
                seen.insert(call.number),
                "{} is in the table twice",
                call.name
            );
        }
    }

    /// docs/SYSCALLS.md is written from the table; `UPDATE_DOCS=1 cargo test -p pglite-oxide-kernel` rewrites it.
    #[test]
    fn the_document_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/SYSCALLS.md");
        let mut rows: Vec<_> = TABLE.iter().collect();
        rows.sort_by_key(|call| call.number);
        let mut text = String::from(
            "# System calls\n\nWhat a guest can ask of the kernel. Written from `crates/kernel/src/syscalls/table.rs`; anything else is `ENOSYS`.\n\n| number | call | status |\n|---:|---|---|\n",
        );
        for call in rows {
            let status = match call.support {
                Support::Supported => "supported".to_owned(),
                Support::Partial(what) => format!("partial: {what}"),
                Support::Error(errno, why) => format!("`{}`: {why}", errno.name()),
            };
            text.push_str(&format!(
                "| {} | `{}` | {status} |\n",
                call.number, call.name
            ));
        }
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap_or_default(),
            text,
            "docs/SYSCALLS.md is stale: run with UPDATE_DOCS=1"
        );
    }
}
