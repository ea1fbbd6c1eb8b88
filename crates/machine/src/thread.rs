//! Guest threads: one native stack each, entered once, left by exit, kill or trap.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pglite_oxide_kernel::memory::{AddressSpace, Entry};
use pglite_oxide_kernel::process::signal::{SIGABRT, SIGFPE, SIGILL, SIGSEGV};
use pglite_oxide_kernel::syscalls::{Outcome, dispatch};
use pglite_oxide_kernel::{Errno, Pid, Process};

use crate::module::{EXITED, TRAPPED, UNWIND};
use crate::space::Space;
use crate::trap;

/// Bytes of native stack of a guest thread, committed as it is used. Compiled frames are larger than the guest's own;
/// the guest is told of half.
pub(crate) const STACK_SIZE: usize = 16 << 20;

/// Guest threads alive in this host process.
pub(crate) static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Who runs where, for [`interrupt`]. A thread takes itself out before it ends, under the lock, so a number in the list is always a live thread.
static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

struct Running {
    /// Address of the space: unique among live processes of all kernels.
    space: usize,
    thread: libc::pthread_t,
}

// wasm_rt_trap_t of wabt's runtime
const TRAP_INT_OVERFLOW: c_int = 2;
const TRAP_INVALID_CONVERSION: c_int = 4;
const TRAP_UNREACHABLE: c_int = 5;
const TRAP_UNCAUGHT_EXCEPTION: c_int = 8;

/// Serves a system call of compiled code.
extern "C" fn serve(task: *mut c_void, number: u32, arguments: *const u32) -> i64 {
    trap::left_guest();
    // SAFETY: `task` is the process that `run` set in the context and keeps alive until the guest is left.
    let process = unsafe { &*task.cast::<Arc<Process>>() };
    // SAFETY: the shim passes a pointer to six words.
    let arguments = unsafe { *arguments.cast::<[u32; 6]>() };
    let outcome = catch_unwind(AssertUnwindSafe(|| dispatch(process, number, arguments)))
        .unwrap_or(Outcome::Unwind);
    match outcome {
        Outcome::Return(value) => {
            trap::entered_guest();
            i64::from(value)
        }
        Outcome::Unwind => UNWIND,
    }
}

/// Starts the thread of `process`.
pub(crate) fn start(process: Arc<Process>, entry: Entry) -> Result<(), Errno> {
    trap::install();
    let name = format!("{}/{}", process.name, process.pid.0);
    LIVE.fetch_add(1, Ordering::Relaxed);
    let spawned = std::thread::Builder::new()
        .name(name)
        .stack_size(STACK_SIZE)
        .spawn(move || {
            run(&process, entry);
            drop(process);
            LIVE.fetch_sub(1, Ordering::Relaxed);
        });
    spawned.map(drop).map_err(|error| {
        LIVE.fetch_sub(1, Ordering::Relaxed);
        Errno::from_io(&error)
    })
}

fn run(process: &Arc<Process>, entry: Entry) {
    let shared = process.shared_space();
    let Some(space) = shared.as_any().downcast_ref::<Space>() else {
        process.finish(Some(SIGSEGV));
        return;
    };
    let _altstack = trap::AltStack::new();
    trap::block_host_signals();
    let key = std::ptr::from_ref(space).addr();
    // SAFETY: names the calling thread.
    let thread = unsafe { libc::pthread_self() };
    RUNNING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Running { space: key, thread });
    let context = space.memory().context();
    // SAFETY: the context lies in mapped memory of this space, which no other thread uses.
    unsafe {
        (*context).syscall = Some(serve);
        (*context).task = std::ptr::from_ref(process).cast_mut().cast();
    }
    let current = trap::Current {
        module: space.module(),
        context,
        memory: space.memory(),
    };
    let instance = space.memory().instance();
    trap::set_current(&current);
    // SAFETY: the space was loaded or forked completely, its context is set, and this thread runs no other guest.
    let code = unsafe {
        match entry {
            Entry::Start { argc, argv, envp } => {
                space.module().enter_start(instance, argc, argv.0, envp.0)
            }
            Entry::ForkChild { function, arg } => {
                space.module().enter_fork_child(instance, function, arg)
            }
        }
    };
    trap::clear_current();
    RUNNING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|running| running.space != key);
    let trapped = match code {
        0 | EXITED => None,
        code => {
            let signo = signal_of(code - TRAPPED);
            tracing::warn!(pid = process.pid.0, program = %process.name, trap = code - TRAPPED, signo, "a guest process trapped");
            Some(signo)
        }
    };
    process.finish(trapped);
}

/// What a trap amounts to for a Unix process.
fn signal_of(code: c_int) -> u8 {
    match code {
        TRAP_INT_OVERFLOW..=TRAP_INVALID_CONVERSION => SIGFPE,
        TRAP_UNREACHABLE => SIGILL,
        TRAP_UNCAUGHT_EXCEPTION => SIGABRT,
        code if code >= trap::HOST_SIGNAL => {
            u8::try_from(code - trap::HOST_SIGNAL).unwrap_or(SIGSEGV)
        }
        _ => SIGSEGV,
    }
}

/// Forces a thread out of the guest if it is running there; in the kernel it will leave by itself.
pub(crate) fn interrupt(_pid: Pid, space: &dyn AddressSpace) {
    let Some(space) = space.as_any().downcast_ref::<Space>() else {
        return;
    };
    let key = std::ptr::from_ref(space).addr();
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = running.iter().find(|running| running.space == key) {
        // SAFETY: the thread is in the list, so it has not ended: it removes itself under the lock that is held here.
        unsafe { libc::pthread_kill(running.thread, trap::interrupt_signal()) };
    }
}
