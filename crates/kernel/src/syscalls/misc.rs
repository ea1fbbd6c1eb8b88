//! The rest: limits, names, randomness.

use std::sync::Mutex;

use super::Args;
use crate::errno::{Errno, SysResult};
use crate::memory::AddressSpaceExt;
use crate::process::Process;
use crate::wait::lock;

const RLIMIT_DATA: u32 = 2;
const RLIMIT_STACK: u32 = 3;
const RLIMIT_CORE: u32 = 4;
const RLIMIT_NOFILE: u32 = 7;
const RLIMITS: u32 = 16;
/// What a guest may use of its native stack; the machine gives it more.
const STACK_LIMIT: u64 = 8 << 20;
const PR_SET_NAME: u32 = 15;
const PR_GET_NAME: u32 = 16;
const UTS_FIELD: usize = 65;
/// Most random bytes a call answers, as Linux.
const RANDOM_MAX: u32 = 32 << 20;

/// Warns once for each number that is not in the table.
pub(super) fn unknown(number: u32) {
    static SEEN: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    let mut seen = lock(&SEEN);
    if !seen.contains(&number) {
        seen.push(number);
        tracing::warn!(
            number,
            "a guest made a system call that is not in the table"
        );
    }
}

/// For rows that always fail; the table says with what.
pub(super) fn refused(_process: &Process, _args: &Args) -> SysResult {
    Err(Errno::ENOSYS)
}

/// For rows that always fail with `EPERM`.
pub(super) fn forbidden(_process: &Process, _args: &Args) -> SysResult {
    Err(Errno::EPERM)
}

/// For calls that have nothing to do here.
pub(super) fn nothing(_process: &Process, _args: &Args) -> SysResult {
    Ok(0)
}

pub(super) fn uname(process: &Process, args: &Args) -> SysResult {
    let mut out = [0_u8; UTS_FIELD * 6];
    for (field, text) in [
        "Linux",
        "localhost",
        "6.1.0",
        "pglite-oxide",
        "wasm32",
        "(none)",
    ]
    .iter()
    .enumerate()
    {
        out[field * UTS_FIELD..field * UTS_FIELD + text.len()].copy_from_slice(text.as_bytes());
    }
    process.space().write(args.ptr(0), &out).map(|()| 0)
}

pub(super) fn getrandom(process: &Process, args: &Args) -> SysResult {
    let len = args.u32(1).min(RANDOM_MAX);
    crate::fs::dev::fill_random(process.space().bytes_mut(args.ptr(0), len)?)?;
    Ok(len)
}

/// `prlimit64(pid, resource, new, old)`: limits are fixed; setting one is accepted and ignored.
pub(super) fn prlimit64(process: &Process, args: &Args) -> SysResult {
    let limit = match args.u32(1) {
        RLIMIT_STACK => STACK_LIMIT,
        RLIMIT_NOFILE => crate::fdtable::MAX_FDS as u64,
        RLIMIT_CORE => 0,
        RLIMIT_DATA => u64::MAX,
        0..RLIMITS => u64::MAX,
        _ => return Err(Errno::EINVAL),
    };
    if !args.ptr(3).is_null() {
        process.space().write_u64(args.ptr(3), limit)?;
        process.space().write_u64(args.ptr(3).offset(8)?, limit)?;
    }
    Ok(0)
}

pub(super) fn prctl(process: &Process, args: &Args) -> SysResult {
    match args.u32(0) {
        PR_SET_NAME => process.space().read_c_string(args.ptr(1), 4096).map(|_| 0),
        PR_GET_NAME => {
            let mut name = [0_u8; 16];
            let bytes = process.name.as_bytes();
            let len = bytes.len().min(15);
            name[..len].copy_from_slice(&bytes[..len]);
            process.space().write(args.ptr(1), &name).map(|()| 0)
        }
        // PR_SET_PDEATHSIG: the death of a parent is told through a pipe by those who care.
        1 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// `sched_getaffinity(pid, size, mask)`: as many processors as the host lets this process use.
pub(super) fn sched_getaffinity(process: &Process, args: &Args) -> SysResult {
    let size = args.u32(1).min(128);
    if size < 8 {
        return Err(Errno::EINVAL);
    }
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut mask = vec![0_u8; usize::try_from(size).unwrap_or(0)];
    for cpu in 0..count.min(mask.len() * 8) {
        mask[cpu / 8] |= 1 << (cpu % 8);
    }
    process.space().write(args.ptr(2), &mask)?;
    Ok(size)
}

pub(super) fn sched_yield(_process: &Process, _args: &Args) -> SysResult {
    std::thread::yield_now();
    Ok(0)
}

pub(super) fn getcpu(process: &Process, args: &Args) -> SysResult {
    for n in 0..2 {
        if !args.ptr(n).is_null() {
            process.space().write_u32(args.ptr(n), 0)?;
        }
    }
    Ok(0)
}

/// `getpriority` answers 20, which is nice value 0.
pub(super) fn getpriority(_process: &Process, _args: &Args) -> SysResult {
    Ok(20)
}

/// `sysinfo`: a machine of 4 GiB, all free.
pub(super) fn sysinfo(process: &Process, args: &Args) -> SysResult {
    let space = process.space();
    space.write(args.ptr(0), &[0; 64])?;
    space.write_u32(args.ptr(0).offset(16)?, u32::MAX >> 12)?;
    space.write_u32(args.ptr(0).offset(20)?, u32::MAX >> 12)?;
    space.write_u32(args.ptr(0).offset(52)?, 4096)?;
    Ok(0)
}
