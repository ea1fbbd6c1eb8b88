//! Futexes, private and on shared memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Args;
use super::time::read_timespec;
use crate::errno::{Errno, SysResult};
use crate::memory::GuestAddr;
use crate::process::Process;
use crate::process::mm::Backing;
use crate::wait::{Sleeper, Waiter, lock, wait_until};

const WAIT: u32 = 0;
const WAKE: u32 = 1;
const REQUEUE: u32 = 3;
const CMP_REQUEUE: u32 = 4;
const WAIT_BITSET: u32 = 9;
const WAKE_BITSET: u32 = 10;
const PRIVATE: u32 = 128;
const CLOCK_REALTIME: u32 = 256;
const BUCKETS: usize = 64;

/// What a futex is: a place in a shared segment, or in one process's memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Shared { segment: u64, offset: u64 },
    Private { pid: i32, address: u32 },
}

impl Key {
    fn bucket(self) -> usize {
        let word = match self {
            Self::Shared { segment, offset } => segment.wrapping_mul(0x9E37_79B9) ^ (offset >> 2),
            Self::Private { pid, address } => {
                u64::from(pid.cast_unsigned()).wrapping_mul(0x9E37_79B9) ^ u64::from(address >> 2)
            }
        };
        usize::try_from((word ^ word >> 7) % BUCKETS as u64).unwrap_or(0)
    }
}

struct Sleeping {
    key: Key,
    bits: u32,
    waiter: Arc<Waiter>,
    woken: Arc<AtomicBool>,
}

/// The sleepers of a kernel, by bucket. A bucket's lock is held while the word is compared, so no wake-up falls between.
pub struct FutexTable {
    buckets: [Mutex<Vec<Sleeping>>; BUCKETS],
}

impl Default for FutexTable {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

fn key_of(process: &Process, at: GuestAddr, private: bool) -> Result<Key, Errno> {
    if !at.0.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if !private
        && let Some((start, vma)) = process.mm().find(at)
        && let Backing::Shared(segment, offset) = &vma.backing
    {
        return Ok(Key::Shared {
            segment: segment.id(),
            offset: offset + u64::from(at.0 - start),
        });
    }
    Ok(Key::Private {
        pid: process.pid.0,
        address: at.0,
    })
}

impl FutexTable {
    fn wait(
        &self,
        process: &Process,
        at: GuestAddr,
        key: Key,
        expected: u32,
        bits: u32,
        deadline: Option<Instant>,
    ) -> SysResult {
        let word = process.space().atomic_u32(at)?;
        let woken = Arc::new(AtomicBool::new(false));
        {
            let mut bucket = lock(&self.buckets[key.bucket()]);
            if word.load(Ordering::SeqCst) != expected {
                return Err(Errno::EAGAIN);
            }
            bucket.push(Sleeping {
                key,
                bits,
                waiter: Arc::clone(process.waiter()),
                woken: Arc::clone(&woken),
            });
        }
        let outcome = wait_until(process, &[], deadline, || {
            Ok(woken.load(Ordering::SeqCst).then_some(0))
        });
        if outcome.is_err() {
            // A requeue may have moved it: look everywhere it could be.
            let removed = self.buckets.iter().any(|bucket| {
                let mut bucket = lock(bucket);
                let before = bucket.len();
                bucket.retain(|sleeping| !Arc::ptr_eq(&sleeping.woken, &woken));
                bucket.len() != before
            });
            if !removed {
                // Woken after all: the waker has counted it.
                return Ok(0);
            }
        }
        outcome
    }

    fn wake(&self, key: Key, mut most: u32, bits: u32) -> u32 {
        let mut woken = 0;
        let mut bucket = lock(&self.buckets[key.bucket()]);
        let mut at = 0;
        while at < bucket.len() && most > 0 {
            if bucket[at].key == key && bucket[at].bits & bits != 0 {
                let sleeping = bucket.remove(at);
                sleeping.woken.store(true, Ordering::SeqCst);
                sleeping.waiter.wake();
                woken += 1;
                most -= 1;
            } else {
                at += 1;
            }
        }
        woken
    }

    fn requeue(&self, from: Key, to: Key, mut most: u32) -> u32 {
        let mut moved = Vec::new();
        {
            let mut bucket = lock(&self.buckets[from.bucket()]);
            let mut at = 0;
            while at < bucket.len() && most > 0 {
                if bucket[at].key == from {
                    let mut sleeping = bucket.remove(at);
                    sleeping.key = to;
                    moved.push(sleeping);
                    most -= 1;
                } else {
                    at += 1;
                }
            }
        }
        let count = u32::try_from(moved.len()).unwrap_or(u32::MAX);
        lock(&self.buckets[to.bucket()]).extend(moved);
        count
    }
}

/// `futex_time64(word, op, value, timeout, word2, value3)`.
pub(super) fn futex(process: &Process, args: &Args) -> SysResult {
    let kernel = process.kernel()?;
    let table = kernel.futexes();
    let op = args.u32(1);
    let private = op & PRIVATE != 0;
    let key = key_of(process, args.ptr(0), private)?;
    match op & !(PRIVATE | CLOCK_REALTIME) {
        WAIT | WAIT_BITSET => {
            let absolute = op & !(PRIVATE | CLOCK_REALTIME) == WAIT_BITSET;
            let bits = if absolute { args.u32(5) } else { u32::MAX };
            if bits == 0 {
                return Err(Errno::EINVAL);
            }
            let deadline = if args.ptr(3).is_null() {
                None
            } else {
                let mut timeout = read_timespec(process, args.ptr(3))?;
                if absolute {
                    let now = super::time::guest_now(
                        process,
                        if op & CLOCK_REALTIME != 0 { 0 } else { 1 },
                    )?;
                    timeout = timeout.saturating_sub(now);
                }
                Instant::now().checked_add(timeout.min(Duration::from_secs(1 << 32)))
            };
            table.wait(process, args.ptr(0), key, args.u32(2), bits, deadline)
        }
        WAKE => Ok(table.wake(key, args.u32(2), u32::MAX)),
        WAKE_BITSET if args.u32(5) != 0 => Ok(table.wake(key, args.u32(2), args.u32(5))),
        REQUEUE | CMP_REQUEUE => {
            if op & !(PRIVATE | CLOCK_REALTIME) == CMP_REQUEUE
                && process
                    .space()
                    .atomic_u32(args.ptr(0))?
                    .load(Ordering::SeqCst)
                    != args.u32(5)
            {
                return Err(Errno::EAGAIN);
            }
            let to = key_of(process, args.ptr(4), private)?;
            let woken = table.wake(key, args.u32(2), u32::MAX);
            Ok(woken + table.requeue(key, to, args.u32(3)))
        }
        _ => Err(Errno::ENOSYS),
    }
}
