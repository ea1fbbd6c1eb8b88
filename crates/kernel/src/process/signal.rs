//! Signals of one process: pending, blocked, dispositions, and the word by which the guest learns of them.
//!
//! The kernel never interrupts compiled code. When a signal becomes deliverable it stores 1 in a word of the guest's memory and wakes the
//! process if it sleeps; the guest then asks for the signal with `next_signal` and runs the handler itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::image::LoadError;
use crate::image::record::{SignalInfoRecord, SignalsRecord};
use crate::memory::{AddressSpace, GuestAddr};
use crate::wait::{WaitQueue, lock};

/// Highest signal number.
pub const MAX_SIGNAL: u8 = 64;

/// Hang-up.
pub const SIGHUP: u8 = 1;
/// Interrupt.
pub const SIGINT: u8 = 2;
/// Quit.
pub const SIGQUIT: u8 = 3;
/// Illegal instruction; an `unreachable` of compiled code.
pub const SIGILL: u8 = 4;
/// Abort.
pub const SIGABRT: u8 = 6;
/// Bus error.
pub const SIGBUS: u8 = 7;
/// Arithmetic trap.
pub const SIGFPE: u8 = 8;
/// Kill.
pub const SIGKILL: u8 = 9;
/// Invalid memory access.
pub const SIGSEGV: u8 = 11;
/// Write to a pipe without readers.
pub const SIGPIPE: u8 = 13;
/// Timer.
pub const SIGALRM: u8 = 14;
/// Terminate.
pub const SIGTERM: u8 = 15;
/// A child ended.
pub const SIGCHLD: u8 = 17;
const SIGCONT: u8 = 18;
const SIGSTOP: u8 = 19;
const SIGTSTP: u8 = 20;
const SIGTTIN: u8 = 21;
const SIGTTOU: u8 = 22;
const SIGURG: u8 = 23;
const SIGWINCH: u8 = 28;
/// Bad system call: what a panic in a handler of the kernel becomes.
pub const SIGSYS: u8 = 31;

/// Ours: the process is a copy and has just begun to run as such. Sent only to those that handle it, and cannot be blocked.
pub const SIGTHAW: u8 = 64;

/// Default disposition as a handler value.
pub const SIG_DFL: u32 = 0;
/// Ignore.
pub const SIG_IGN: u32 = 1;

/// The handler gets a `siginfo_t`.
pub const SA_SIGINFO: u32 = 4;
/// Interrupted calls are restarted.
pub const SA_RESTART: u32 = 0x1000_0000;
/// The signal stays unblocked in its handler.
pub const SA_NODEFER: u32 = 0x4000_0000;
/// The disposition is reset when the handler is entered.
pub const SA_RESETHAND: u32 = 0x8000_0000;
/// Children do not become zombies.
pub const SA_NOCLDWAIT: u32 = 2;

/// Sent by `kill`.
pub const SI_USER: i32 = 0;
/// Sent by the kernel.
pub const SI_KERNEL: i32 = 0x80;

/// A set of signals; bit `n - 1` is signal `n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SigSet(pub u64);

impl SigSet {
    /// Signals that cannot be blocked.
    const UNBLOCKABLE: Self = Self(1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1) | 1 << (SIGTHAW - 1));

    /// The set of one signal; empty for a number out of range.
    #[must_use]
    pub const fn of(signo: u8) -> Self {
        if signo == 0 || signo > MAX_SIGNAL {
            Self(0)
        } else {
            Self(1 << (signo - 1))
        }
    }

    /// True if `signo` is in the set.
    #[must_use]
    pub const fn has(self, signo: u8) -> bool {
        self.0 & Self::of(signo).0 != 0
    }

    /// The lowest signal in the set.
    #[must_use]
    pub fn lowest(self) -> Option<u8> {
        (self.0 != 0).then(|| u8::try_from(self.0.trailing_zeros() + 1).unwrap_or(MAX_SIGNAL))
    }

    /// Without what cannot be blocked.
    #[must_use]
    pub const fn blockable(self) -> Self {
        Self(self.0 & !Self::UNBLOCKABLE.0)
    }
}

/// What a waiting signal carries.
#[derive(Clone, Copy, Debug, Default)]
pub struct SigInfo {
    /// Its number.
    pub signo: u8,
    /// `si_code`.
    pub code: i32,
    /// Sender, or the child for `SIGCHLD`.
    pub pid: i32,
    /// Sender's user.
    pub uid: u32,
    /// `si_status` of a child.
    pub status: i32,
}

impl SigInfo {
    /// The guest's 128-byte `siginfo_t`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 128] {
        let mut out = [0; 128];
        for (at, word) in [
            i32::from(self.signo),
            0,
            self.code,
            self.pid,
            self.uid.cast_signed(),
            self.status,
        ]
        .iter()
        .enumerate()
        {
            out[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
        }
        out
    }
}

/// A disposition, as `rt_sigaction` sets it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Action {
    /// [`SIG_DFL`], [`SIG_IGN`] or a function of the guest.
    pub handler: u32,
    /// `SA_*`.
    pub flags: u32,
    /// Also blocked while the handler runs.
    pub mask: SigSet,
}

/// A signal the guest is about to handle.
pub struct Delivery {
    /// What happened.
    pub info: SigInfo,
    /// How it is handled.
    pub action: Action,
    /// The mask to restore afterwards.
    pub old_mask: SigSet,
}

/// What raising a signal means for its process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing now: ignored, or blocked and kept.
    None,
    /// A handler is to run: wake the process.
    Deliver,
    /// The default action is to end the process.
    Kill,
}

#[derive(Clone)]
struct Inner {
    pending: SigSet,
    info: [SigInfo; MAX_SIGNAL as usize],
    mask: SigSet,
    /// A `sigsuspend`, `ppoll` or `epoll_pwait` in progress: the mask to come back to.
    saved_mask: Option<SigSet>,
    actions: [Action; MAX_SIGNAL as usize],
    word: GuestAddr,
}

/// The signal side of a process. Its lock is a leaf but for wait queues.
pub struct SignalState {
    inner: Mutex<Inner>,
    /// 1 while a signal is deliverable; read by every wait without the lock.
    attention: AtomicU32,
    arrivals: WaitQueue,
}

impl Default for SignalState {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                pending: SigSet(0),
                info: [SigInfo::default(); MAX_SIGNAL as usize],
                mask: SigSet(0),
                saved_mask: None,
                actions: [Action::default(); MAX_SIGNAL as usize],
                word: GuestAddr::NULL,
            }),
            attention: AtomicU32::new(0),
            arrivals: WaitQueue::new(),
        }
    }
}

fn default_is_ignore(signo: u8) -> bool {
    // Stopping is not offered: a stopped guest could hold locks of a database forever.
    matches!(
        signo,
        SIGCHLD | SIGCONT | SIGURG | SIGWINCH | SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU
    )
}

impl Inner {
    fn action(&self, signo: u8) -> Action {
        self.actions[usize::from(signo) - 1]
    }

    fn ignored(&self, signo: u8) -> bool {
        let handler = self.action(signo).handler;
        handler == SIG_IGN || handler == SIG_DFL && default_is_ignore(signo)
    }

    fn deliverable(&self) -> SigSet {
        SigSet(self.pending.0 & !self.mask.0)
    }
}

impl SignalState {
    /// What a forked child starts with: dispositions, mask and word; nothing pending.
    #[must_use]
    pub fn fork(&self) -> Self {
        let inner = lock(&self.inner);
        let child = Self::default();
        *lock(&child.inner) = Inner {
            pending: SigSet(0),
            info: [SigInfo::default(); MAX_SIGNAL as usize],
            mask: inner.saved_mask.unwrap_or(inner.mask),
            saved_mask: None,
            actions: inner.actions,
            word: inner.word,
        };
        child
    }

    /// The same state, pending signals included, for a copy of the process.
    pub(crate) fn copy(&self) -> Self {
        let inner = lock(&self.inner).clone();
        let copy = Self::default();
        copy.refresh(&inner);
        *lock(&copy.inner) = inner;
        copy
    }

    /// Makes a signal pending that is blocked.
    #[cfg(test)]
    pub(crate) fn load_for_test(&self, info: SigInfo) {
        let mut inner = lock(&self.inner);
        inner.mask = SigSet::of(info.signo);
        inner.pending = inner.mask;
        inner.info[usize::from(info.signo) - 1] = info;
    }

    /// The state for an image.
    pub(crate) fn save(&self) -> SignalsRecord {
        let inner = lock(&self.inner);
        let numbers = || 1..=MAX_SIGNAL;
        let info = numbers()
            .filter(|&signo| inner.pending.has(signo))
            .map(|signo| {
                let info = inner.info[usize::from(signo) - 1];
                SignalInfoRecord {
                    signo,
                    code: info.code,
                    pid: info.pid,
                    uid: info.uid,
                    status: info.status,
                }
            });
        let actions = numbers().filter_map(|signo| {
            let Action {
                handler,
                flags,
                mask,
            } = inner.action(signo);
            let set = handler != SIG_DFL || flags != 0 || mask.0 != 0;
            set.then_some((signo, handler, flags, mask.0))
        });
        SignalsRecord {
            pending: inner.pending.0,
            info: info.collect(),
            mask: inner.mask.0,
            saved_mask: inner.saved_mask.map(|mask| mask.0),
            actions: actions.collect(),
            word: inner.word.0,
        }
    }

    /// The state that was saved.
    pub(crate) fn load(record: &SignalsRecord) -> Result<Self, LoadError> {
        let at = |signo: u8| match signo {
            1..=MAX_SIGNAL => Ok(usize::from(signo) - 1),
            _ => Err(LoadError::Damaged("there is no such signal")),
        };
        let this = Self::default();
        {
            let mut inner = lock(&this.inner);
            inner.pending = SigSet(record.pending);
            inner.mask = SigSet(record.mask);
            inner.saved_mask = record.saved_mask.map(SigSet);
            inner.word = GuestAddr(record.word);
            for info in &record.info {
                inner.info[at(info.signo)?] = SigInfo {
                    signo: info.signo,
                    code: info.code,
                    pid: info.pid,
                    uid: info.uid,
                    status: info.status,
                };
            }
            for &(signo, handler, flags, mask) in &record.actions {
                inner.actions[at(signo)?] = Action {
                    handler,
                    flags,
                    mask: SigSet(mask),
                };
            }
            this.refresh(&inner);
        }
        Ok(this)
    }

    /// What a spawned program starts with: the mask, and what was ignored stays ignored.
    #[must_use]
    pub fn exec(&self) -> Self {
        let child = self.fork();
        {
            let mut inner = lock(&child.inner);
            inner.word = GuestAddr::NULL;
            for action in &mut inner.actions {
                *action = Action {
                    handler: if action.handler == SIG_IGN {
                        SIG_IGN
                    } else {
                        SIG_DFL
                    },
                    ..Action::default()
                };
            }
        }
        child
    }

    /// Woken at every signal that becomes pending, for `signalfd`.
    pub fn queue(&self) -> &WaitQueue {
        &self.arrivals
    }

    /// True while a signal waits for its handler.
    pub fn deliverable(&self) -> bool {
        self.attention.load(Ordering::SeqCst) != 0
    }

    /// True if one of `mask` is pending, blocked or not.
    pub fn pending_in(&self, mask: SigSet) -> bool {
        lock(&self.inner).pending.0 & mask.0 != 0
    }

    /// All pending signals.
    pub fn pending(&self) -> SigSet {
        lock(&self.inner).pending
    }

    /// Takes the lowest pending signal of `mask` without running its handler (`signalfd`, `sigtimedwait`).
    pub fn take(&self, mask: SigSet) -> Option<SigInfo> {
        let mut inner = lock(&self.inner);
        let signo = SigSet(inner.pending.0 & mask.0).lowest()?;
        inner.pending.0 &= !SigSet::of(signo).0;
        let info = inner.info[usize::from(signo) - 1];
        self.refresh(&inner);
        Some(info)
    }

    /// Makes a signal pending. The caller acts on the effect.
    pub fn raise(&self, info: SigInfo, space: &dyn AddressSpace) -> Effect {
        let signo = info.signo;
        if signo == SIGKILL {
            return Effect::Kill;
        }
        let effect = {
            let mut inner = lock(&self.inner);
            let blocked = inner.mask.has(signo);
            if !blocked && inner.ignored(signo) {
                return Effect::None;
            }
            if !blocked && inner.action(signo).handler == SIG_DFL {
                return Effect::Kill;
            }
            if !inner.pending.has(signo) {
                inner.pending.0 |= SigSet::of(signo).0;
                inner.info[usize::from(signo) - 1] = info;
            }
            self.publish(&inner, space);
            if blocked {
                Effect::None
            } else {
                Effect::Deliver
            }
        };
        self.arrivals.wake_all();
        effect
    }

    /// The next signal whose handler is to run, with its mask already blocked. Clears the guest's word first, and sets it again if more wait.
    /// A pending signal whose action has become "ignore" is dropped; one whose action is to kill is returned as `Err`.
    pub fn next(&self, space: &dyn AddressSpace) -> Result<Option<Delivery>, u8> {
        let mut inner = lock(&self.inner);
        while let Some(signo) = inner.deliverable().lowest() {
            inner.pending.0 &= !SigSet::of(signo).0;
            if inner.ignored(signo) {
                continue;
            }
            let action = inner.action(signo);
            if action.handler == SIG_DFL {
                return Err(signo);
            }
            let old_mask = inner.saved_mask.take().unwrap_or(inner.mask);
            inner.mask.0 |= action.mask.blockable().0;
            if action.flags & SA_NODEFER == 0 {
                inner.mask.0 |= SigSet::of(signo).blockable().0;
            }
            if action.flags & SA_RESETHAND != 0 {
                inner.actions[usize::from(signo) - 1].handler = SIG_DFL;
            }
            self.publish(&inner, space);
            return Ok(Some(Delivery {
                info: inner.info[usize::from(signo) - 1],
                action,
                old_mask,
            }));
        }
        if let Some(mask) = inner.saved_mask.take() {
            inner.mask = mask;
        }
        self.publish(&inner, space);
        Ok(None)
    }

    /// True if every signal now deliverable lets an interrupted call restart.
    pub fn restarts(&self) -> bool {
        let inner = lock(&self.inner);
        let mut left = inner.deliverable();
        let mut any = false;
        while let Some(signo) = left.lowest() {
            left.0 &= !SigSet::of(signo).0;
            if inner.ignored(signo) {
                continue;
            }
            any = true;
            if inner.action(signo).flags & SA_RESTART == 0 {
                return false;
            }
        }
        any
    }

    /// The current mask.
    pub fn mask(&self) -> SigSet {
        lock(&self.inner).mask
    }

    /// Replaces the mask and returns the old one.
    pub fn set_mask(&self, mask: SigSet, space: &dyn AddressSpace) -> SigSet {
        let mut inner = lock(&self.inner);
        let old = inner.mask;
        inner.mask = mask.blockable();
        self.publish(&inner, space);
        old
    }

    /// Replaces the mask for the length of one call (`sigsuspend`, `ppoll`, `epoll_pwait`).
    pub fn set_temporary_mask(&self, mask: SigSet, space: &dyn AddressSpace) {
        let mut inner = lock(&self.inner);
        if inner.saved_mask.is_none() {
            inner.saved_mask = Some(inner.mask);
        }
        inner.mask = mask.blockable();
        self.publish(&inner, space);
    }

    /// Ends a temporary mask, unless a handler is still to run under it: then [`Self::next`] does.
    pub fn end_temporary_mask(&self, space: &dyn AddressSpace) {
        let mut inner = lock(&self.inner);
        if inner.deliverable().0 == 0 {
            if let Some(mask) = inner.saved_mask.take() {
                inner.mask = mask;
            }
            self.publish(&inner, space);
        }
    }

    /// The disposition of a signal.
    pub fn action(&self, signo: u8) -> Action {
        lock(&self.inner).action(signo)
    }

    /// Replaces the disposition of a signal; what becomes ignored is no longer pending.
    pub fn set_action(&self, signo: u8, action: Action, space: &dyn AddressSpace) {
        let mut inner = lock(&self.inner);
        inner.actions[usize::from(signo) - 1] = action;
        if inner.ignored(signo) && !inner.mask.has(signo) {
            inner.pending.0 &= !SigSet::of(signo).0;
        }
        self.publish(&inner, space);
    }

    /// Where the guest looks for signals.
    pub fn set_word(&self, word: GuestAddr, space: &dyn AddressSpace) {
        let mut inner = lock(&self.inner);
        inner.word = word;
        self.publish(&inner, space);
    }

    fn refresh(&self, inner: &Inner) -> bool {
        let deliverable = inner.deliverable().0 != 0;
        self.attention
            .store(u32::from(deliverable), Ordering::SeqCst);
        deliverable
    }

    fn publish(&self, inner: &Inner, space: &dyn AddressSpace) {
        let deliverable = self.refresh(inner);
        self.store_word(inner.word, u32::from(deliverable), space);
    }

    /// Makes a process that never calls the kernel come and learn that it was killed.
    pub fn call_in(&self, space: &dyn AddressSpace) {
        let inner = lock(&self.inner);
        self.store_word(inner.word, 1, space);
    }

    fn store_word(&self, word: GuestAddr, value: u32, space: &dyn AddressSpace) {
        if !word.is_null()
            && let Ok(word) = space.atomic_u32(word)
        {
            word.store(value, Ordering::SeqCst);
        }
    }
}
