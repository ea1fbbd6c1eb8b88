//! The one wait primitive. Every blocking system call sleeps in [`wait_until`], so that signals, timers and shutdown
//! interrupt all of them.
//!
//! A sleeper registers its [`Waiter`] with the [`WaitQueue`]s of what it waits for, looks whether its condition already holds, and only
//! then sleeps; a waker changes the state first and calls [`WaitQueue::wake_all`] after. No wake-up can fall between.
//! Host sockets have no queue of ours: their descriptors are polled by the sleeping thread itself, together with an eventfd that
//! [`Waiter::wake`] writes to. There is no reactor thread in between.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::errno::Errno;

/// Locks a mutex whose data stays meaningful if a holder panicked.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const RUNNING: u8 = 0;
const NOTIFIED: u8 = 1;
const PARKED: u8 = 2;
const POLLING: u8 = 3;
/// No thread sleeps: whoever wakes tells the [`Owner`].
const DORMANT: u8 = 4;

/// Told of a wake-up when no thread of its own sleeps.
pub trait Owner: Send + Sync {
    /// Called at most once for each [`Waiter::begin_dormant`], with locks of wait queues held: must lock nothing that is held while a queue is.
    fn woken(&self);
}

/// The parking place of one thread: a guest process's, or a host thread's that uses an in-kernel socket.
#[derive(Default)]
pub struct Waiter {
    /// One of the five states above; `wake` moves it to `NOTIFIED`, the sleeper to the others.
    state: AtomicU8,
    owner: OnceLock<Weak<dyn Owner>>,
    gate: Mutex<()>,
    condvar: Condvar,
    /// Made at the first sleep that also polls host descriptors.
    doorbell: OnceLock<OwnedFd>,
    /// Waits for host descriptors to begin with sleep before it is worth a look again.
    sleeps: AtomicU32,
}

/// How long a waiter looks again and again for what comes from the host before it sleeps: a client that asks one thing after the other needs no longer, and to be woken from sleep costs
/// twice that.
const LOOK: Duration = Duration::from_micros(30);
/// How many waits sleep at once after one in which nothing came that soon: looking for nothing then costs little.
const SLEEPS: u32 = 8;
/// Somebody is looking: a second one would only take time from those who work.
static LOOKING: AtomicBool = AtomicBool::new(false);
/// Waiters that sleep now until something comes from the host. Where several clients are at work, the processors are, too.
static SLEEPING: AtomicU32 = AtomicU32::new(0);

/// True on hosts where somebody else can work meanwhile.
fn has_processors() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() > 1))
}

impl Waiter {
    /// A waiter that has not been woken.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Ends the current sleep of this waiter's thread, or its next one if it is awake. Never blocks for long; any thread may call it.
    pub fn wake(&self) {
        match self.state.swap(NOTIFIED, Ordering::SeqCst) {
            PARKED => {
                drop(lock(&self.gate));
                self.condvar.notify_one();
            }
            POLLING => {
                if let Some(doorbell) = self.doorbell.get() {
                    // Only fails when the counter is full, and then the descriptor is readable anyway.
                    let _ = rustix::io::write(doorbell, &1_u64.to_ne_bytes());
                }
            }
            DORMANT => {
                if let Some(owner) = self.owner.get().and_then(Weak::upgrade) {
                    owner.woken();
                }
            }
            _ => {}
        }
    }

    /// A waiter whose owner can be without a thread.
    #[must_use]
    pub fn owned(owner: Weak<dyn Owner>) -> Arc<Self> {
        let this = Self::default();
        let _ = this.owner.set(owner);
        Arc::new(this)
    }

    /// From now on a wake-up goes to the owner; false if one came already, and then nothing changes but that it is taken.
    pub fn begin_dormant(&self) -> bool {
        let began = self
            .state
            .compare_exchange(RUNNING, DORMANT, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        if !began {
            self.state.store(RUNNING, Ordering::SeqCst);
        }
        began
    }

    /// Takes [`Self::begin_dormant`] back; false if the owner has been told of a wake-up meanwhile.
    pub fn end_dormant(&self) -> bool {
        self.state
            .compare_exchange(DORMANT, RUNNING, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// After the owner was told: the wake-up is taken.
    pub fn resume(&self) {
        self.state.store(RUNNING, Ordering::SeqCst);
    }

    /// Sleeps until woken, until one of `fds` is ready or until `deadline`. May return early; callers loop.
    pub fn sleep(
        &self,
        deadline: Option<Instant>,
        fds: &[(BorrowedFd<'_>, PollFlags)],
    ) -> Result<(), Errno> {
        if fds.is_empty() {
            self.park(deadline);
            return Ok(());
        }
        let doorbell = self.doorbell()?;
        let mut polled: Vec<PollFd<'_>> = Vec::with_capacity(fds.len() + 1);
        polled.push(PollFd::new(doorbell, PollFlags::IN));
        polled.extend(
            fds.iter()
                .map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)),
        );
        if self.look(&mut polled[1..])? {
            return Ok(());
        }
        if self
            .state
            .compare_exchange(RUNNING, POLLING, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
        {
            self.state.store(RUNNING, Ordering::SeqCst);
            return Ok(());
        }
        let timeout = deadline.map(|at| to_timespec(at.saturating_duration_since(Instant::now())));
        SLEEPING.fetch_add(1, Ordering::Relaxed);
        let outcome = rustix::event::poll(&mut polled, timeout.as_ref());
        SLEEPING.fetch_sub(1, Ordering::Relaxed);
        if self.state.swap(RUNNING, Ordering::SeqCst) == NOTIFIED {
            // The waker wrote, or is about to: drain without blocking; a late write only makes one later poll return early.
            let _ = rustix::io::read(doorbell, &mut [0_u8; 8]);
        } else if polled[0].revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(doorbell, &mut [0_u8; 8]);
        }
        match outcome {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks whether one of the descriptors becomes ready soon, where that is likely; until somebody wakes this waiter, at most.
    fn look(&self, polled: &mut [PollFd<'_>]) -> Result<bool, Errno> {
        // Only its own thread sleeps on it.
        let sleeps = self.sleeps.load(Ordering::Relaxed);
        if sleeps > 0 {
            self.sleeps.store(sleeps - 1, Ordering::Relaxed);
            return Ok(false);
        }
        if !has_processors()
            || SLEEPING.load(Ordering::Relaxed) > 0
            || LOOKING.swap(true, Ordering::Relaxed)
        {
            return Ok(false);
        }
        let now = to_timespec(Duration::ZERO);
        let begun = Instant::now();
        let found = loop {
            match rustix::event::poll(polled, Some(&now)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => break Ok(true),
                Err(error) => break Err(error.into()),
            }
            if self.state.load(Ordering::SeqCst) == NOTIFIED {
                // The sleep that follows ends at once, and takes it.
                break Ok(false);
            }
            if begun.elapsed() >= LOOK {
                self.sleeps.store(SLEEPS, Ordering::Relaxed);
                break Ok(false);
            }
            std::hint::spin_loop();
        };
        LOOKING.store(false, Ordering::Relaxed);
        found
    }

    fn park(&self, deadline: Option<Instant>) {
        let mut gate = lock(&self.gate);
        if self
            .state
            .compare_exchange(RUNNING, PARKED, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            while self.state.load(Ordering::SeqCst) == PARKED {
                gate = match deadline {
                    None => self
                        .condvar
                        .wait(gate)
                        .unwrap_or_else(PoisonError::into_inner),
                    Some(at) => {
                        let left = at.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            break;
                        }
                        self.condvar
                            .wait_timeout(gate, left)
                            .unwrap_or_else(PoisonError::into_inner)
                            .0
                    }
                };
            }
        }
        self.state.store(RUNNING, Ordering::SeqCst);
    }

    fn doorbell(&self) -> Result<&OwnedFd, Errno> {
        if self.doorbell.get().is_none() {
            let fd = rustix::event::eventfd(
                0,
                rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
            )?;
            let _ = self.doorbell.set(fd);
        }
        self.doorbell.get().ok_or(Errno::ENFILE)
    }
}

fn to_timespec(duration: Duration) -> rustix::event::Timespec {
    rustix::event::Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// The waiters of one object (a pipe, a socket, a futex bucket, a process's children).
#[derive(Default)]
pub struct WaitQueue {
    waiters: Mutex<Vec<Arc<Waiter>>>,
}

impl WaitQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            waiters: Mutex::new(Vec::new()),
        }
    }

    /// Adds a waiter; once per matching [`Self::remove`].
    pub fn add(&self, waiter: &Arc<Waiter>) {
        lock(&self.waiters).push(Arc::clone(waiter));
    }

    /// Removes one registration of a waiter.
    pub fn remove(&self, waiter: &Arc<Waiter>) {
        let mut waiters = lock(&self.waiters);
        if let Some(at) = waiters.iter().position(|known| Arc::ptr_eq(known, waiter)) {
            waiters.swap_remove(at);
        }
    }

    /// Wakes every waiter; they look at their conditions again.
    pub fn wake_all(&self) {
        for waiter in lock(&self.waiters).iter() {
            waiter.wake();
        }
    }
}

/// Somebody who can sleep: a guest process, or a host thread.
pub trait Sleeper {
    /// Its parking place.
    fn waiter(&self) -> &Arc<Waiter>;
    /// True when a sleep must end early with `EINTR`: a signal is deliverable, or the process is being killed.
    fn interrupted(&self) -> bool;
    /// True when a sleep must end early with `ERESTART_RESTARTBLOCK`: the process is to be brought to rest.
    fn must_park(&self) -> bool {
        false
    }
    /// The deadline that a call made again had the first time, once.
    fn take_restarted(&self) -> Option<Instant> {
        None
    }
    /// Keeps the deadline of a call that will be made again.
    fn keep_restart(&self, _deadline: Option<Instant>) {}
}

/// A host thread without signals.
pub struct HostThread {
    waiter: Arc<Waiter>,
}

impl Default for HostThread {
    fn default() -> Self {
        Self {
            waiter: Waiter::new(),
        }
    }
}

impl Sleeper for HostThread {
    fn waiter(&self) -> &Arc<Waiter> {
        &self.waiter
    }

    fn interrupted(&self) -> bool {
        false
    }
}

/// One thing to be woken by.
#[derive(Clone, Copy)]
pub enum WakeSource<'a> {
    /// An object of this kernel.
    Queue(&'a WaitQueue),
    /// A descriptor of the host.
    Host(BorrowedFd<'a>, PollFlags),
}

/// Removes the registrations however the sleep ends.
struct Registered<'a> {
    waiter: &'a Arc<Waiter>,
    sources: &'a [WakeSource<'a>],
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        for source in self.sources {
            if let WakeSource::Queue(queue) = source {
                queue.remove(self.waiter);
            }
        }
    }
}

/// Sleeps until `condition` yields a value, registered with all of `sources`.
///
/// The condition is evaluated at least once, before any sleep, and after each wake-up. Fails with its error, with `EINTR` when the sleeper is
/// interrupted (the condition is looked at once more first), with `ETIMEDOUT` at the deadline.
pub fn wait_until<T>(
    sleeper: &dyn Sleeper,
    sources: &[WakeSource<'_>],
    deadline: Option<Instant>,
    condition: impl FnMut() -> Result<Option<T>, Errno>,
) -> Result<T, Errno> {
    wait_or_park(sleeper, sources, deadline, None, condition)
}

/// [`wait_until`] that also ends with `ERESTART_RESTARTBLOCK` after `patience`: the sleeper can do without its thread.
pub fn wait_or_park<T>(
    sleeper: &dyn Sleeper,
    sources: &[WakeSource<'_>],
    deadline: Option<Instant>,
    patience: Option<Duration>,
    mut condition: impl FnMut() -> Result<Option<T>, Errno>,
) -> Result<T, Errno> {
    let deadline = deadline.map(|at| sleeper.take_restarted().map_or(at, |first| first.min(at)));
    // Looking costs a call of the host where a descriptor of its is among the sources: once, below, is enough then.
    let asks_host = sources
        .iter()
        .any(|source| matches!(source, WakeSource::Host(..)));
    if !asks_host && let Some(value) = condition()? {
        return Ok(value);
    }
    let waiter = sleeper.waiter();
    let mut fds = Vec::new();
    for source in sources {
        match source {
            WakeSource::Queue(queue) => queue.add(waiter),
            WakeSource::Host(fd, flags) => fds.push((fd.as_fd(), *flags)),
        }
    }
    let _registered = Registered { waiter, sources };
    let mut enough = None;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if sleeper.interrupted() {
            return Err(Errno::EINTR);
        }
        if deadline.is_some_and(|at| Instant::now() >= at) {
            return Err(Errno::ETIMEDOUT);
        }
        let at_once = patience == Some(Duration::ZERO);
        if at_once || sleeper.must_park() || enough.is_some_and(|at| Instant::now() >= at) {
            sleeper.keep_restart(deadline);
            return Err(Errno::ERESTART_RESTARTBLOCK);
        }
        if enough.is_none() {
            enough = patience.and_then(|patience| Instant::now().checked_add(patience));
        }
        let until = [deadline, enough].into_iter().flatten().min();
        waiter.sleep(until, &fds)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_wake_before_the_sleep_is_not_lost() {
        let waiter = Waiter::new();
        waiter.wake();
        let before = Instant::now();
        waiter
            .sleep(Some(before + Duration::from_secs(5)), &[])
            .unwrap();
        assert!(before.elapsed() < Duration::from_secs(1));
    }

    /// A wake-up during the look before a sleep was not taken: its waiter never slept again.
    #[test]
    fn a_wake_ends_one_sleep_that_polls() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let fds = [(reader.as_fd(), PollFlags::IN)];
        let waiter = Waiter::new();
        let patience = Duration::from_millis(50);
        for _ in 0..2 {
            waiter.wake();
            let begun = Instant::now();
            waiter
                .sleep(Some(begun + Duration::from_secs(5)), &fds)
                .unwrap();
            assert!(begun.elapsed() < Duration::from_secs(1));
            let begun = Instant::now();
            waiter.sleep(Some(begun + patience), &fds).unwrap();
            assert!(begun.elapsed() >= patience);
        }
    }

    #[test]
    fn queue_wakes_a_sleeper_in_another_thread() {
        let queue = Arc::new(WaitQueue::new());
        let flag = Arc::new(AtomicBool::new(false));
        let (queue2, flag2) = (Arc::clone(&queue), Arc::clone(&flag));
        let sleeper = std::thread::spawn(move || {
            wait_until(
                &HostThread::default(),
                &[WakeSource::Queue(&queue2)],
                None,
                || Ok(flag2.load(Ordering::SeqCst).then_some(7)),
            )
        });
        std::thread::sleep(Duration::from_millis(20));
        flag.store(true, Ordering::SeqCst);
        queue.wake_all();
        assert_eq!(sleeper.join().unwrap(), Ok(7));
        assert!(lock(&queue.waiters).is_empty());
    }

    #[test]
    fn deadline_ends_a_sleep_that_polls_a_host_descriptor() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        let source = [WakeSource::Host(reader.as_fd(), PollFlags::IN)];
        assert_eq!(
            wait_until(&HostThread::default(), &source, Some(deadline), || Ok(
                None::<()>
            )),
            Err(Errno::ETIMEDOUT)
        );
    }
}
