//! Faults of compiled code: they end the guest process, never the host.
//!
//! One process-wide handler looks whether the faulting thread is *inside guest code*. If so it jumps to the frame that entered the guest, over C frames only; otherwise
//! the handler that was installed before gets the signal. "Inside" is a thread-local flag that the system call trampoline clears and sets.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use crate::module::{Context, EXITED, Module, TRAPPED};
use crate::space::Memory;

/// Codes from here on, after `TRAPPED`, are signals of the host.
pub(crate) const HOST_SIGNAL: c_int = 64;
const ALT_STACK_SIZE: usize = 64 << 10;
const FAULTS: [c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];

/// The guest that a thread runs.
pub(crate) struct Current<'a> {
    pub(crate) module: &'static Module,
    pub(crate) context: *mut Context,
    pub(crate) memory: &'a Memory,
}

thread_local! {
    // Const and without destructor: reading them in a signal handler allocates nothing.
    static CURRENT: Cell<*const c_void> = const { Cell::new(ptr::null()) };
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Names the guest of this thread, which is about to be entered.
///
/// Another guest may be entered from a system call of one, on the same thread: the one before is to be restored.
pub(crate) fn set_current(current: &Current<'_>) -> Outer {
    let outer = Outer(CURRENT.replace(ptr::from_ref(current).cast()));
    INSIDE.set(true);
    outer
}

/// Whose system call it was.
pub(crate) struct Outer(*const c_void);

/// The guest has been left.
pub(crate) fn restore_current(outer: Outer) {
    INSIDE.set(false);
    CURRENT.set(outer.0);
}

/// The thread is in the kernel now.
pub(crate) fn left_guest() {
    INSIDE.set(false);
}

/// The thread goes back into the guest.
pub(crate) fn entered_guest() {
    INSIDE.set(true);
}

struct Previous {
    actions: [libc::sigaction; 4],
}

// SAFETY: plain data, written once before the handlers are installed.
unsafe impl Sync for Previous {}
// SAFETY: as above.
unsafe impl Send for Previous {}

static PREVIOUS: OnceLock<Previous> = OnceLock::new();

/// The signal by which a guest thread is forced out of compiled code.
pub(crate) fn interrupt_signal() -> c_int {
    libc::SIGRTMAX() - 4
}

/// Installs the handlers, once.
pub(crate) fn install() {
    PREVIOUS.get_or_init(|| {
        let mut actions = [zeroed_action(); 4];
        for (at, &signo) in FAULTS.iter().enumerate() {
            // SAFETY: only reads the present action.
            unsafe { libc::sigaction(signo, ptr::null(), &mut actions[at]) };
        }
        Previous { actions }
    });
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        for signo in FAULTS {
            set_handler(signo, on_fault);
        }
        set_handler(interrupt_signal(), on_interrupt);
    });
}

fn zeroed_action() -> libc::sigaction {
    // SAFETY: all-zero is a valid `struct sigaction`: SIG_DFL, no flags, empty mask.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn set_handler(signo: c_int, handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void)) {
    let mut action = zeroed_action();
    action.sa_sigaction = handler as *const () as usize;
    // NODEFER: the handler leaves by a jump, after which the signal must not stay blocked.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for and is async-signal-safe.
    unsafe { libc::sigaction(signo, &action, ptr::null_mut()) };
}

/// Leaves the guest of this thread; returns only if there is none inside.
fn leave(code: c_int, belongs: impl FnOnce(&Current<'_>) -> bool) {
    let current = CURRENT.get().cast::<Current<'_>>();
    if !INSIDE.get() || current.is_null() {
        return;
    }
    // SAFETY: set by `run` on this very thread and cleared before it goes away.
    let current = unsafe { &*current };
    if belongs(current) {
        INSIDE.set(false);
        // SAFETY: the thread is inside the guest: on its stack there are C frames and this handler, which owns nothing.
        unsafe { current.module.unwind(current.context, code) };
    }
}

extern "C" fn on_fault(signo: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    leave(TRAPPED + HOST_SIGNAL + signo, |current| {
        if signo == libc::SIGFPE || signo == libc::SIGILL {
            return true;
        }
        // SAFETY: the kernel passes a valid siginfo for SIGSEGV and SIGBUS. The native stack and its guard lie in the space, too.
        let address = unsafe { (*info).si_addr() }.addr();
        current.memory.contains(address)
    });
    chain(signo, info, context);
}

extern "C" fn on_interrupt(_signo: c_int, _info: *mut libc::siginfo_t, _context: *mut c_void) {
    leave(EXITED, |_| true);
}

/// Hands a signal that is not ours to whoever was there before.
fn chain(signo: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let previous = PREVIOUS.get().and_then(|previous| {
        FAULTS
            .iter()
            .position(|&known| known == signo)
            .map(|at| previous.actions[at])
    });
    let handler = previous.map_or(libc::SIG_DFL, |action| action.sa_sigaction);
    match handler {
        libc::SIG_DFL | libc::SIG_IGN => {
            let action = zeroed_action();
            // SAFETY: restores the default action; returning repeats the fault, which then ends the process with the right status.
            unsafe { libc::sigaction(signo, &action, ptr::null_mut()) };
        }
        handler if previous.is_some_and(|action| action.sa_flags & libc::SA_SIGINFO != 0) => {
            // SAFETY: the previous owner installed a function of this signature.
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signo, info, context);
        }
        handler => {
            // SAFETY: without SA_SIGINFO it is a function of one int.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            handler(signo);
        }
    }
}

/// A signal stack for this thread while it exists; the one before is restored on drop.
pub(crate) struct AltStack {
    _memory: Box<[MaybeUninit<u8>]>,
    before: libc::stack_t,
}

impl AltStack {
    /// Installs it.
    pub(crate) fn new() -> Self {
        // Not cleared: few threads ever use it.
        let mut memory = Box::new_uninit_slice(ALT_STACK_SIZE);
        let stack = libc::stack_t {
            ss_sp: memory.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: memory.len(),
        };
        let mut before = libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: the memory lives in the value until it is dropped, which takes the stack out of use first.
        unsafe { libc::sigaltstack(&stack, &mut before) };
        Self {
            _memory: memory,
            before,
        }
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        // SAFETY: puts back what was there; this thread does not run on the alternate stack now.
        unsafe { libc::sigaltstack(&self.before, ptr::null_mut()) };
    }
}

/// Makes sure that a thread of the host has a signal stack, on which a guest that ran off its own stack can be left.
pub(crate) fn ensure_alt_stack() {
    thread_local! {
        static OURS: std::cell::OnceCell<Option<AltStack>> = const { std::cell::OnceCell::new() };
    }
    OURS.with(|ours| {
        ours.get_or_init(|| {
            let mut present = libc::stack_t {
                ss_sp: ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: 0,
            };
            // SAFETY: only asks.
            unsafe { libc::sigaltstack(ptr::null(), &mut present) };
            (present.ss_flags & libc::SS_DISABLE != 0).then(AltStack::new)
        });
    });
}

/// Leaves the host's own signals (interrupt, terminate, child, ...) to the host's threads.
pub(crate) fn block_host_signals() {
    // SAFETY: a local signal set; blocks for the calling thread only.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        let mut set = set.assume_init();
        for signo in FAULTS.into_iter().chain([
            interrupt_signal(),
            libc::SIGABRT,
            libc::SIGTRAP,
            libc::SIGSYS,
            libc::SIGPROF,
        ]) {
            libc::sigdelset(&mut set, signo);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &set, ptr::null_mut());
    }
}
