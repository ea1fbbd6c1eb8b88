//! Guest processes: one address space and one thread each.

pub mod mm;
pub(crate) mod rest;
pub mod shell;
pub mod signal;
pub(crate) mod sole;
mod stale;
pub mod timer;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use crate::errno::Errno;
use crate::fdtable::FdTable;
use crate::file::OpenFile;
use crate::kernel::Kernel;
use crate::memory::AddressSpace;
use crate::wait::{Owner, Sleeper, WaitQueue, Waiter, lock};
use mm::Mm;
use rest::{Gate, Rest};
use signal::{Effect, SI_KERNEL, SIGCHLD, SIGKILL, SigInfo, SignalState};

/// A process number; unique in its kernel, never reused while it runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pid(pub i32);

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// `exit(code)`; 0 to 255.
    Exited(u8),
    /// Killed by a signal: `SIGKILL`, an unhandled one, or `SIGSEGV`/`SIGFPE`/`SIGILL` for a trap of the machine.
    Signaled(u8),
}

impl ExitStatus {
    pub(crate) fn encode(self) -> u32 {
        match self {
            Self::Exited(code) => 0x100 | u32::from(code),
            Self::Signaled(signo) => 0x200 | u32::from(signo),
        }
    }

    pub(crate) fn decode(word: u32) -> Option<Self> {
        let low = u8::try_from(word & 0xff).unwrap_or(0);
        match word & 0x300 {
            0x100 => Some(Self::Exited(low)),
            0x200 => Some(Self::Signaled(low)),
            _ => None,
        }
    }
}

/// Working directory and file creation mask.
#[derive(Clone, Debug)]
pub struct FsContext {
    /// Absolute, normalised.
    pub cwd: String,
    /// Permission bits that new files do not get.
    pub umask: u32,
}

/// A child that has ended and was not waited for.
#[derive(Clone, Copy, Debug)]
pub struct Zombie {
    /// Who it was.
    pub pid: Pid,
    /// Its process group.
    pub group: Pid,
    /// How it ended.
    pub status: ExitStatus,
}

/// Who belongs to whom.
#[derive(Clone, Debug)]
pub struct Family {
    /// The parent; 0 is the host.
    pub parent: Pid,
    /// Process group.
    pub group: Pid,
    /// Session.
    pub session: Pid,
    /// Ended children.
    pub zombies: VecDeque<Zombie>,
}

/// A guest process. The kernel's table and its own thread hold it until it ends.
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// Base name of its program.
    pub name: String,
    me: Weak<Process>,
    kernel: Weak<Kernel>,
    space: Arc<dyn AddressSpace>,
    /// Descriptors; held only for table operations, never across a read or write.
    pub files: Mutex<FdTable>,
    /// Working directory and umask.
    pub fs: Mutex<FsContext>,
    mm: Mutex<Mm>,
    signals: SignalState,
    family: Mutex<Family>,
    /// Woken when a child ends.
    children: WaitQueue,
    waiter: Arc<Waiter>,
    /// Encoded [`ExitStatus`] once it is decided; the thread leaves the guest at its next call.
    ending: AtomicU32,
    /// The thread has left.
    finished: AtomicBool,
    /// Real-time interval timer.
    pub itimer: timer::IntervalTimer,
    pub(crate) gate: Arc<Gate>,
    rest: Mutex<Rest>,
    /// It parks without waiting on its thread first.
    prompt: AtomicBool,
    /// Deadline of the call that was parked.
    restart: Mutex<Option<Instant>>,
}

/// What a new process is made of.
pub(crate) struct NewProcess {
    pub(crate) pid: Pid,
    pub(crate) name: String,
    pub(crate) kernel: Weak<Kernel>,
    pub(crate) space: Arc<dyn AddressSpace>,
    pub(crate) files: FdTable,
    pub(crate) fs: FsContext,
    pub(crate) mm: Mm,
    pub(crate) signals: SignalState,
    pub(crate) parent: Pid,
    pub(crate) group: Pid,
    pub(crate) session: Pid,
    pub(crate) gate: Arc<Gate>,
    pub(crate) rest: Rest,
}

impl Process {
    pub(crate) fn create(new: NewProcess) -> Arc<Self> {
        Arc::new_cyclic(|me: &Weak<Self>| Self {
            pid: new.pid,
            name: new.name,
            me: Weak::clone(me),
            kernel: new.kernel,
            space: new.space,
            files: Mutex::new(new.files),
            fs: Mutex::new(new.fs),
            mm: Mutex::new(new.mm),
            signals: new.signals,
            family: Mutex::new(Family {
                parent: new.parent,
                group: new.group,
                session: new.session,
                zombies: VecDeque::new(),
            }),
            children: WaitQueue::new(),
            waiter: Waiter::owned(me.clone() as Weak<dyn Owner>),
            ending: AtomicU32::new(0),
            finished: AtomicBool::new(false),
            itimer: timer::IntervalTimer::default(),
            gate: new.gate,
            rest: Mutex::new(new.rest),
            prompt: AtomicBool::new(false),
            restart: Mutex::default(),
        })
    }

    /// A counted reference to itself; `ESRCH` while it is being dropped.
    pub fn shared(&self) -> Result<Arc<Self>, Errno> {
        self.me.upgrade().ok_or(Errno::ESRCH)
    }

    /// The kernel it belongs to; `ESRCH` while that is being torn down.
    pub fn kernel(&self) -> Result<Arc<Kernel>, Errno> {
        self.kernel.upgrade().ok_or(Errno::ESRCH)
    }

    /// Its memory.
    pub fn space(&self) -> &dyn AddressSpace {
        &*self.space
    }

    /// Its memory, to hold on to.
    pub fn shared_space(&self) -> Arc<dyn AddressSpace> {
        Arc::clone(&self.space)
    }

    /// Its memory map.
    pub fn mm(&self) -> MutexGuard<'_, Mm> {
        lock(&self.mm)
    }

    /// Its signals.
    pub fn signals(&self) -> &SignalState {
        &self.signals
    }

    /// Parent, group, session and ended children.
    pub fn family(&self) -> MutexGuard<'_, Family> {
        lock(&self.family)
    }

    /// Woken when a child ends.
    pub fn children(&self) -> &WaitQueue {
        &self.children
    }

    /// The open file behind a descriptor, or `EBADF`.
    pub fn file(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        lock(&self.files).get(fd)
    }

    /// Raises a signal of the kernel's own (`SIGPIPE`, `SIGALRM`).
    pub fn raise(&self, signo: u8) {
        self.post(SigInfo {
            signo,
            code: SI_KERNEL,
            ..SigInfo::default()
        });
    }

    /// Raises a signal with what it carries. Any thread.
    pub fn post(&self, info: SigInfo) {
        match self.signals.raise(info, self.space()) {
            Effect::None => {}
            Effect::Deliver => self.waiter.wake(),
            Effect::Kill => self.terminate(ExitStatus::Signaled(info.signo)),
        }
    }

    /// Decides how the process ends, unless that is decided already. Its thread leaves the guest at its next system call, from a sleep at once; one without a
    /// thread is gone when this returns.
    pub fn terminate(&self, status: ExitStatus) {
        if self
            .ending
            .compare_exchange(0, status.encode(), Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            if self.end_at_rest() {
                // No thread of its own will do it.
                if let Ok(this) = self.shared() {
                    this.finish(None);
                }
                return;
            }
            self.call();
            if status == ExitStatus::Signaled(SIGKILL)
                && let Ok(kernel) = self.kernel()
            {
                kernel.machine().interrupt(self);
            }
        }
    }

    /// How it will end, once that is decided.
    pub fn ending(&self) -> Option<ExitStatus> {
        ExitStatus::decode(self.ending.load(Ordering::SeqCst))
    }

    /// True once its thread has left the guest.
    pub fn finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    pub(crate) fn restart(&self) -> MutexGuard<'_, Option<Instant>> {
        lock(&self.restart)
    }

    /// The machine's last word, on the guest's thread after it has left the guest: closes everything and tells the parent.
    /// `trapped` is the signal a trap amounts to; `None` when the guest left through a system call.
    pub fn finish(self: &Arc<Self>, trapped: Option<u8>) {
        if let Some(signo) = trapped {
            self.terminate(ExitStatus::Signaled(signo));
        }
        let status = self.ending().unwrap_or(ExitStatus::Exited(0));
        self.itimer.cancel();
        let kernel = self.kernel();
        if let Ok(kernel) = &kernel
            && let Err(error) = self.end_sole(kernel)
        {
            tracing::error!(
                pid = self.pid.0,
                ?error,
                "what an ended process wrote to shared memory is lost"
            );
        }
        let files = std::mem::take(&mut *lock(&self.files));
        drop(files);
        let Ok(kernel) = kernel else {
            self.finished.store(true, Ordering::SeqCst);
            return;
        };
        if kernel.trace {
            crate::syscalls::trace::print_end(self, status);
        }
        self.gate.begin_end();
        let told = kernel.retire(self, status);
        if let Some((parent, zombie)) = told {
            parent.child_ended(zombie);
        }
        self.gate.end_end();
        self.finished.store(true, Ordering::SeqCst);
        kernel.ended().wake_all();
    }

    /// Keeps a child that has ended until it is waited for.
    pub(crate) fn add_zombie(&self, zombie: Zombie) {
        let action = self.signals.action(SIGCHLD);
        if action.handler != signal::SIG_IGN && action.flags & signal::SA_NOCLDWAIT == 0 {
            self.family().zombies.push_back(zombie);
        }
    }

    /// Says so.
    pub(crate) fn child_ended(&self, zombie: Zombie) {
        let (code, status) = match zombie.status {
            ExitStatus::Exited(code) => (1, i32::from(code)),
            ExitStatus::Signaled(signo) => (2, i32::from(signo)),
        };
        self.post(SigInfo {
            signo: SIGCHLD,
            code,
            pid: zombie.pid.0,
            uid: crate::fs::GUEST_UID,
            status,
        });
        self.children.wake_all();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A deadline of its in the queue would keep the timer thread for nothing.
        timer::purge();
    }
}

impl Sleeper for Process {
    fn waiter(&self) -> &Arc<Waiter> {
        &self.waiter
    }

    fn interrupted(&self) -> bool {
        self.signals.deliverable() || self.ending.load(Ordering::SeqCst) != 0
    }

    fn must_park(&self) -> bool {
        self.gate.is_closed()
    }

    fn take_restarted(&self) -> Option<Instant> {
        self.restart().take()
    }

    fn keep_restart(&self, deadline: Option<Instant>) {
        *self.restart() = deadline;
    }
}
