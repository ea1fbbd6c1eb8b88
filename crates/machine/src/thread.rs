//! Threads that carry guests: each guest has a native stack of its own, in its space, and any thread can continue it.

use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pglite_oxide_kernel::memory::{AddressSpace, Entry};
use pglite_oxide_kernel::process::signal::{SIGABRT, SIGFPE, SIGILL, SIGKILL, SIGSEGV};
use pglite_oxide_kernel::syscalls::{Outcome, dispatch};
use pglite_oxide_kernel::{Errno, ExitStatus, Pid, Process};

use crate::module::{EXITED, PARK, PARKED, TRAPPED, UNWIND};
use crate::space::{Memory, Space};
use crate::trap;

/// Bytes of a carrying thread's own stack: guests and the kernel run on the guests' stacks.
const CARRIER_STACK: usize = 256 << 10;
/// How long a thread without work stays.
const LINGER: Duration = Duration::from_millis(100);

/// Threads that run a guest now.
pub(crate) static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Who runs where, for [`interrupt`]. A thread takes itself out before it ends, under the lock, so a number in the list is always a live thread.
static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

struct Running {
    /// Address of the space: unique among live processes of all kernels.
    space: usize,
    thread: libc::pthread_t,
}

/// Work for carriers, and how many wait for some.
struct Pool {
    jobs: VecDeque<(Arc<Process>, Entry)>,
    idle: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    jobs: VecDeque::new(),
    idle: 0,
});
static WORK: Condvar = Condvar::new();

// wasm_rt_trap_t of wabt's runtime
const TRAP_INT_OVERFLOW: c_int = 2;
const TRAP_INVALID_CONVERSION: c_int = 4;
const TRAP_UNREACHABLE: c_int = 5;
const TRAP_UNCAUGHT_EXCEPTION: c_int = 8;

/// Serves a system call of compiled code.
extern "C" fn serve(task: *mut c_void, number: u32, arguments: *const u32) -> i64 {
    trap::left_guest();
    // SAFETY: `task` is the process that `carry` set in the context and keeps alive until the guest is left.
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
        Outcome::Park => PARK,
        Outcome::Unwind => UNWIND,
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a thread run `process`: one that waits for work, or a new one.
pub(crate) fn start(process: Arc<Process>, entry: Entry) -> Result<(), Errno> {
    trap::install();
    let mut pool = pool();
    pool.jobs.push_back((process, entry));
    if pool.jobs.len() <= pool.idle {
        WORK.notify_one();
        return Ok(());
    }
    drop(pool);
    let spawned = std::thread::Builder::new()
        .name("pg:carrier".to_owned())
        .stack_size(CARRIER_STACK)
        .spawn(work);
    spawned.map(drop).map_err(|error| Errno::from_io(&error))
}

/// A carrier's life.
fn work() {
    let _altstack = trap::AltStack::new();
    trap::block_host_signals();
    let mut pool = pool();
    loop {
        if let Some((process, entry)) = pool.jobs.pop_front() {
            drop(pool);
            run(&process, entry);
            drop(process);
            pool = self::pool();
            continue;
        }
        pool.idle += 1;
        let (guard, waited) = WORK
            .wait_timeout(pool, LINGER)
            .unwrap_or_else(PoisonError::into_inner);
        pool = guard;
        pool.idle -= 1;
        if waited.timed_out() && pool.jobs.is_empty() {
            return;
        }
    }
}

/// Resumes a dormant process on the calling thread, which is the host's.
pub(crate) fn carry_here(process: &Arc<Process>) {
    trap::install();
    trap::ensure_alt_stack();
    run(process, Entry::Resume);
}

fn run(process: &Arc<Process>, entry: Entry) {
    if matches!(entry, Entry::Resume) {
        match process.unpark() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::error!(
                    pid = process.pid.0,
                    ?error,
                    "a process cannot be resumed; it is killed"
                );
                process.terminate(ExitStatus::Signaled(SIGKILL));
                return;
            }
        }
    }
    let shared = process.shared_space();
    let space = shared.as_any().downcast_ref::<Space>();
    let Some((space, memory)) = space.and_then(|space| Some((space, space.memory().ok()?))) else {
        // There is no memory for it.
        process.finish(Some(SIGKILL));
        return;
    };
    // SAFETY: the instance is complete and does not run yet; its native stack ends where it begins.
    unsafe {
        let (instance, stack_base) = (memory.instance(), memory.instance());
        match entry {
            Entry::Start { argc, argv, envp } => {
                space
                    .module()
                    .prepare_start(instance, stack_base, [argc, argv.0, envp.0]);
            }
            Entry::ForkChild { function, arg } => {
                space
                    .module()
                    .prepare_fork_child(instance, stack_base, [function, arg]);
            }
            Entry::Resume => {}
        }
    }
    LIVE.fetch_add(1, Ordering::Relaxed);
    loop {
        let code = carry(process, space, memory);
        let trapped = match code {
            PARKED if process.parked() => continue,
            PARKED => break,
            0 | EXITED => None,
            code => {
                let signo = signal_of(code - TRAPPED);
                tracing::warn!(pid = process.pid.0, program = %process.name, trap = code - TRAPPED, signo, "a guest process trapped");
                Some(signo)
            }
        };
        process.finish(trapped);
        break;
    }
    LIVE.fetch_sub(1, Ordering::Relaxed);
}

/// Runs the guest on this thread until it leaves it; why.
fn carry(process: &Arc<Process>, space: &Space, memory: &Memory) -> c_int {
    let key = std::ptr::from_ref(space).addr();
    // SAFETY: names the calling thread.
    let thread = unsafe { libc::pthread_self() };
    let running = || RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running().push(Running { space: key, thread });
    space.runs();
    let context = memory.context();
    // SAFETY: the context lies in mapped memory of this space, which no other thread uses.
    unsafe {
        (*context).syscall = Some(serve);
        (*context).task = std::ptr::from_ref(process).cast_mut().cast();
    }
    let current = trap::Current {
        module: space.module(),
        context,
        memory,
    };
    let outer = trap::set_current(&current);
    // SAFETY: the guest is prepared or parked, its context is set, and this thread runs no other one.
    let code = unsafe { space.module().resume(context) };
    trap::restore_current(outer);
    running().retain(|running| running.space != key);
    code
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
