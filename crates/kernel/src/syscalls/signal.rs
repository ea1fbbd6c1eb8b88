//! Signals: sending, masks, dispositions.

use std::time::Instant;

use super::Args;
use super::time::read_timespec;
use crate::errno::{Errno, SysResult};
use crate::memory::{AddressSpaceExt, GuestAddr};
use crate::process::signal::{Action, MAX_SIGNAL, SI_USER, SIGKILL, SigInfo, SigSet};
use crate::process::{Pid, Process};
use crate::wait::{WakeSource, wait_until};

const SIGSTOP: u8 = 19;

fn signal_number(value: u32) -> Result<u8, Errno> {
    u8::try_from(value)
        .ok()
        .filter(|&signo| signo <= MAX_SIGNAL)
        .ok_or(Errno::EINVAL)
}

/// Reads a `sigset_t` of the size the call names, which must be 8.
pub(super) fn read_mask(process: &Process, at: GuestAddr) -> Result<SigSet, Errno> {
    process.space().read_u64(at).map(SigSet)
}

/// `rt_sigaction(signo, new, old, size)`; `struct k_sigaction { handler, flags, mask[2], unused }`.
pub(super) fn rt_sigaction(process: &Process, args: &Args) -> SysResult {
    let signo = signal_number(args.u32(0))?;
    if signo == 0 || args.u32(3) != 8 {
        return Err(Errno::EINVAL);
    }
    let (space, signals) = (process.space(), process.signals());
    let new = if args.ptr(1).is_null() {
        None
    } else {
        if signo == SIGKILL || signo == SIGSTOP {
            return Err(Errno::EINVAL);
        }
        let at = args.ptr(1);
        Some(Action {
            handler: space.read_u32(at)?,
            flags: space.read_u32(at.offset(4)?)?,
            mask: SigSet(space.read_u64(at.offset(8)?)?),
        })
    };
    if !args.ptr(2).is_null() {
        let (at, old) = (args.ptr(2), signals.action(signo));
        space.write_u32(at, old.handler)?;
        space.write_u32(at.offset(4)?, old.flags)?;
        space.write_u64(at.offset(8)?, old.mask.0)?;
    }
    if let Some(action) = new {
        signals.set_action(signo, action, space);
    }
    Ok(0)
}

/// `rt_sigprocmask(how, new, old, size)`.
pub(super) fn rt_sigprocmask(process: &Process, args: &Args) -> SysResult {
    if args.u32(3) != 8 {
        return Err(Errno::EINVAL);
    }
    let (space, signals) = (process.space(), process.signals());
    let old = signals.mask();
    if !args.ptr(1).is_null() {
        let set = read_mask(process, args.ptr(1))?;
        let new = match args.u32(0) {
            0 => SigSet(old.0 | set.0),
            1 => SigSet(old.0 & !set.0),
            2 => set,
            _ => return Err(Errno::EINVAL),
        };
        signals.set_mask(new, space);
    }
    if !args.ptr(2).is_null() {
        space.write_u64(args.ptr(2), old.0)?;
    }
    Ok(0)
}

pub(super) fn rt_sigpending(process: &Process, args: &Args) -> SysResult {
    let pending = process.signals().pending().0 & process.signals().mask().0;
    process.space().write_u64(args.ptr(0), pending).map(|()| 0)
}

pub(super) fn rt_sigsuspend(process: &Process, args: &Args) -> SysResult {
    let mask = read_mask(process, args.ptr(0))?;
    process.signals().set_temporary_mask(mask, process.space());
    wait_until(process, &[], None, || Ok(None::<u32>))
}

/// `rt_sigtimedwait_time64(set, info, timeout, size)`.
pub(super) fn rt_sigtimedwait(process: &Process, args: &Args) -> SysResult {
    let set = read_mask(process, args.ptr(0))?;
    let deadline = if args.ptr(2).is_null() {
        None
    } else {
        Instant::now().checked_add(read_timespec(process, args.ptr(2))?)
    };
    let signals = process.signals();
    let info = wait_until(
        process,
        &[WakeSource::Queue(signals.queue())],
        deadline,
        || Ok(signals.take(set)),
    )
    .map_err(|error| {
        if error == Errno::ETIMEDOUT {
            Errno::EAGAIN
        } else {
            error
        }
    })?;
    if !args.ptr(1).is_null() {
        process.space().write(args.ptr(1), &info.to_bytes())?;
    }
    Ok(u32::from(info.signo))
}

/// `kill(pid, signo)`.
pub(super) fn kill(process: &Process, args: &Args) -> SysResult {
    let signo = signal_number(args.u32(1))?;
    let pid = args.i32(0);
    let kernel = process.kernel()?;
    let info = SigInfo {
        signo,
        code: SI_USER,
        pid: process.pid.0,
        uid: crate::fs::GUEST_UID,
        status: 0,
    };
    let own_group = process.family().group;
    let targets: Vec<_> = match pid {
        1.. => kernel.process(Pid(pid)).into_iter().collect(),
        0 => kernel
            .live()
            .into_iter()
            .filter(|p| p.family().group == own_group)
            .collect(),
        -1 => kernel
            .live()
            .into_iter()
            .filter(|p| p.pid != process.pid)
            .collect(),
        _ => kernel
            .live()
            .into_iter()
            .filter(|p| p.family().group.0 == pid.wrapping_neg())
            .collect(),
    };
    if targets.is_empty() {
        // An ended child that was not waited for still counts as there.
        let zombie = process
            .family()
            .zombies
            .iter()
            .any(|z| z.pid.0 == pid || pid < -1 && z.group.0 == pid.wrapping_neg());
        return if zombie { Ok(0) } else { Err(Errno::ESRCH) };
    }
    if signo != 0 {
        for target in targets {
            target.post(info);
        }
    }
    Ok(0)
}

/// `tkill(tid, signo)` and, one slot on, `tgkill(tgid, tid, signo)`: a process has one thread.
pub(super) fn tkill(process: &Process, args: &Args) -> SysResult {
    kill(process, &Args([args.u32(0), args.u32(1), 0, 0, 0, 0]))
}

pub(super) fn tgkill(process: &Process, args: &Args) -> SysResult {
    if args.u32(0) != args.u32(1) {
        return Err(Errno::ESRCH);
    }
    kill(process, &Args([args.u32(1), args.u32(2), 0, 0, 0, 0]))
}
