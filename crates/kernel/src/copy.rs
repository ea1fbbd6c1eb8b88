//! Copies of whole kernels: every process, file, stream and segment as they are at one instant, sharing memory until either side writes.
//!
//! The original's processes are stopped at a system call for the length of the copy (`process::rest`); nothing has to be at rest by itself.
//! A copy begins frozen. It can be kept as it is, to be copied again, or be let go on ([`Kernel::go_on`]).
//!
//! What the copy does not have is the outside: connections of the host end as if the peer had closed them, but for those that the caller keeps; granted listeners
//! are gone; files of the host and devices are shared.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::errno::Errno;
use crate::fdtable::FdTable;
use crate::file::{File, OpenFile};
use crate::kernel::Kernel;
use crate::memory::Segment;
use crate::net::HostStream;
use crate::net::copy::Streams;
use crate::net::socket::Socket;
use crate::process::rest::{Gate, Idle, Rest};
use crate::process::{NewProcess, Pid, Process};
use crate::wait::{HostThread, WakeSource, lock, wait_until};

/// How long processes may take to come to a system call.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether processes have come to rest ([`CopyOptions::patience`]).
const SETTLE_PERIOD: Duration = Duration::from_micros(500);
/// How often a process that computes is called.
const CALL_PERIOD: Duration = Duration::from_millis(1);

/// What a copy has that the original has not.
#[derive(Default)]
pub struct CopyOptions<'a> {
    /// Files of the original (standard output) and what the copy has in their place.
    pub replace: Vec<(Arc<dyn File>, Arc<dyn File>)>,
    /// The host's ends of connections that go on in the copy.
    pub keep: Vec<&'a HostStream>,
    /// How long after the copy the processes that only wait sleep at least: as if they had begun to later. A copy of which one process is used needs
    /// the others' memory only then.
    pub grace: Duration,
    /// How long the copy is put off at most while processes are between two waits. One that stopped there runs at once in every copy, and what the processes share
    /// must be copied for it; most are on their way to wait again.
    pub patience: Duration,
    /// What the copy's processes are told when they ask (`copy_note`).
    pub note: Vec<u8>,
}

/// A copied kernel, frozen, and its ends of the connections that were kept, in order.
pub struct KernelCopy {
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// The connections.
    pub streams: Vec<HostStream>,
    /// Processes with a connection that ends in the copy: they will have something to do as soon as it goes on.
    pub orphans: Vec<Pid>,
}

/// What was copied already, so that what was shared stays shared.
pub struct Copier {
    files: HashMap<usize, Arc<dyn File>>,
    opens: HashMap<usize, Arc<OpenFile>>,
    segments: HashMap<u64, Arc<dyn Segment>>,
    /// By address of what it is the copy of; its owner knows the type.
    others: HashMap<usize, Box<dyn Any>>,
    pub(crate) streams: Streams,
    /// Added to every time of the original.
    shift: Duration,
    of_frozen: bool,
    grace: Duration,
    /// True while at most one process of the copy runs.
    sole: Arc<AtomicBool>,
}

fn address<T: ?Sized>(of: &Arc<T>) -> usize {
    Arc::as_ptr(of).cast::<()>().addr()
}

impl Copier {
    /// True if the original is a copy that has not begun to run, and so never changes.
    pub(crate) fn is_of_frozen(&self) -> bool {
        self.of_frozen
    }

    /// The copy of a file.
    pub fn file(&mut self, file: &Arc<dyn File>) -> Result<Arc<dyn File>, Errno> {
        if let Some(copy) = self.files.get(&address(file)) {
            return Ok(Arc::clone(copy));
        }
        let copy = file.copy(file, self)?;
        self.files.insert(address(file), Arc::clone(&copy));
        Ok(copy)
    }

    /// The copy of an open file description.
    pub fn open(&mut self, open: &Arc<OpenFile>) -> Result<Arc<OpenFile>, Errno> {
        if let Some(copy) = self.opens.get(&address(open)) {
            return Ok(Arc::clone(copy));
        }
        let copy = OpenFile::new(self.file(&open.file)?, open.flags(), open.path.clone());
        *lock(&copy.position) = *lock(&open.position);
        lock(&copy.listing).clone_from(&lock(&open.listing));
        self.opens.insert(address(open), Arc::clone(&copy));
        Ok(copy)
    }

    /// The copy of a segment.
    pub fn segment(&mut self, segment: &Arc<dyn Segment>) -> Result<Arc<dyn Segment>, Errno> {
        if let Some(copy) = self.segments.get(&segment.id()) {
            return Ok(Arc::clone(copy));
        }
        let copy = segment.duplicate(&self.sole)?;
        self.segments.insert(segment.id(), Arc::clone(&copy));
        Ok(copy)
    }

    /// Keeps the copy of what is at this address.
    pub(crate) fn keep<T: Any>(&mut self, of: usize, copy: T) {
        self.others.insert(of, Box::new(copy));
    }

    /// The copy of what is at this address, if it was made.
    pub(crate) fn kept<T: Any>(&mut self, of: usize) -> Option<&mut T> {
        self.others.get_mut(&of)?.downcast_mut()
    }

    fn time(&self, at: Option<Instant>) -> Option<Instant> {
        at.and_then(|at| at.checked_add(self.shift))
    }

    fn descriptors(&mut self, table: &FdTable) -> Result<FdTable, Errno> {
        table.map(|open| self.open(open))
    }

    fn idle(&mut self, idle: &Idle) -> Result<Idle, Errno> {
        let mut watches = Vec::with_capacity(idle.watches.len());
        for (open, interest) in &idle.watches {
            watches.push((self.open(open)?, *interest));
        }
        Ok(Idle {
            watches,
            deadline: self
                .time(idle.deadline)
                .map(|at| at.max(Instant::now() + self.grace)),
        })
    }

    fn is_orphan(&self, process: &Process) -> bool {
        let files = lock(&process.files);
        files.numbers().any(|fd| {
            files.get(fd).is_ok_and(|open| {
                open.file
                    .as_any()
                    .downcast_ref::<Socket>()
                    .is_some_and(|socket| socket.is_orphan(&self.streams))
            })
        })
    }

    fn process(
        &mut self,
        process: &Process,
        into: &Weak<Kernel>,
        gate: &Arc<Gate>,
    ) -> Result<Arc<Process>, Errno> {
        let mut mm = process.mm().clone();
        mm.replace_segments(|segment| self.segment(segment))?;
        let shared: Vec<_> = mm
            .shared()
            .map(|(at, len, segment, offset)| (at, len, Arc::clone(segment), offset))
            .collect();
        let space = process.space().duplicate(&mm.private_ranges(), &shared)?;
        let files = self.descriptors(&lock(&process.files).clone())?;
        let idle = process.rest().idle.clone();
        let idle = idle.map(|idle| self.idle(&idle)).transpose()?;
        let family = process.family().clone();
        let copy = Process::create(NewProcess {
            pid: process.pid,
            name: process.name.clone(),
            kernel: Weak::clone(into),
            space,
            files,
            fs: lock(&process.fs).clone(),
            mm,
            signals: process.signals().copy(),
            parent: family.parent,
            group: family.group,
            session: family.session,
            gate: Arc::clone(gate),
            rest: Rest::frozen(idle),
        });
        copy.family().zombies = family.zombies;
        copy.itimer.copy_from(&process.itimer, self.shift);
        copy.set_prompt(process.is_prompt());
        *copy.restart() = self.time(*process.restart());
        Ok(copy)
    }
}

/// Lets the original go on, however the copy ends.
struct Stopped<'a>(&'a Kernel);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.gate().open();
        self.0.resume_all();
    }
}

impl Kernel {
    /// A copy of this kernel and everything in it, frozen. Blocks until every process has come to a system call (a computing one within a millisecond
    /// or two), then for the copy; meanwhile the guests stand still.
    ///
    /// # Errors
    /// `ETIMEDOUT` if a process does not stop within 10 seconds, `ENOMEM` without memory. The original goes on in any case.
    pub fn duplicate(&self, options: &CopyOptions<'_>) -> Result<KernelCopy, Errno> {
        let until = Instant::now() + options.patience;
        loop {
            let copy = self.while_stopped(|| {
                let later = self.has_restless() && Instant::now() < until;
                (!later).then(|| self.copy_stopped(options))
            })?;
            match copy {
                Some(copy) => return copy,
                None => std::thread::sleep(SETTLE_PERIOD),
            }
        }
    }

    /// True if a copy would be busy from its first moment, and the original may soon be less so.
    fn has_restless(&self) -> bool {
        lock(self.frozen_at()).is_none() && self.live().iter().any(|process| process.is_restless())
    }

    /// The copy, while all guests stand still.
    fn copy_stopped(&self, options: &CopyOptions<'_>) -> Result<KernelCopy, Errno> {
        let mut copier = Copier {
            files: options
                .replace
                .iter()
                .map(|(original, copy)| (address(original), Arc::clone(copy)))
                .collect(),
            opens: HashMap::new(),
            segments: HashMap::new(),
            others: HashMap::new(),
            streams: Streams::default(),
            shift: self.frozen_for(),
            of_frozen: lock(self.frozen_at()).is_some(),
            grace: options.grace,
            sole: Arc::new(AtomicBool::new(true)),
        };
        let vfs = self.vfs().copy(&mut copier)?;
        let net = self.net().copy(&mut copier);
        let mut streams = Vec::with_capacity(options.keep.len());
        for stream in &options.keep {
            streams.push(stream.copy(&mut copier));
        }
        let live = self.live();
        let kernel = self.sibling(
            vfs,
            net,
            self.shm().copy(&mut copier)?,
            options.note.clone(),
            &copier.sole,
        );
        for process in &live {
            let copy = copier.process(process, kernel.weak(), kernel.gate())?;
            kernel.adopt(copy);
        }
        let orphans = live
            .iter()
            .filter(|process| copier.is_orphan(process))
            .map(|process| process.pid)
            .collect();
        copier.streams.close_lost_ends();
        Ok(KernelCopy {
            kernel,
            streams,
            orphans,
        })
    }

    /// Runs `look` while all guests stand still. Blocks until they do, as [`Self::duplicate`].
    ///
    /// # Errors
    /// `ETIMEDOUT` if a process does not stop within 10 seconds.
    pub fn while_stopped<T>(&self, look: impl FnOnce() -> T) -> Result<T, Errno> {
        let _one = lock(self.copying());
        self.gate().close();
        let _stopped = Stopped(self);
        self.wait_stopped()?;
        Ok(look())
    }

    fn wait_stopped(&self) -> Result<(), Errno> {
        let deadline = Instant::now() + STOP_PATIENCE;
        let thread = HostThread::default();
        loop {
            let running: Vec<_> = self
                .live()
                .into_iter()
                .filter(|process| !process.stop())
                .collect();
            if running.is_empty() && !self.gate().has_ending() {
                return Ok(());
            }
            for process in &running {
                process.call();
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Errno::ETIMEDOUT);
            }
            let sources = [
                WakeSource::Queue(&self.gate().stopped),
                WakeSource::Queue(self.ended()),
            ];
            let _ = wait_until(&thread, &sources, Some(now + CALL_PERIOD), || {
                let stopped = running
                    .iter()
                    .all(|process| process.finished() || process.is_stopped());
                Ok((stopped && !self.gate().has_ending()).then_some(()))
            });
        }
    }

    /// Lets a copy begin to run, or one that was frozen.
    pub fn go_on(&self) {
        if lock(self.frozen_at()).take().is_some() {
            self.gate().open();
            for process in self.live() {
                process.itimer.arm(&process);
            }
        }
        self.resume_all();
    }

    fn resume_all(&self) {
        if self.gate().is_closed() {
            return;
        }
        for process in self.live() {
            process.go_on();
        }
    }

    /// How long ago this copy was made, if it has not begun to run: its times are from then.
    fn frozen_for(&self) -> Duration {
        lock(self.frozen_at()).map_or(Duration::ZERO, |at| at.elapsed())
    }
}
