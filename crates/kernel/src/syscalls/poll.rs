//! Waiting for many descriptors: `ppoll`, `pselect6`, `epoll`; and the descriptors made for being waited for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Args;
use super::time::read_timespec;
use crate::abi::{O_CLOEXEC, O_NONBLOCK, O_RDWR};
use crate::errno::{Errno, SysResult};
use crate::file::{File, OpenFile, Ready};
use crate::memory::{AddressSpaceExt, GuestAddr};
use crate::net::event::{Epoll, EventFd, SignalFd};
use crate::process::Process;
use crate::process::rest::Idle;
use crate::process::signal::SigSet;
use crate::wait::{WakeSource, lock, wait_or_park, wait_until};

/// How long a process that waits for events keeps its thread.
const PATIENCE: Duration = Duration::from_millis(20);
/// Descriptors of one `ppoll`.
const MAX_POLLED: u32 = 4096;
/// Bytes of the guest's `struct pollfd`.
const POLLFD: u32 = 8;
/// Bytes of the guest's `struct epoll_event`: `u32 events`, padding, `u64 data`.
const EPOLL_EVENT: u32 = 16;
/// Conditions that are reported without being asked for.
const ALWAYS: Ready = Ready::ERR.union(Ready::HUP);
/// `EPOLL*` bits above the conditions: edge-triggered, one-shot and the like.
const EPOLL_CONDITIONS: u32 = 0x3fff;

/// What could be done now, as `process` sees it.
pub(crate) fn readiness(process: &Process, open: &OpenFile) -> Ready {
    match open.file.as_any().downcast_ref::<SignalFd>() {
        Some(signals) if process.signals().pending_in(signals.mask()) => Ready::IN,
        Some(_) => Ready::empty(),
        None => open.file.ready(),
    }
}

/// What tells `process` of changes.
pub(super) fn source<'a>(
    process: &'a Process,
    open: &'a OpenFile,
    interest: Ready,
) -> Option<WakeSource<'a>> {
    if open.file.as_any().is::<SignalFd>() {
        return Some(WakeSource::Queue(process.signals().queue()));
    }
    open.file.wake_source(interest)
}

/// Makes a descriptor of an event file.
pub(super) fn install(process: &Process, file: Arc<dyn File>, flags: u32) -> SysResult {
    let open = OpenFile::new(file, O_RDWR | flags & O_NONBLOCK, None);
    let fd = lock(&process.files).insert(open, flags & O_CLOEXEC != 0, 0)?;
    u32::try_from(fd).map_err(|_| Errno::EMFILE)
}

fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// Runs `wait` under the mask at `mask`, if one is given.
fn masked<T>(
    process: &Process,
    mask: GuestAddr,
    wait: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    if mask.is_null() {
        return wait();
    }
    let set = SigSet(process.space().read_u64(mask)?);
    process.signals().set_temporary_mask(set, process.space());
    let outcome = wait();
    process.signals().end_temporary_mask(process.space());
    outcome
}

fn zero_at_deadline(outcome: SysResult) -> SysResult {
    match outcome {
        Err(Errno::ETIMEDOUT) => Ok(0),
        other => other,
    }
}

/// `ppoll_time64(fds, n, timeout, mask, size)`.
pub(super) fn ppoll(process: &Process, args: &Args) -> SysResult {
    let space = process.space();
    let (at, count) = (args.ptr(0), args.u32(1));
    if count > MAX_POLLED {
        return Err(Errno::EINVAL);
    }
    let until = if args.ptr(2).is_null() {
        None
    } else {
        deadline(read_timespec(process, args.ptr(2))?)
    };
    let mut files = Vec::with_capacity(count as usize);
    for n in 0..count {
        let entry = at.offset(n * POLLFD)?;
        let fd = space.read_u32(entry)?.cast_signed();
        let events = space.read_u32(entry.offset(4)?)? & 0xffff;
        let open = if fd < 0 { None } else { Some(process.file(fd)) };
        files.push((open, Ready::from_bits_truncate(events)));
    }
    let mut sources = Vec::with_capacity(files.len());
    for (open, events) in &files {
        if let Some(Ok(open)) = open {
            sources.extend(source(process, open, *events));
        }
    }
    masked(process, args.ptr(3), || {
        let outcome = wait_until(process, &sources, until, || {
            let mut any = 0;
            for ((open, events), n) in files.iter().zip(0..) {
                let found = match open {
                    None => Ready::empty(),
                    Some(Err(_)) => Ready::NVAL,
                    Some(Ok(open)) => readiness(process, open) & (*events | ALWAYS),
                };
                let word = at.offset(n * POLLFD + 4)?;
                space.write_u32(word, events.bits() & 0xffff | found.bits() << 16)?;
                any += u32::from(!found.is_empty());
            }
            Ok((any > 0).then_some(any))
        });
        zero_at_deadline(outcome)
    })
}

/// `pselect6_time64(n, read, write, except, timeout, &{mask, size})`.
pub(super) fn pselect6(process: &Process, args: &Args) -> SysResult {
    const WATCHED: [Ready; 3] = [Ready::IN, Ready::OUT, Ready::PRI];
    const SHOWN: [Ready; 3] = [
        Ready::IN.union(ALWAYS),
        Ready::OUT.union(Ready::ERR),
        Ready::PRI,
    ];
    let space = process.space();
    let count = args.u32(0);
    if count > 1024 {
        return Err(Errno::EINVAL);
    }
    let until = if args.ptr(4).is_null() {
        None
    } else {
        deadline(read_timespec(process, args.ptr(4))?)
    };
    let words = count.div_ceil(32);
    let mut files: Vec<(usize, u32, Arc<OpenFile>)> = Vec::new();
    for set in 0..3 {
        let at = args.ptr(set + 1);
        if at.is_null() {
            continue;
        }
        for fd in 0..count {
            if space.read_u32(at.offset(fd / 32 * 4)?)? >> (fd % 32) & 1 == 1 {
                files.push((set, fd, process.file(fd.cast_signed())?));
            }
        }
    }
    let sources: Vec<_> = files
        .iter()
        .filter_map(|(set, _, open)| source(process, open, WATCHED[*set]))
        .collect();
    let mask = if args.ptr(5).is_null() {
        GuestAddr::NULL
    } else {
        GuestAddr(space.read_u32(args.ptr(5))?)
    };
    masked(process, mask, || {
        let outcome = wait_until(process, &sources, until, || {
            let found = files
                .iter()
                .filter(|(set, _, open)| readiness(process, open).intersects(SHOWN[*set]))
                .count();
            Ok((found > 0).then_some(0))
        });
        zero_at_deadline(outcome)
    })?;
    let mut result = [
        vec![0_u32; words as usize],
        vec![0; words as usize],
        vec![0; words as usize],
    ];
    let mut total = 0;
    for (set, fd, open) in &files {
        if readiness(process, open).intersects(SHOWN[*set]) {
            result[*set][(fd / 32) as usize] |= 1 << (fd % 32);
            total += 1;
        }
    }
    for (set, words) in result.iter().enumerate() {
        if !args.ptr(set + 1).is_null() {
            for (word, n) in words.iter().zip(0..) {
                space.write_u32(args.ptr(set + 1).offset(n * 4)?, *word)?;
            }
        }
    }
    Ok(total)
}

pub(super) fn epoll_create1(process: &Process, args: &Args) -> SysResult {
    if args.u32(0) & !O_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    install(process, Arc::new(Epoll::default()), args.u32(0))
}

fn with_epoll<T>(
    process: &Process,
    fd: i32,
    run: impl FnOnce(&Epoll) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let open = process.file(fd)?;
    run(open
        .file
        .as_any()
        .downcast_ref::<Epoll>()
        .ok_or(Errno::EINVAL)?)
}

/// `epoll_ctl(epfd, op, fd, event)`.
pub(super) fn epoll_ctl(process: &Process, args: &Args) -> SysResult {
    const ADD: u32 = 1;
    const DEL: u32 = 2;
    const MOD: u32 = 3;
    let fd = args.i32(2);
    let open = process.file(fd)?;
    if open.file.as_any().is::<Epoll>() {
        // No nesting: who sleeps on the outer one could not be woken.
        return Err(Errno::EINVAL);
    }
    if open.file.seekable() {
        return Err(Errno::EPERM);
    }
    let event = || -> Result<(u32, u64), Errno> {
        let at = args.ptr(3);
        Ok((
            process.space().read_u32(at)?,
            process.space().read_u64(at.offset(8)?)?,
        ))
    };
    with_epoll(process, args.i32(0), |epoll| match args.u32(1) {
        ADD => event().and_then(|(events, data)| epoll.add(fd, &open, events, data)),
        MOD => event().and_then(|(events, data)| epoll.modify(fd, events, data)),
        DEL => epoll.remove(fd),
        _ => Err(Errno::EINVAL),
    })?;
    Ok(0)
}

fn epoll_wait_until(process: &Process, args: &Args, until: Option<Instant>) -> SysResult {
    let space = process.space();
    let (at, max) = (args.ptr(1), args.i32(2));
    let max = u32::try_from(max)
        .ok()
        .filter(|&max| max > 0 && max <= MAX_POLLED)
        .ok_or(Errno::EINVAL)?;
    with_epoll(process, args.i32(0), |epoll| {
        let watched = epoll.watched();
        let interest = |events: u32| Ready::from_bits_truncate(events & EPOLL_CONDITIONS);
        let sources: Vec<_> = watched
            .iter()
            .filter_map(|(_, open, watch)| source(process, open, interest(watch.events)))
            .collect();
        let patience = if process.is_prompt() {
            Duration::ZERO
        } else {
            PATIENCE
        };
        masked(process, args.ptr(4), || {
            let outcome = wait_or_park(process, &sources, until, Some(patience), || {
                let mut n = 0;
                for (fd, open, watch) in &watched {
                    if watch.events == 0 || n == max {
                        continue;
                    }
                    let found = readiness(process, open) & (interest(watch.events) | ALWAYS);
                    if !found.is_empty() {
                        let entry = at.offset(n * EPOLL_EVENT)?;
                        space.write_u32(entry, found.bits())?;
                        space.write_u64(entry.offset(8)?, watch.data)?;
                        epoll.fired(*fd);
                        n += 1;
                    }
                }
                Ok((n > 0).then_some(n))
            });
            if outcome == Err(Errno::ERESTART_RESTARTBLOCK) {
                process.set_idle(Idle {
                    watches: watched
                        .iter()
                        .filter(|(_, _, watch)| watch.events != 0)
                        .map(|(_, open, watch)| (Arc::clone(open), interest(watch.events)))
                        .collect(),
                    deadline: *process.restart(),
                });
            }
            zero_at_deadline(outcome)
        })
    })
}

/// `epoll_pwait(epfd, events, max, timeout in ms, mask, size)`.
pub(super) fn epoll_pwait(process: &Process, args: &Args) -> SysResult {
    let until = u64::try_from(args.i32(3))
        .ok()
        .and_then(|ms| deadline(Duration::from_millis(ms)));
    epoll_wait_until(process, args, until)
}

/// `epoll_pwait2(epfd, events, max, timespec, mask, size)`.
pub(super) fn epoll_pwait2(process: &Process, args: &Args) -> SysResult {
    let until = if args.ptr(3).is_null() {
        None
    } else {
        deadline(read_timespec(process, args.ptr(3))?)
    };
    epoll_wait_until(process, args, until)
}

/// `eventfd2(count, flags)`.
pub(super) fn eventfd2(process: &Process, args: &Args) -> SysResult {
    const SEMAPHORE: u32 = 1;
    let flags = args.u32(1);
    if flags & !(SEMAPHORE | O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    install(
        process,
        Arc::new(EventFd::new(u64::from(args.u32(0)), flags & SEMAPHORE != 0)),
        flags,
    )
}

/// `signalfd4(fd or -1, mask, size, flags)`.
pub(super) fn signalfd4(process: &Process, args: &Args) -> SysResult {
    let flags = args.u32(3);
    if args.u32(2) != 8 || flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let mask = SigSet(process.space().read_u64(args.ptr(1))?).blockable();
    if args.i32(0) == -1 {
        return install(process, Arc::new(SignalFd::new(mask)), flags);
    }
    let open = process.file(args.i32(0))?;
    open.file
        .as_any()
        .downcast_ref::<SignalFd>()
        .ok_or(Errno::EINVAL)?
        .set_mask(mask);
    Ok(args.u32(0))
}

/// A `read` from a signalfd: as many `struct signalfd_siginfo` as fit; `None` if `open` is not one.
pub(super) fn read_signals(
    process: &Process,
    open: &OpenFile,
    out: &mut [u8],
) -> Option<Result<usize, Errno>> {
    const SIGINFO: usize = 128;
    let signals = open.file.as_any().downcast_ref::<SignalFd>()?;
    if out.len() < SIGINFO {
        return Some(Err(Errno::EINVAL));
    }
    let mut take = || {
        let mut n = 0;
        for slot in out.chunks_exact_mut(SIGINFO) {
            let Some(info) = process.signals().take(signals.mask()) else {
                break;
            };
            slot.fill(0);
            let words = [
                u32::from(info.signo),
                0,
                info.code.cast_unsigned(),
                info.pid.cast_unsigned(),
                info.uid,
            ];
            for (to, word) in slot.chunks_exact_mut(4).zip(words) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            slot[40..44].copy_from_slice(&info.status.to_le_bytes());
            n += SIGINFO;
        }
        (n > 0).then_some(n)
    };
    if open.nonblocking() {
        return Some(take().ok_or(Errno::EAGAIN));
    }
    Some(wait_until(
        process,
        &[WakeSource::Queue(process.signals().queue())],
        None,
        || Ok(take()),
    ))
}
