//! Processes: identity, ending, waiting.

use super::Args;
use crate::errno::{Errno, SysResult};
use crate::memory::AddressSpaceExt;
use crate::process::{ExitStatus, Family, Pid, Process, Zombie};
use crate::wait::{WakeSource, wait_until};

const WNOHANG: u32 = 1;
const WEXITED: u32 = 4;
const WNOWAIT: u32 = 0x0100_0000;

fn id(pid: Pid) -> u32 {
    pid.0.cast_unsigned()
}

pub(super) fn exit(process: &Process, args: &Args) -> SysResult {
    process.terminate(ExitStatus::Exited(
        u8::try_from(args.u32(0) & 0xff).unwrap_or(0),
    ));
    Ok(0)
}

pub(super) fn getpid(process: &Process, _args: &Args) -> SysResult {
    Ok(id(process.pid))
}

pub(super) fn getppid(process: &Process, _args: &Args) -> SysResult {
    Ok(id(process.family().parent))
}

/// Of itself or of a live process.
fn of(process: &Process, pid: i32, pick: impl Fn(&Family) -> Pid) -> SysResult {
    if pid == 0 || pid == process.pid.0 {
        return Ok(id(pick(&process.family())));
    }
    let other = process.kernel()?.process(Pid(pid)).ok_or(Errno::ESRCH)?;
    let family = other.family();
    Ok(id(pick(&family)))
}

pub(super) fn getpgid(process: &Process, args: &Args) -> SysResult {
    of(process, args.i32(0), |family| family.group)
}

pub(super) fn getsid(process: &Process, args: &Args) -> SysResult {
    of(process, args.i32(0), |family| family.session)
}

pub(super) fn setsid(process: &Process, _args: &Args) -> SysResult {
    let mut family = process.family();
    if family.group == process.pid && family.session == process.pid && family.parent != Pid(0) {
        return Err(Errno::EPERM);
    }
    family.group = process.pid;
    family.session = process.pid;
    Ok(id(process.pid))
}

pub(super) fn setpgid(process: &Process, args: &Args) -> SysResult {
    let (pid, group) = (args.i32(0), args.i32(1));
    if group < 0 {
        return Err(Errno::EINVAL);
    }
    let target = if pid == 0 || pid == process.pid.0 {
        process.shared()?
    } else {
        process.kernel()?.process(Pid(pid)).ok_or(Errno::ESRCH)?
    };
    if target.pid != process.pid && target.family().parent != process.pid {
        return Err(Errno::ESRCH);
    }
    target.family().group = if group == 0 { target.pid } else { Pid(group) };
    Ok(0)
}

/// All ids of the one user there is.
pub(super) fn getuid(_process: &Process, _args: &Args) -> SysResult {
    Ok(crate::fs::GUEST_UID)
}

pub(super) fn getresuid(process: &Process, args: &Args) -> SysResult {
    for n in 0..3 {
        process
            .space()
            .write_u32(args.ptr(n), crate::fs::GUEST_UID)?;
    }
    Ok(0)
}

/// Becoming who one is already.
pub(super) fn setuid(_process: &Process, args: &Args) -> SysResult {
    let keep = [crate::fs::GUEST_UID, u32::MAX];
    if keep.contains(&args.u32(0)) {
        Ok(0)
    } else {
        Err(Errno::EPERM)
    }
}

pub(super) fn getgroups(_process: &Process, _args: &Args) -> SysResult {
    Ok(0)
}

/// `waitid(type, id, info, options, rusage)`: what musl's `waitpid` calls.
pub(super) fn waitid(process: &Process, args: &Args) -> SysResult {
    let (kind, which, options) = (args.u32(0), args.i32(1), args.u32(3));
    if options & WEXITED == 0 || kind > 2 {
        return Err(Errno::EINVAL);
    }
    let own_group = process.family().group;
    let matches = |pid: Pid, group: Pid| match kind {
        0 => true,
        1 => pid.0 == which,
        _ => group == if which == 0 { own_group } else { Pid(which) },
    };
    let kernel = process.kernel()?;
    let mut take = || -> Result<Option<Option<Zombie>>, Errno> {
        // In this order: a child is one of the two at any time, and goes from the first to the second.
        let alive = kernel.live().into_iter().any(|child| {
            let family = child.family();
            family.parent == process.pid && matches(child.pid, family.group)
        });
        let mut family = process.family();
        if let Some(at) = family
            .zombies
            .iter()
            .position(|zombie| matches(zombie.pid, zombie.group))
        {
            let zombie = family.zombies[at];
            if options & WNOWAIT == 0 {
                family.zombies.remove(at);
            }
            return Ok(Some(Some(zombie)));
        }
        if !alive {
            return Err(Errno::ECHILD);
        }
        Ok(if options & WNOHANG != 0 {
            Some(None)
        } else {
            None
        })
    };
    let ended = wait_until(
        process,
        &[WakeSource::Queue(process.children())],
        None,
        &mut take,
    )?;
    let mut info = [0_u8; 128];
    if let Some(zombie) = ended {
        let (code, status) = match zombie.status {
            ExitStatus::Exited(code) => (1, i32::from(code)),
            ExitStatus::Signaled(signo) => (2, i32::from(signo)),
        };
        for (at, word) in [
            17,
            0,
            code,
            zombie.pid.0,
            crate::fs::GUEST_UID.cast_signed(),
            status,
        ]
        .iter()
        .enumerate()
        {
            info[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
    if !args.ptr(2).is_null() {
        process.space().write(args.ptr(2), &info)?;
    }
    if !args.ptr(4).is_null() {
        process.space().write(args.ptr(4), &[0; 72])?;
    }
    Ok(0)
}
