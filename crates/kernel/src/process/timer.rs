//! `ITIMER_REAL`, and the deadlines of waits that no thread sleeps in: one thread of the host process serves all kernels.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::Process;
use super::signal::SIGALRM;
use crate::image::{Loader, Saver};
use crate::wait::{Sleeper, lock};

/// How long the thread stays when nothing is due any more.
const LINGER: Duration = Duration::from_millis(50);

/// A process's alarm. Set by its own thread, fired by the timer thread.
#[derive(Debug, Default)]
pub struct IntervalTimer {
    state: Mutex<Alarm>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Alarm {
    /// Counts settings, so that an old entry in the queue is known as such.
    generation: u64,
    next: Option<Instant>,
    interval: Duration,
}

impl IntervalTimer {
    /// Time until the alarm and its interval; zero when off.
    pub fn get(&self) -> (Duration, Duration) {
        let alarm = *lock(&self.state);
        let left = alarm.next.map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(Instant::now())
                .max(Duration::from_micros(1))
        });
        (left, alarm.interval)
    }

    /// Sets the alarm (`value` zero: off) and returns what [`Self::get`] would have.
    pub fn set(
        &self,
        process: &Arc<Process>,
        value: Duration,
        interval: Duration,
    ) -> (Duration, Duration) {
        let old = self.get();
        let mut alarm = lock(&self.state);
        alarm.generation += 1;
        alarm.interval = interval;
        alarm.next = (!value.is_zero()).then(|| Instant::now() + value);
        let (generation, next) = (alarm.generation, alarm.next);
        drop(alarm);
        if let Some(at) = next {
            push(at, Arc::downgrade(process), Due::Alarm(generation));
        }
        old
    }

    /// Takes over another's setting, later by `shift`; [`Self::arm`] makes it go off.
    pub(crate) fn copy_from(&self, other: &Self, shift: Duration) {
        let mut alarm = *lock(&other.state);
        alarm.next = alarm.next.and_then(|at| at.checked_add(shift));
        *lock(&self.state) = alarm;
    }

    /// When it goes off and how often then, for an image.
    pub(crate) fn save(&self, saver: &Saver<'_>) -> Option<(i64, u64)> {
        let alarm = *lock(&self.state);
        let interval = u64::try_from(alarm.interval.as_nanos()).unwrap_or(u64::MAX);
        alarm.next.map(|at| (saver.time(at), interval))
    }

    /// Takes over what was saved; [`Self::arm`] makes it go off.
    pub(crate) fn load(&self, saved: Option<(i64, u64)>, loader: &Loader<'_>) {
        let mut alarm = lock(&self.state);
        if let Some((at, interval)) = saved {
            alarm.next = Some(loader.time(at));
            alarm.interval = Duration::from_nanos(interval);
        }
    }

    /// Queues the alarm that is set.
    pub(crate) fn arm(&self, process: &Arc<Process>) {
        let mut alarm = lock(&self.state);
        let Some(at) = alarm.next else {
            return;
        };
        alarm.generation += 1;
        let generation = alarm.generation;
        drop(alarm);
        push(at, Arc::downgrade(process), Due::Alarm(generation));
    }

    /// Turns it off.
    pub fn cancel(&self) {
        let mut alarm = lock(&self.state);
        alarm.generation += 1;
        alarm.next = None;
    }

    /// The queue's entry came due: if it is still meant, the time of the next one.
    fn fire(&self, generation: u64) -> Option<Option<Instant>> {
        let mut alarm = lock(&self.state);
        if alarm.generation != generation || alarm.next.is_none() {
            return None;
        }
        alarm.next = (!alarm.interval.is_zero()).then(|| Instant::now() + alarm.interval);
        Some(alarm.next)
    }
}

/// What happens at the time.
#[derive(Clone, Copy)]
enum Due {
    /// The alarm of this generation.
    Alarm(u64),
    /// A wait's deadline: the process looks again. Too many of these do no harm.
    Wake,
}

#[derive(Default)]
struct Queue {
    /// Ordered by time; the number keeps equal times apart.
    due: BTreeMap<(Instant, u64), (Weak<Process>, Due)>,
    serial: u64,
    running: bool,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    due: BTreeMap::new(),
    serial: 0,
    running: false,
});
/// The earliest time changed.
static CHANGED: Condvar = Condvar::new();

fn push(at: Instant, process: Weak<Process>, what: Due) {
    let mut queue = lock(&QUEUE);
    queue.serial += 1;
    let key = (at, queue.serial);
    queue.due.insert(key, (process, what));
    if queue.running {
        if queue.due.keys().next() == Some(&key) {
            CHANGED.notify_one();
        }
        return;
    }
    queue.running = std::thread::Builder::new()
        .name("pg:timer".to_owned())
        .stack_size(128 << 10)
        .spawn(run)
        .is_ok();
}

/// Wakes `process` at this time, whether it sleeps then or not.
pub(super) fn wake_at(at: Instant, process: Weak<Process>) {
    push(at, process, Due::Wake);
}

/// Forgets what belongs to processes that are no more, so that the thread can end.
pub(crate) fn purge() {
    let mut queue = lock(&QUEUE);
    let before = queue.due.len();
    queue
        .due
        .retain(|_, (process, _)| process.strong_count() > 0);
    if queue.due.len() < before {
        CHANGED.notify_one();
    }
}

fn run() {
    let mut queue = lock(&QUEUE);
    loop {
        let now = Instant::now();
        let (left, nothing) = match queue.due.keys().next() {
            None => (LINGER, true),
            Some(&(at, _)) => (at.saturating_duration_since(now), false),
        };
        if !left.is_zero() {
            let (guard, waited) = CHANGED
                .wait_timeout(queue, left)
                .unwrap_or_else(PoisonError::into_inner);
            queue = guard;
            if nothing && waited.timed_out() && queue.due.is_empty() {
                queue.running = false;
                return;
            }
            continue;
        }
        let Some((_, (process, what))) = queue.due.pop_first() else {
            continue;
        };
        drop(queue);
        if let Some(process) = process.upgrade() {
            match what {
                Due::Wake => process.waiter().wake(),
                Due::Alarm(generation) => {
                    if let Some(next) = process.itimer.fire(generation) {
                        process.raise(SIGALRM);
                        if let Some(at) = next {
                            push(at, Arc::downgrade(&process), Due::Alarm(generation));
                        }
                    }
                }
            }
        }
        queue = lock(&QUEUE);
    }
}
