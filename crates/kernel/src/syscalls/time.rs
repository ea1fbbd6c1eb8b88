//! Clocks, sleeping, alarms and accounting of time.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::Args;
use crate::errno::{Errno, SysResult};
use crate::memory::{AddressSpaceExt, GuestAddr};
use crate::process::Process;
use crate::wait::wait_until;

const TIMER_ABSTIME: u32 = 1;

/// The time of a Linux clock number since its epoch; unknown numbers count as the monotonic clock.
pub(crate) fn now(clock: u32) -> Duration {
    let id = match clock {
        0 => ClockId::Realtime,
        2 => ClockId::ProcessCPUTime,
        3 => ClockId::ThreadCPUTime,
        _ => ClockId::Monotonic,
    };
    let time = clock_gettime(id);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// The time that a guest is told; its monotonic clock may be ahead of the host's.
pub(super) fn guest_now(process: &Process, clock: u32) -> Result<Duration, Errno> {
    let host = now(clock);
    if matches!(clock, 0 | 2 | 3) {
        return Ok(host);
    }
    Ok(process.kernel()?.clock(host))
}

/// Reads a 64-bit `struct timespec`.
pub(super) fn read_timespec(process: &Process, at: GuestAddr) -> Result<Duration, Errno> {
    let seconds = process.space().read_u64(at)?;
    let nanoseconds = process.space().read_u64(at.offset(8)?)?;
    match (i64::try_from(seconds), u32::try_from(nanoseconds)) {
        (Ok(_), Ok(nanoseconds)) if nanoseconds < 1_000_000_000 => {
            Ok(Duration::new(seconds, nanoseconds))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Writes a 64-bit `struct timespec`.
pub(super) fn write_timespec(
    process: &Process,
    at: GuestAddr,
    time: Duration,
) -> Result<(), Errno> {
    process.space().write_u64(at, time.as_secs())?;
    process
        .space()
        .write_u64(at.offset(8)?, u64::from(time.subsec_nanos()))
}

pub(super) fn clock_gettime64(process: &Process, args: &Args) -> SysResult {
    if args.u32(0) > 11 {
        return Err(Errno::EINVAL);
    }
    // A guest's process is a thread here: its CPU clock is the thread's.
    let clock = if args.u32(0) == 2 { 3 } else { args.u32(0) };
    write_timespec(process, args.ptr(1), guest_now(process, clock)?).map(|()| 0)
}

pub(super) fn clock_getres64(process: &Process, args: &Args) -> SysResult {
    if args.u32(0) > 11 {
        return Err(Errno::EINVAL);
    }
    if !args.ptr(1).is_null() {
        write_timespec(process, args.ptr(1), Duration::from_nanos(1))?;
    }
    Ok(0)
}

/// `clock_nanosleep_time64(clock, flags, request, remain)`.
pub(super) fn clock_nanosleep64(process: &Process, args: &Args) -> SysResult {
    let request = read_timespec(process, args.ptr(2))?;
    let absolute = args.u32(1) & TIMER_ABSTIME != 0;
    let span = if absolute {
        request.saturating_sub(guest_now(process, args.u32(0))?)
    } else {
        request
    };
    let deadline = Instant::now().checked_add(span);
    match wait_until(process, &[], deadline, || Ok(None::<u32>)) {
        Err(Errno::ETIMEDOUT) => Ok(0),
        Err(Errno::EINTR) => {
            if let Some(at) = deadline
                && !absolute
                && !args.ptr(3).is_null()
            {
                write_timespec(
                    process,
                    args.ptr(3),
                    at.saturating_duration_since(Instant::now()),
                )?;
            }
            Err(Errno::EINTR)
        }
        other => other,
    }
}

fn read_timeval32(process: &Process, at: GuestAddr) -> Result<Duration, Errno> {
    let (seconds, micros) = (
        process.space().read_u32(at)?,
        process.space().read_u32(at.offset(4)?)?,
    );
    if micros >= 1_000_000 || i32::try_from(seconds).is_err() {
        return Err(Errno::EINVAL);
    }
    Ok(Duration::new(u64::from(seconds), micros * 1000))
}

fn write_timeval32(process: &Process, at: GuestAddr, time: Duration) -> Result<(), Errno> {
    process
        .space()
        .write_u32(at, u32::try_from(time.as_secs()).unwrap_or(u32::MAX >> 1))?;
    process
        .space()
        .write_u32(at.offset(4)?, time.subsec_micros())
}

fn write_itimerval(
    process: &Process,
    at: GuestAddr,
    (value, interval): (Duration, Duration),
) -> Result<(), Errno> {
    if at.is_null() {
        return Ok(());
    }
    write_timeval32(process, at, interval)?;
    write_timeval32(process, at.offset(8)?, value)
}

pub(super) fn getitimer(process: &Process, args: &Args) -> SysResult {
    let current = if args.u32(0) == 0 {
        process.itimer.get()
    } else {
        (Duration::ZERO, Duration::ZERO)
    };
    write_itimerval(process, args.ptr(1), current).map(|()| 0)
}

pub(super) fn setitimer(process: &Process, args: &Args) -> SysResult {
    if args.u32(0) != 0 {
        return Err(Errno::EINVAL);
    }
    let interval = read_timeval32(process, args.ptr(1))?;
    let value = read_timeval32(process, args.ptr(1).offset(8)?)?;
    let old = process.itimer.set(&process.shared()?, value, interval);
    write_itimerval(process, args.ptr(2), old).map(|()| 0)
}

/// `getrusage`: CPU time of the thread; everything else is zero.
pub(super) fn getrusage(process: &Process, args: &Args) -> SysResult {
    process.space().write(args.ptr(1), &[0; 72])?;
    if args.i32(0) != -1 {
        write_timeval32(process, args.ptr(1), now(3))?;
    }
    Ok(0)
}

/// `times`: in hundredths of a second.
pub(super) fn times(process: &Process, args: &Args) -> SysResult {
    if !args.ptr(0).is_null() {
        process.space().write(args.ptr(0), &[0; 16])?;
        process.space().write_u32(
            args.ptr(0),
            u32::try_from(now(3).as_millis() / 10).unwrap_or(0),
        )?;
    }
    Ok(u32::try_from((guest_now(process, 1)?.as_millis() / 10) & 0x7fff_ffff).unwrap_or(0))
}
