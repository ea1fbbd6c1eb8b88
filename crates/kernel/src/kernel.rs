//! The kernel object: process table, spawning, waiting for the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::abi::{O_RDONLY, O_WRONLY};
use crate::errno::Errno;
use crate::fdtable::FdTable;
use crate::file::{File, OpenFile};
use crate::fs::vfs::Vfs;
use crate::memory::{AddressSpace, AddressSpaceExt, Entry, GuestAddr, Machine};
use crate::net::Net;
use crate::process::mm::{Backing, Mm};
use crate::process::rest::{Gate, Rest};
use crate::process::signal::{SI_USER, SIGKILL, SigInfo, SignalState};
use crate::process::sole::Sole;
use crate::process::{ExitStatus, FsContext, NewProcess, Pid, Process, Zombie};
use crate::syscalls::futex::FutexTable;
use crate::syscalls::shm::ShmTable;
use crate::wait::{HostThread, WaitQueue, WakeSource, lock, wait_until};

/// Most private memory of one process when the options do not say, in bytes.
const DEFAULT_MEMORY_LIMIT: u64 = 3 << 30;
/// Longest argument and environment block in bytes.
const ARGUMENTS_MAX: u32 = 512 << 10;

/// What a kernel is made with.
pub struct KernelOptions {
    /// Runs the guests.
    pub machine: Arc<dyn Machine>,
    /// The file tree.
    pub vfs: Vfs,
    /// Sockets and what is granted to them.
    pub net: Net,
    /// Allows the test-only calls that provoke faults.
    pub test_hooks: bool,
    /// Prints every system call to the host's standard error.
    pub trace: bool,
    /// Most private memory of one process in bytes; `None` is 3 GiB.
    pub memory_limit: Option<u64>,
}

/// A program to start.
pub struct SpawnOptions {
    /// Path of the program in the guest; the machine finds it by its base name.
    pub path: String,
    /// Arguments, the program's name first.
    pub argv: Vec<String>,
    /// Environment, `NAME=value`.
    pub envp: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Standard input, output and error.
    pub stdio: [Arc<dyn File>; 3],
}

/// One line of [`Kernel::processes`].
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    /// Its number.
    pub pid: Pid,
    /// Its parent; 0 is the host.
    pub parent: Pid,
    /// Base name of its program.
    pub name: String,
    /// How it is about to end, once that is decided.
    pub ending: Option<ExitStatus>,
}

#[derive(Default)]
struct Table {
    live: BTreeMap<i32, Arc<Process>>,
    /// Ended processes that the host started and has not waited for.
    ended: HashMap<i32, ExitStatus>,
}

/// What a frozen kernel is made of.
pub(crate) struct FrozenKernel<'a> {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) vfs: Vfs,
    pub(crate) net: Net,
    pub(crate) shm: ShmTable,
    pub(crate) test_hooks: bool,
    pub(crate) trace: bool,
    pub(crate) memory_limit: u64,
    pub(crate) next_pid: i32,
    pub(crate) ahead: Duration,
    pub(crate) note: Vec<u8>,
    pub(crate) sole: &'a Arc<AtomicBool>,
}

/// One world of guest processes. Dropping the last handle after [`Kernel::kill_all`] frees everything.
pub struct Kernel {
    me: Weak<Kernel>,
    machine: Arc<dyn Machine>,
    vfs: Vfs,
    net: Net,
    /// Allows the test-only calls.
    pub test_hooks: bool,
    /// Prints system calls.
    pub trace: bool,
    memory_limit: u64,
    processes: Mutex<Table>,
    next_pid: AtomicI32,
    /// Woken whenever a process has ended.
    ended: WaitQueue,
    futexes: FutexTable,
    shm: ShmTable,
    gate: Arc<Gate>,
    /// One copy at a time.
    copying: Mutex<()>,
    /// When this copy was made, until it begins to run.
    frozen_at: Mutex<Option<Instant>>,
    /// What a copy is told of itself.
    note: Vec<u8>,
    sole: Sole,
    /// How much the guests' monotonic clock is ahead of the host's: more than nothing if they come from a host that had run longer.
    ahead: Duration,
}

impl Kernel {
    /// A kernel without processes.
    #[must_use]
    pub fn new(options: KernelOptions) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            machine: options.machine,
            vfs: options.vfs,
            net: options.net,
            test_hooks: options.test_hooks,
            trace: options.trace,
            memory_limit: options.memory_limit.unwrap_or(DEFAULT_MEMORY_LIMIT),
            processes: Mutex::default(),
            next_pid: AtomicI32::new(1),
            ended: WaitQueue::new(),
            futexes: FutexTable::default(),
            shm: ShmTable::default(),
            gate: Arc::default(),
            copying: Mutex::default(),
            frozen_at: Mutex::default(),
            note: Vec::new(),
            sole: Sole::default(),
            ahead: Duration::ZERO,
        })
    }

    /// A frozen kernel with this one's settings and no process yet.
    pub(crate) fn sibling(
        &self,
        vfs: Vfs,
        net: Net,
        shm: ShmTable,
        note: Vec<u8>,
        sole: &Arc<AtomicBool>,
    ) -> Arc<Self> {
        let (memory_limit, next_pid) = self.limits();
        Self::frozen(FrozenKernel {
            machine: Arc::clone(&self.machine),
            vfs,
            net,
            shm,
            test_hooks: self.test_hooks,
            trace: self.trace,
            memory_limit,
            next_pid,
            ahead: self.ahead,
            note,
            sole,
        })
    }

    /// A kernel that stands still, without processes.
    pub(crate) fn frozen(new: FrozenKernel<'_>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            machine: new.machine,
            vfs: new.vfs,
            net: new.net,
            test_hooks: new.test_hooks,
            trace: new.trace,
            memory_limit: new.memory_limit,
            processes: Mutex::default(),
            next_pid: AtomicI32::new(new.next_pid),
            ended: WaitQueue::new(),
            futexes: FutexTable::default(),
            shm: new.shm,
            gate: Arc::new(Gate::closed()),
            copying: Mutex::default(),
            frozen_at: Mutex::new(Some(Instant::now())),
            note: new.note,
            sole: Sole::of_copy(new.sole),
            ahead: new.ahead,
        })
    }

    /// Most private memory of a process, and the number of the next one.
    pub(crate) fn limits(&self) -> (u64, i32) {
        (self.memory_limit, self.next_pid.load(Ordering::Relaxed))
    }

    /// What the guests' monotonic clock says when the host's says this.
    pub(crate) fn clock(&self, host: Duration) -> Duration {
        host.saturating_add(self.ahead)
    }

    pub(crate) fn sole(&self) -> &Sole {
        &self.sole
    }

    pub(crate) fn note(&self) -> &[u8] {
        &self.note
    }

    pub(crate) fn weak(&self) -> &Weak<Self> {
        &self.me
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(crate) fn copying(&self) -> &Mutex<()> {
        &self.copying
    }

    pub(crate) fn frozen_at(&self) -> &Mutex<Option<Instant>> {
        &self.frozen_at
    }

    /// Takes a process of a copy in.
    pub(crate) fn adopt(&self, process: Arc<Process>) {
        lock(&self.processes).live.insert(process.pid.0, process);
    }

    /// What runs the guests.
    pub fn machine(&self) -> &dyn Machine {
        &*self.machine
    }

    /// The file tree.
    pub fn vfs(&self) -> &Vfs {
        &self.vfs
    }

    /// Sockets.
    pub fn net(&self) -> &Net {
        &self.net
    }

    pub(crate) fn futexes(&self) -> &FutexTable {
        &self.futexes
    }

    pub(crate) fn shm(&self) -> &ShmTable {
        &self.shm
    }

    pub(crate) fn ended(&self) -> &WaitQueue {
        &self.ended
    }

    /// The live process with this number.
    pub fn process(&self, pid: Pid) -> Option<Arc<Process>> {
        lock(&self.processes).live.get(&pid.0).cloned()
    }

    /// All live processes, by number.
    pub fn live(&self) -> Vec<Arc<Process>> {
        lock(&self.processes).live.values().cloned().collect()
    }

    /// What is running.
    pub fn processes(&self) -> Vec<ProcessInfo> {
        self.live()
            .iter()
            .map(|p| ProcessInfo {
                pid: p.pid,
                parent: p.family().parent,
                name: p.name.clone(),
                ending: p.ending(),
            })
            .collect()
    }

    fn new_pid(&self) -> Pid {
        Pid(self.next_pid.fetch_add(1, Ordering::Relaxed))
    }

    /// Starts a program for the host. Blocks only for loading it.
    pub fn spawn(&self, options: SpawnOptions) -> Result<Arc<Process>, Errno> {
        let mut files = FdTable::default();
        for (fd, file) in options.stdio.into_iter().enumerate() {
            let flags = if fd == 0 { O_RDONLY } else { O_WRONLY };
            files.insert(OpenFile::new(file, flags, None), false, 0)?;
        }
        let fs = FsContext {
            cwd: options.cwd,
            umask: 0o022,
        };
        let argv: Vec<Vec<u8>> = options.argv.into_iter().map(String::into_bytes).collect();
        let envp: Vec<Vec<u8>> = options.envp.into_iter().map(String::into_bytes).collect();
        self.start_program(
            &options.path,
            (&argv, &envp),
            files,
            fs,
            SignalState::default(),
            None,
        )
    }

    /// Starts a program in a new process; `parent` is `None` for the host.
    pub(crate) fn start_program(
        &self,
        path: &str,
        (argv, envp): (&[Vec<u8>], &[Vec<u8>]),
        files: FdTable,
        fs: FsContext,
        signals: SignalState,
        parent: Option<&Process>,
    ) -> Result<Arc<Process>, Errno> {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        let space = self.machine.load(&name)?;
        let mut mm = Mm::new(space.heap_base(), self.memory_limit);
        let (argv_at, envp_at) = place_arguments(&mut mm, &*space, argv, envp)?;
        let pid = self.new_pid();
        let (parent_pid, group, session) = match parent {
            None => (Pid(0), pid, pid),
            Some(parent) => {
                let family = parent.family();
                (parent.pid, family.group, family.session)
            }
        };
        let process = Process::create(NewProcess {
            pid,
            name,
            kernel: Weak::clone(&self.me),
            space,
            files,
            fs,
            mm,
            signals,
            parent: parent_pid,
            group,
            session,
            gate: Arc::clone(&self.gate),
            rest: Rest::default(),
        });
        let argc = u32::try_from(argv.len()).map_err(|_| Errno::E2BIG)?;
        self.launch(
            &process,
            Entry::Start {
                argc,
                argv: argv_at,
                envp: envp_at,
            },
        )?;
        Ok(process)
    }

    /// `fork_entry`: a child that is a copy of `parent` and runs `function(arg)`.
    pub(crate) fn fork(&self, parent: &Process, function: u32, arg: u32) -> Result<Pid, Errno> {
        parent.end_sole(self)?;
        let mm = parent.mm().clone();
        let space = self.machine.fork(parent.space(), &mm.private_ranges())?;
        for (at, len, segment, offset) in mm.shared() {
            space.map_segment(at, len, segment, offset)?;
        }
        let (group, session) = {
            let family = parent.family();
            (family.group, family.session)
        };
        let files = lock(&parent.files).clone();
        let child = Process::create(NewProcess {
            pid: self.new_pid(),
            name: parent.name.clone(),
            kernel: Weak::clone(&self.me),
            space,
            files,
            fs: lock(&parent.fs).clone(),
            mm,
            signals: parent.signals().fork(),
            parent: parent.pid,
            group,
            session,
            gate: Arc::clone(&self.gate),
            rest: Rest::default(),
        });
        self.launch(&child, Entry::ForkChild { function, arg })?;
        Ok(child.pid)
    }

    /// A child of `parent` that has ended already.
    pub(crate) fn ended_child(&self, parent: &Process, code: u8) -> Pid {
        let pid = self.new_pid();
        let group = parent.family().group;
        let zombie = Zombie {
            pid,
            group,
            status: ExitStatus::Exited(code),
        };
        parent.add_zombie(zombie);
        parent.child_ended(zombie);
        pid
    }

    fn launch(&self, process: &Arc<Process>, entry: Entry) -> Result<(), Errno> {
        lock(&self.processes)
            .live
            .insert(process.pid.0, Arc::clone(process));
        if let Err(error) = self.machine.start(Arc::clone(process), entry) {
            lock(&self.processes).live.remove(&process.pid.0);
            return Err(error);
        }
        Ok(())
    }

    /// Makes a zombie of an ended process, in one step for those who look at the table; its children become the host's. The parent that is to be told.
    pub(crate) fn retire(
        &self,
        process: &Process,
        status: ExitStatus,
    ) -> Option<(Arc<Process>, Zombie)> {
        let mut table = lock(&self.processes);
        table.live.remove(&process.pid.0);
        let (parent, group) = {
            let family = process.family();
            (family.parent, family.group)
        };
        if parent == Pid(0) {
            table.ended.insert(process.pid.0, status);
        }
        for orphan in table.live.values() {
            let mut family = orphan.family();
            if family.parent == process.pid {
                family.parent = Pid(0);
            }
        }
        let parent = table.live.get(&parent.0)?;
        let zombie = Zombie {
            pid: process.pid,
            group,
            status,
        };
        parent.add_zombie(zombie);
        Some((Arc::clone(parent), zombie))
    }

    /// Waits for a process that the host started; its status is handed out once. `ECHILD` if there is none, `ETIMEDOUT` at the deadline.
    pub fn wait_exit(&self, pid: Pid, deadline: Option<Instant>) -> Result<ExitStatus, Errno> {
        wait_until(
            &HostThread::default(),
            &[WakeSource::Queue(&self.ended)],
            deadline,
            || {
                let mut table = lock(&self.processes);
                if let Some(status) = table.ended.remove(&pid.0) {
                    return Ok(Some(status));
                }
                if table.live.contains_key(&pid.0) {
                    Ok(None)
                } else {
                    Err(Errno::ECHILD)
                }
            },
        )
    }

    /// Waits until there is no such process, at most until the deadline; whether it is gone.
    pub fn wait_gone(&self, pid: Pid, deadline: Instant) -> bool {
        let gone = wait_until(
            &HostThread::default(),
            &[WakeSource::Queue(&self.ended)],
            Some(deadline),
            || Ok(self.process(pid).is_none().then_some(())),
        );
        gone.is_ok()
    }

    /// Sends a signal from the host; `ESRCH` without such a process.
    pub fn kill(&self, pid: Pid, signo: u8) -> Result<(), Errno> {
        let process = self.process(pid).ok_or(Errno::ESRCH)?;
        if signo != 0 {
            process.post(SigInfo {
                signo,
                code: SI_USER,
                pid: 0,
                uid: 0,
                status: 0,
            });
        }
        Ok(())
    }

    /// Ends every process as `SIGKILL` does and waits until their threads have left the guest; false if some have not by the deadline.
    /// Processes forked meanwhile are ended, too.
    pub fn kill_all(&self, deadline: Instant) -> bool {
        self.sole.close();
        // Those at rest are not to see the others go: they would only get threads, and their memory, for the last moment.
        for process in self.live() {
            process.stop();
        }
        let thread = HostThread::default();
        loop {
            let live = self.live();
            if live.is_empty() {
                return true;
            }
            for process in &live {
                process.terminate(ExitStatus::Signaled(SIGKILL));
                if process.ending().is_some() {
                    self.machine.interrupt(process);
                }
            }
            let until = deadline.min(Instant::now() + Duration::from_millis(20));
            let count = live.len();
            let gone = wait_until(
                &thread,
                &[WakeSource::Queue(&self.ended)],
                Some(until),
                || {
                    let now = lock(&self.processes).live.len();
                    Ok((now != count || now == 0).then_some(()))
                },
            );
            if gone.is_err() && Instant::now() >= deadline {
                return false;
            }
        }
    }
}

/// Writes the argument block into a mapping of its own and returns the addresses of both vectors.
fn place_arguments(
    mm: &mut Mm,
    space: &dyn AddressSpace,
    argv: &[Vec<u8>],
    envp: &[Vec<u8>],
) -> Result<(GuestAddr, GuestAddr), Errno> {
    let strings: usize = argv.iter().chain(envp).map(|s| s.len() + 1).sum();
    let vectors = (argv.len() + envp.len() + 2) * 4;
    let total = u32::try_from(strings + vectors)
        .ok()
        .filter(|&n| n <= ARGUMENTS_MAX)
        .ok_or(Errno::E2BIG)?;
    let base = mm.map(GuestAddr::NULL, total, Backing::Private, false, space)?;
    let mut slot = base;
    let mut text = base.offset(u32::try_from(vectors).map_err(|_| Errno::E2BIG)?)?;
    let mut write_vector = |items: &[Vec<u8>]| -> Result<GuestAddr, Errno> {
        let start = slot;
        for item in items {
            space.write_u32(slot, text.0)?;
            space.write(text, item)?;
            space.write(
                text.offset(u32::try_from(item.len()).map_err(|_| Errno::E2BIG)?)?,
                &[0],
            )?;
            text = text.offset(u32::try_from(item.len() + 1).map_err(|_| Errno::E2BIG)?)?;
            slot = slot.offset(4)?;
        }
        space.write_u32(slot, 0)?;
        slot = slot.offset(4)?;
        Ok(start)
    };
    Ok((write_vector(argv)?, write_vector(envp)?))
}
