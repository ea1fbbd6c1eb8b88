//! `ITIMER_REAL`: one thread per kernel that sleeps until the next alarm.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::Process;
use super::signal::SIGALRM;
use crate::wait::lock;

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
        timers: &TimerQueue,
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
            timers.push(at, process, generation);
        }
        old
    }

    /// Turns it off.
    pub fn cancel(&self) {
        let mut alarm = lock(&self.state);
        alarm.generation += 1;
        alarm.next = None;
    }

    /// The queue's entry came due: true if it is still meant, with the time of the next one.
    fn fire(&self, generation: u64) -> Option<Option<Instant>> {
        let mut alarm = lock(&self.state);
        if alarm.generation != generation || alarm.next.is_none() {
            return None;
        }
        alarm.next = (!alarm.interval.is_zero()).then(|| Instant::now() + alarm.interval);
        Some(alarm.next)
    }
}

#[derive(Default)]
struct Queue {
    /// Ordered by time; the number keeps equal times apart.
    due: BTreeMap<(Instant, u64), (Weak<Process>, u64)>,
    serial: u64,
    running: bool,
    closed: bool,
}

/// All alarms of a kernel. The thread starts with the first alarm and ends with the queue.
#[derive(Clone, Default)]
pub struct TimerQueue {
    shared: Arc<(Mutex<Queue>, Condvar)>,
}

impl TimerQueue {
    fn push(&self, at: Instant, process: &Arc<Process>, generation: u64) {
        let (queue, changed) = &*self.shared;
        let mut guard = lock(queue);
        if guard.closed {
            return;
        }
        guard.serial += 1;
        let key = (at, guard.serial);
        guard.due.insert(key, (Arc::downgrade(process), generation));
        if guard.running {
            if guard.due.keys().next() == Some(&key) {
                changed.notify_one();
            }
            return;
        }
        let shared = Arc::clone(&self.shared);
        guard.running = std::thread::Builder::new()
            .name("pg:timer".to_owned())
            .spawn(move || run(&shared))
            .is_ok();
    }

    /// Ends the thread; later alarms are dropped.
    pub fn close(&self) {
        let (queue, changed) = &*self.shared;
        let mut guard = lock(queue);
        guard.closed = true;
        guard.due.clear();
        changed.notify_one();
    }
}

fn run(shared: &(Mutex<Queue>, Condvar)) {
    let (queue, changed) = shared;
    let mut guard = lock(queue);
    while !guard.closed {
        let now = Instant::now();
        let Some((&key, _)) = guard.due.iter().next() else {
            guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        if key.0 > now {
            guard = changed
                .wait_timeout(guard, key.0 - now)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            continue;
        }
        let Some((process, generation)) = guard.due.remove(&key) else {
            continue;
        };
        drop(guard);
        if let Some(process) = process.upgrade()
            && let Some(next) = process.itimer.fire(generation)
        {
            process.raise(SIGALRM);
            if let Some(at) = next {
                TimerQueue::push_again(queue, at, &process, generation);
            }
        }
        guard = lock(queue);
    }
}

impl TimerQueue {
    fn push_again(queue: &Mutex<Queue>, at: Instant, process: &Arc<Process>, generation: u64) {
        let mut guard = lock(queue);
        if !guard.closed {
            guard.serial += 1;
            let key = (at, guard.serial);
            guard.due.insert(key, (Arc::downgrade(process), generation));
        }
    }
}
