//! One thread of the host process that watches descriptors of the host for those that wait for them without a thread of their own.
//!
//! It only tells; whoever is told looks for itself. Registrations fire once and are then armed anew or taken back.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use crate::errno::Errno;
use crate::file::Ready;
use crate::wait::{Waiter, lock};

/// How long the thread stays without anything to watch, in nanoseconds.
const LINGER: i64 = 100_000_000;
/// Events taken at a time.
const BATCH: usize = 64;
/// The number of the descriptor that calls the thread itself.
const CALL: u64 = 0;

/// Told that a descriptor is ready. Must not block.
pub(crate) trait Told: Send + Sync {
    fn ready(&self);
}

impl Told for Waiter {
    fn ready(&self) {
        self.wake();
    }
}

struct Watching {
    epoll: OwnedFd,
    call: OwnedFd,
    told: Mutex<HashMap<u64, Weak<dyn Told>>>,
}

#[derive(Default)]
struct State {
    running: Option<Arc<Watching>>,
    last: u64,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// A registration.
#[derive(Debug)]
pub(crate) struct Registration(u64);

fn flags(interest: Ready) -> EventFlags {
    let mut flags = EventFlags::ONESHOT;
    flags.set(EventFlags::IN, interest.contains(Ready::IN));
    flags.set(EventFlags::OUT, interest.contains(Ready::OUT));
    flags.set(EventFlags::PRI, interest.contains(Ready::PRI));
    flags.set(EventFlags::RDHUP, interest.contains(Ready::RDHUP));
    flags
}

/// Has `told` called once when `fd` is ready. The descriptor must stay open until [`forget`]; it can have one registration at a time (`EEXIST`).
pub(crate) fn watch(
    fd: BorrowedFd<'_>,
    interest: Ready,
    told: Weak<dyn Told>,
) -> Result<Registration, Errno> {
    let mut guard = lock(&STATE);
    let state = guard.get_or_insert_default();
    let watching = match &state.running {
        Some(watching) => Arc::clone(watching),
        None => {
            let watching = start()?;
            state.running = Some(Arc::clone(&watching));
            watching
        }
    };
    state.last += 1;
    let id = state.last;
    lock(&watching.told).insert(id, told);
    if let Err(error) = epoll::add(&watching.epoll, fd, EventData::new_u64(id), flags(interest)) {
        lock(&watching.told).remove(&id);
        return Err(error.into());
    }
    Ok(Registration(id))
}

/// Arms a registration that has fired once more.
pub(crate) fn rearm(registration: &Registration, fd: BorrowedFd<'_>, interest: Ready) {
    if let Some(watching) = lock(&STATE)
        .as_ref()
        .and_then(|state| state.running.clone())
    {
        let _ = epoll::modify(
            &watching.epoll,
            fd,
            EventData::new_u64(registration.0),
            flags(interest),
        );
    }
}

/// Takes a registration back.
pub(crate) fn forget(registration: Registration, fd: BorrowedFd<'_>) {
    let guard = lock(&STATE);
    let Some(watching) = guard.as_ref().and_then(|state| state.running.as_ref()) else {
        return;
    };
    let _ = epoll::delete(&watching.epoll, fd);
    let mut told = lock(&watching.told);
    told.remove(&registration.0);
    if told.is_empty() {
        let _ = rustix::io::write(&watching.call, &1_u64.to_ne_bytes());
    }
}

fn start() -> Result<Arc<Watching>, Errno> {
    let watching = Arc::new(Watching {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        call: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        told: Mutex::default(),
    });
    epoll::add(
        &watching.epoll,
        &watching.call,
        EventData::new_u64(CALL),
        EventFlags::IN,
    )?;
    let its = Arc::clone(&watching);
    std::thread::Builder::new()
        .name("pg:reactor".to_owned())
        .stack_size(128 << 10)
        .spawn(move || run(&its))
        .map_err(|error| Errno::from_io(&error))?;
    Ok(watching)
}

fn run(watching: &Arc<Watching>) {
    let mut events = Vec::with_capacity(BATCH);
    loop {
        let linger = Timespec {
            tv_sec: 0,
            tv_nsec: LINGER,
        };
        let nothing = lock(&watching.told).is_empty();
        events.clear();
        let waited = epoll::wait(
            watching.epoll.as_fd(),
            rustix::buffer::spare_capacity(&mut events),
            nothing.then_some(&linger),
        );
        if matches!(waited, Ok(0)) && nothing {
            let mut guard = lock(&STATE);
            if lock(&watching.told).is_empty() {
                if let Some(state) = guard.as_mut() {
                    state.running = None;
                }
                return;
            }
        }
        for event in &events {
            let id = event.data.u64();
            if id == CALL {
                let _ = rustix::io::read(&watching.call, &mut [0_u8; 8]);
                continue;
            }
            let told = lock(&watching.told).get(&id).and_then(Weak::upgrade);
            if let Some(told) = told {
                told.ready();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_ready_descriptor_wakes_a_waiter_once() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let waiter = Waiter::new();
        let told: Weak<dyn Told> = Arc::downgrade(&waiter) as Weak<dyn Told>;
        let registration = watch(reader.as_fd(), Ready::IN, told.clone()).unwrap();
        assert!(watch(reader.as_fd(), Ready::IN, told).is_err());
        rustix::io::write(&writer, b"x").unwrap();
        let begun = Instant::now();
        let soon = begun + Duration::from_secs(5);
        waiter.sleep(Some(soon), &[]).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(4));
        waiter
            .sleep(Some(Instant::now() + Duration::from_millis(20)), &[])
            .unwrap();
        rearm(&registration, reader.as_fd(), Ready::IN);
        waiter.sleep(Some(soon), &[]).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(4));
        forget(registration, reader.as_fd());
    }
}
