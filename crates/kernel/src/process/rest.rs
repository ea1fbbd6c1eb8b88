//! Processes without a thread: dormant ones, which would only wait, and frozen ones, which are being copied.
//!
//! A process leaves its thread at a system call that has had no effect yet ([`crate::syscalls::Outcome::Park`]); resumed, it makes the call again.
//! Whoever makes one runnable hands it to the machine, whose thread begins with [`Process::unpark`].
//!
//! Lock order: `Process::rest`, then a file's own locks and wait queues. A waker holds wait queues, so it must not take `rest`: it only hands the process over.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, MutexGuard, Weak};
use std::time::Instant;

use super::{Process, timer};
use crate::errno::Errno;
use crate::file::{OpenFile, Ready};
use crate::handoff;
use crate::memory::Entry;
use crate::process::signal::SIGTHAW;
use crate::reactor::{self, Registration, Told};
use crate::syscalls::readiness;
use crate::wait::{Owner, Sleeper, WaitQueue, Waiter, lock};

/// What a process without a thread waits for.
#[derive(Clone, Default)]
pub(crate) struct Idle {
    /// Files, and what they must be ready for.
    pub(crate) watches: Vec<(Arc<OpenFile>, Ready)>,
    pub(crate) deadline: Option<Instant>,
}

/// Where a process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum State {
    /// On a thread, or on its way to one.
    #[default]
    Running,
    /// Waiting without a thread.
    Dormant,
    /// Stays where it is until its kernel goes on.
    Frozen,
    /// No more.
    Ended,
}

#[derive(Default)]
pub(crate) struct Rest {
    state: State,
    /// What the parked call waits for; `None` if it must be made again at once.
    pub(crate) idle: Option<Idle>,
    /// The waiter is in the queues of `idle`'s files.
    registered: bool,
    /// The descriptors of the host among them, by their place in `idle`.
    watched: Vec<(usize, Registration)>,
    /// Woken while frozen.
    woken: bool,
    /// A copy that does not know it yet: it is told when it first runs.
    copied: bool,
}

impl Rest {
    /// Of a process in a copy that does not run yet.
    pub(crate) fn frozen(idle: Option<Idle>) -> Self {
        Self {
            state: State::Frozen,
            idle,
            copied: true,
            ..Self::default()
        }
    }

    /// True if it is waiting to be resumed; a frozen process will be when it goes on.
    fn can_run(&mut self) -> bool {
        self.woken |= self.state == State::Frozen;
        self.state == State::Dormant
    }
}

/// Stops and starts all processes of a kernel.
#[derive(Default)]
pub(crate) struct Gate {
    /// Greater than zero while processes are to stop.
    closed: AtomicU32,
    /// Processes that are out of the table while their parents are not told yet.
    ending: AtomicU32,
    /// Woken when a process has stopped.
    pub(crate) stopped: WaitQueue,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        Self {
            closed: AtomicU32::new(1),
            ..Self::default()
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn close(&self) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) {
        self.closed.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn begin_end(&self) {
        self.ending.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn end_end(&self) {
        self.ending.fetch_sub(1, Ordering::SeqCst);
    }

    /// True while a copy would have a process's end without the word of it.
    pub(crate) fn has_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst) > 0
    }
}

fn queue_of<'a>(process: &'a Process, open: &'a OpenFile) -> Option<&'a WaitQueue> {
    if open.file.as_any().is::<crate::net::event::SignalFd>() {
        return Some(process.signals().queue());
    }
    open.file.wait_queue()
}

impl Process {
    pub(crate) fn rest(&self) -> MutexGuard<'_, Rest> {
        lock(&self.rest)
    }

    /// Says what the call that is about to be parked waits for.
    pub(crate) fn set_idle(&self, idle: Idle) {
        self.rest().idle = Some(idle);
    }

    /// The machine's word that the process has left its thread. True if it must be resumed at once, on this thread; if false, it may be running
    /// elsewhere already, or be gone, and must not be touched.
    pub fn parked(&self) -> bool {
        let mut rest = self.rest();
        if self.ending().is_some() {
            rest.idle = None;
            return true;
        }
        if self.gate.is_closed() {
            rest.state = State::Frozen;
            rest.woken = false;
            drop(rest);
            self.gate.stopped.wake_all();
            return false;
        }
        if rest.idle.is_none() {
            return true;
        }
        let resume = self.go_dormant(&mut rest);
        if resume {
            rest.idle = None;
        }
        resume
    }

    /// The machine's thread is about to resume the process: false if it must not, because it is frozen, gone, or was resumed by another. Blocks until it may run
    /// beside those that do.
    ///
    /// # Errors
    /// `ENOMEM` without memory for that.
    pub fn unpark(&self) -> Result<bool, Errno> {
        // Room is made only for one that does run.
        if !self.rest().can_run() {
            return Ok(false);
        }
        self.admit()?;
        let mut rest = self.rest();
        if !rest.can_run() {
            return Ok(false);
        }
        self.awake(&mut rest);
        Ok(true)
    }

    fn awake(&self, rest: &mut Rest) {
        self.unregister(rest);
        self.waiter.resume();
        rest.idle = None;
        rest.state = State::Running;
        if std::mem::take(&mut rest.copied) && self.signals.action(SIGTHAW).handler > 1 {
            self.raise(SIGTHAW);
        }
    }

    /// Registers for what the process waits for. True if that is there already and nobody else has been told.
    fn go_dormant(&self, rest: &mut Rest) -> bool {
        let Some(idle) = rest.idle.clone() else {
            return true;
        };
        rest.registered = true;
        for (at, (open, interest)) in idle.watches.iter().enumerate() {
            if let Some(queue) = queue_of(self, open) {
                queue.add(&self.waiter);
            } else if let Some(fd) = open.file.host_fd() {
                let told: Weak<dyn Told> = Arc::<Waiter>::downgrade(&self.waiter);
                match reactor::watch(fd, *interest, told) {
                    Ok(registration) => rest.watched.push((at, registration)),
                    Err(_) => {
                        // Then it waits on its thread.
                        self.unregister(rest);
                        return true;
                    }
                }
            }
        }
        let mut resume = !self.waiter.begin_dormant();
        if !resume && self.has_come(&idle) {
            // If somebody was told meanwhile, they resume it.
            resume = self.waiter.end_dormant();
        }
        if resume {
            self.unregister(rest);
            rest.state = State::Running;
            return true;
        }
        rest.state = State::Dormant;
        if let Some(at) = idle.deadline {
            timer::wake_at(at, self.me.clone());
        }
        false
    }

    fn has_come(&self, idle: &Idle) -> bool {
        const ALWAYS: Ready = Ready::ERR.union(Ready::HUP);
        self.interrupted()
            || idle.deadline.is_some_and(|at| Instant::now() >= at)
            || idle
                .watches
                .iter()
                .any(|(open, interest)| readiness(self, open).intersects(*interest | ALWAYS))
    }

    fn unregister(&self, rest: &mut Rest) {
        if !std::mem::take(&mut rest.registered) {
            return;
        }
        if let Some(idle) = &rest.idle {
            for (at, registration) in rest.watched.drain(..) {
                if let Some(fd) = idle.watches[at].0.file.host_fd() {
                    reactor::forget(registration, fd);
                }
            }
            for (open, _) in &idle.watches {
                if let Some(queue) = queue_of(self, open) {
                    queue.remove(&self.waiter);
                }
            }
        }
    }

    /// Takes the process out of what it waits for, for good; true if it was at rest, and so has no thread that will see to its end.
    pub(crate) fn end_at_rest(&self) -> bool {
        let mut rest = self.rest();
        if !matches!(rest.state, State::Dormant | State::Frozen) {
            return false;
        }
        self.unregister(&mut rest);
        rest.state = State::Ended;
        rest.idle = None;
        true
    }

    /// True if it stays where it is: a dormant one is frozen here; one on a thread is told to stop, and says so by [`Gate::stopped`].
    pub(crate) fn stop(&self) -> bool {
        let mut rest = self.rest();
        match rest.state {
            State::Frozen | State::Ended => true,
            State::Dormant => {
                rest.state = State::Frozen;
                rest.woken = false;
                true
            }
            State::Running => false,
        }
    }

    /// True if it stopped on its way to something else than waiting for events, or what it waits for has come: in a copy it runs at once.
    pub(crate) fn is_restless(&self) -> bool {
        let rest = self.rest();
        rest.state == State::Frozen && rest.idle.as_ref().is_none_or(|idle| self.has_come(idle))
    }

    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.rest().state, State::Frozen | State::Ended)
    }

    /// Makes a running process come to its next system call, if it is not in one.
    pub(crate) fn call(&self) {
        self.signals.call_in(self.space());
        self.waiter.wake();
    }

    /// Lets a frozen process go on; with the gate open.
    pub(crate) fn go_on(&self) {
        let mut rest = self.rest();
        if rest.state != State::Frozen {
            return;
        }
        let resume = if rest.registered {
            // It was dormant before.
            rest.state = State::Dormant;
            std::mem::take(&mut rest.woken)
        } else if rest.idle.is_some() {
            let resume = self.go_dormant(&mut rest);
            // On a thread of its own, through the same door as everybody.
            rest.state = State::Dormant;
            resume
        } else {
            rest.state = State::Dormant;
            true
        };
        drop(rest);
        if resume {
            self.hand_over();
        }
    }

    /// Says whether it parks as soon as it would wait for events: worth it where whoever wakes it also carries it.
    pub fn set_prompt(&self, prompt: bool) {
        self.prompt.store(prompt, Ordering::Relaxed);
    }

    pub(crate) fn is_prompt(&self) -> bool {
        self.prompt.load(Ordering::Relaxed)
    }

    /// Has a thread of the machine resume it.
    pub(crate) fn hand_over(&self) {
        if let (Ok(this), Ok(kernel)) = (self.shared(), self.kernel())
            && let Err(error) = kernel.machine().start(this, Entry::Resume)
        {
            tracing::error!(
                pid = self.pid.0,
                ?error,
                "no thread for a process; it is killed"
            );
            self.terminate(super::ExitStatus::Signaled(super::SIGKILL));
        }
    }
}

impl Owner for Process {
    fn woken(&self) {
        if self.shared().is_ok_and(|this| !handoff::keep(&this)) {
            self.hand_over();
        }
    }
}
