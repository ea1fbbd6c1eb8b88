//! Reading an image.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::blobs::{Blobs, ImageBytes};
use super::pieces::{PieceReader, PiecesRecord};
use super::record::{
    EndRecord, FileRecord, Fs, Head, IdleRecord, KernelRecord, Kind, MountRecord, ObjectRecord,
    ProcessRecord, RoleRecord,
};
use super::{ALIGNMENT, LoadError, LoadOptions, Loaded, Scope};
use crate::fdtable::FdTable;
use crate::file::{DirEntry, File, FileKind, OpenFile, Ready};
use crate::fs::FileSystem;
use crate::fs::dev::DevFs;
use crate::fs::mem::MemFs;
use crate::fs::shm::{Object, ShmFs};
use crate::fs::vfs::Vfs;
use crate::kernel::{FrozenKernel, Kernel};
use crate::memory::Segment;
use crate::net::copy::Streams;
use crate::net::event::{Epoll, EventFd, SignalFd};
use crate::net::stream::{Duplex, StreamEnd};
use crate::net::{HostStream, Listener, Net};
use crate::process::mm::Mm;
use crate::process::rest::{Idle, Rest};
use crate::process::signal::{SigSet, SignalState};
use crate::process::{ExitStatus, FsContext, NewProcess, Pid, Process, Zombie};
use crate::syscalls::shm::ShmTable;
use crate::syscalls::time;

/// What is in the way of nearly all that can be wrong: a number that names nothing.
const NOTHING: LoadError = LoadError::Damaged("it refers to what is not there");

/// The kind of file with this number.
pub(crate) fn file_kind(number: u32) -> Result<FileKind, LoadError> {
    [
        FileKind::Fifo,
        FileKind::CharDevice,
        FileKind::Directory,
        FileKind::Regular,
        FileKind::Symlink,
        FileKind::Socket,
    ]
    .into_iter()
    .find(|&kind| kind as u32 == number)
    .ok_or(LoadError::Damaged("there is no such kind of file"))
}

/// What has been made already.
pub(crate) struct Loader<'a> {
    options: &'a LoadOptions<'a>,
    scope: Scope,
    blobs: Blobs,
    /// The instant that times are told from.
    now: Instant,
    /// Those in memory, by the places of their mounts.
    mems: Vec<Option<Arc<MemFs>>>,
    device: Option<DevFs>,
    segments: Vec<Arc<dyn Segment>>,
    shm_objects: Vec<Arc<Object>>,
    duplexes: Vec<(Arc<Duplex>, [bool; 2])>,
    listeners: Vec<Arc<Listener>>,
    /// Also keeps what only an epoll watches until whoever has it open is made.
    objects: Vec<Made>,
}

enum Made {
    File(Arc<dyn File>),
    Open(Arc<OpenFile>),
}

fn get<T>(list: &[T], number: u32) -> Result<&T, LoadError> {
    list.get(number as usize).ok_or(NOTHING)
}

impl Loader<'_> {
    /// Contents of files.
    pub(crate) fn pieces(&self, record: PiecesRecord) -> Result<PieceReader, LoadError> {
        PieceReader::new(record, &self.blobs)
    }

    /// A time of this process.
    pub(crate) fn time(&self, nanoseconds: i64) -> Instant {
        let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
        let at = if nanoseconds < 0 {
            self.now.checked_sub(distance)
        } else {
            self.now.checked_add(distance)
        };
        at.unwrap_or(self.now)
    }

    fn file(&self, number: u32) -> Result<&Arc<dyn File>, LoadError> {
        match get(&self.objects, number)? {
            Made::File(file) => Ok(file),
            Made::Open(_) => Err(NOTHING),
        }
    }

    fn open(&self, number: u32) -> Result<&Arc<OpenFile>, LoadError> {
        match get(&self.objects, number)? {
            Made::Open(open) => Ok(open),
            Made::File(_) => Err(NOTHING),
        }
    }

    /// A segment.
    pub(crate) fn segment(&self, number: u32) -> Result<Arc<dyn Segment>, LoadError> {
        get(&self.segments, number).cloned()
    }

    fn mem(&self, mount: u32) -> Result<&Arc<MemFs>, LoadError> {
        get(&self.mems, mount)?.as_ref().ok_or(NOTHING)
    }

    /// An end of a connection; each is made once.
    fn end(&mut self, record: EndRecord) -> Result<StreamEnd, LoadError> {
        let side = usize::from(record.side != 0);
        let (duplex, made) = self
            .duplexes
            .get_mut(record.duplex as usize)
            .ok_or(NOTHING)?;
        if std::mem::replace(&mut made[side], true) {
            return Err(LoadError::Damaged("an end of a connection is there twice"));
        }
        Ok(StreamEnd::of_duplex(duplex, side, record.peer_pid))
    }

    fn mount(&mut self, record: MountRecord, vfs: &mut Vfs) -> Result<(), LoadError> {
        let mut mem = None;
        let fs: Arc<dyn FileSystem> = match record.fs.0 {
            Fs::Given(name) => {
                let given = self.options.trees.iter().find(|(known, _)| *known == name);
                match given {
                    Some((_, tree)) => Arc::clone(tree),
                    None => return Err(LoadError::Missing(format!("the tree {name}"))),
                }
            }
            Fs::Mem(tree) => {
                let bases = self.options.bases;
                let base = bases.iter().find(|(at, _)| *at == record.at);
                let base = match (tree.based, base) {
                    (false, _) => None,
                    (true, Some((_, base))) => Some(*base),
                    (true, None) => {
                        return Err(LoadError::Missing(format!("the base of {}", record.at)));
                    }
                };
                let files = Arc::new(MemFs::load(tree, base, self)?);
                mem = Some(Arc::clone(&files));
                files
            }
            Fs::Shm(names) => Arc::new(ShmFs::load(
                Arc::clone(&self.options.machine),
                &names,
                &self.shm_objects,
            )?),
            Fs::Dev => {
                self.device = Some(DevFs::new());
                Arc::new(DevFs::new())
            }
        };
        self.mems.push(mem);
        vfs.add(&record.at, fs);
        Ok(())
    }

    fn kind(&mut self, record: FileRecord) -> Result<Arc<dyn File>, LoadError> {
        Ok(match record.0 {
            Kind::Given(number) => match self.options.files.get(number as usize) {
                Some(file) => Arc::clone(file),
                None => return Err(LoadError::Missing(format!("file {number}"))),
            },
            Kind::MemFile { mount, number } => {
                self.mem(mount)?.file_by_number(number).ok_or(NOTHING)?
            }
            Kind::MemNameless { mount, node, data } => {
                let data = self.pieces(data)?;
                self.mem(mount)?.nameless(*node, data)?
            }
            Kind::MemDirectory { mount, number } => self
                .mem(mount)?
                .directory_by_number(number)
                .ok_or(NOTHING)?,
            Kind::Shm(number) => Arc::clone(get(&self.shm_objects, number)?) as Arc<dyn File>,
            Kind::EventFd { count, semaphore } => Arc::new(EventFd::new(count, semaphore)),
            Kind::SignalFd(mask) => Arc::new(SignalFd::new(SigSet(mask))),
            Kind::Epoll(watches) => {
                let epoll = Epoll::default();
                for (fd, open, events, data) in watches {
                    epoll.add(fd, self.open(open)?, events, data)?;
                }
                Arc::new(epoll)
            }
            Kind::Stream(end) => Arc::new(self.end(end)?),
            Kind::Socket {
                family,
                bound,
                role,
            } => {
                let role = match role {
                    RoleRecord::None => None,
                    RoleRecord::Listener(number) => Some(crate::net::socket::Role::Listener(
                        Arc::clone(get(&self.listeners, number)?),
                    )),
                    RoleRecord::Stream(end) => {
                        Some(crate::net::socket::Role::Stream(self.end(end)?))
                    }
                };
                crate::net::image::socket(family, bound, role)
            }
            Kind::Device(inode) => self
                .device
                .as_ref()
                .and_then(|device| device.by_inode(inode))
                .ok_or(NOTHING)?,
        })
    }

    fn object(&mut self, record: ObjectRecord) -> Result<(), LoadError> {
        let made = match record {
            ObjectRecord::File(file) => Made::File(self.kind(file)?),
            ObjectRecord::Open {
                file,
                flags,
                position,
                path,
                listing,
            } => {
                let open = OpenFile::new(Arc::clone(self.file(file)?), flags, path);
                *crate::wait::lock(&open.position) = position;
                if let Some(entries) = listing {
                    let mut list = Vec::with_capacity(entries.len());
                    for (name, inode, kind) in entries {
                        let kind = file_kind(kind)?;
                        list.push(DirEntry { name, inode, kind });
                    }
                    *crate::wait::lock(&open.listing) = Some(Arc::new(list));
                }
                Made::Open(open)
            }
        };
        self.objects.push(made);
        Ok(())
    }

    fn idle(&self, record: &IdleRecord) -> Result<Idle, LoadError> {
        let mut watches = Vec::with_capacity(record.watches.len());
        for &(open, interest) in &record.watches {
            watches.push((
                Arc::clone(self.open(open)?),
                Ready::from_bits_retain(interest),
            ));
        }
        Ok(Idle {
            watches,
            deadline: record.deadline.map(|at| self.time(at)),
        })
    }

    fn process(&self, record: ProcessRecord, kernel: &Kernel) -> Result<Arc<Process>, LoadError> {
        let mm = Mm::load(&record.mm, self)?;
        let shared: Vec<_> = mm
            .shared()
            .map(|(at, len, segment, offset)| (at, len, Arc::clone(segment), offset))
            .collect();
        let space =
            self.options
                .machine
                .load_space(&record.space, self.scope, &self.blobs, &shared)?;
        let mut files = FdTable::default();
        for (fd, open, close_on_exec) in record.descriptors {
            files.replace(fd, Arc::clone(self.open(open)?), close_on_exec)?;
        }
        let idle = record.idle.map(|idle| self.idle(&idle)).transpose()?;
        let process = Process::create(NewProcess {
            pid: Pid(record.pid),
            name: record.name,
            kernel: kernel.weak().clone(),
            space,
            files,
            fs: FsContext {
                cwd: record.cwd,
                umask: record.umask,
            },
            mm,
            signals: SignalState::load(&record.signals)?,
            parent: Pid(record.parent),
            group: Pid(record.group),
            session: Pid(record.session),
            gate: Arc::clone(kernel.gate()),
            rest: Rest::frozen(idle),
        });
        for (pid, group, status) in record.zombies {
            process.family().zombies.push_back(Zombie {
                pid: Pid(pid),
                group: Pid(group),
                status: ExitStatus::decode(status)
                    .ok_or(LoadError::Damaged("a process has ended in no known way"))?,
            });
        }
        process.itimer.load(record.alarm, self);
        process.set_prompt(record.prompt);
        *process.restart() = record.restart.map(|at| self.time(at));
        Ok(process)
    }
}

fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, LoadError> {
    postcard::from_bytes(bytes).map_err(|_| LoadError::Damaged("its records cannot be read"))
}

/// The parts of an image.
pub(super) fn parts(image: &ImageBytes) -> Result<(KernelRecord, Blobs), LoadError> {
    const SHORT: LoadError = LoadError::Damaged("it ends too early");
    let len = image
        .part(0..4)?
        .look(|bytes| bytes.try_into().map(u32::from_le_bytes))?;
    let after = 4 + u64::from(len.map_err(|_| SHORT)?);
    let head: Head = image.part(4..after)?.look(|bytes| decode(bytes))??;
    let first = Blobs::new(&[head.record], &image.tail(after)?)?;
    let after = after
        .checked_add(head.record.packed)
        .and_then(|after| after.checked_next_multiple_of(ALIGNMENT as u64))
        .ok_or(SHORT)?;
    let blobs = Blobs::new(&head.blobs, &image.tail(after)?)?;
    let record = decode(&first.get(0)?.unpack()?)?;
    Ok((record, blobs))
}

pub(super) fn kernel(image: &ImageBytes, options: &LoadOptions<'_>) -> Result<Loaded, LoadError> {
    let (record, blobs) = parts(image)?;
    let identity = options
        .machine
        .identity(record.scope)
        .map_err(|_| LoadError::Foreign("this program cannot say what it is"))?;
    if identity != record.machine {
        return Err(LoadError::Foreign("its program is another one"));
    }
    let sole = Arc::new(AtomicBool::new(true));
    let mut segments = Vec::with_capacity(record.segments.len());
    for segment in &record.segments {
        segments.push(options.machine.load_segment(segment, &blobs, &sole)?);
    }
    let shm_objects = record
        .shm_objects
        .iter()
        .map(|object| Object::load(object, &segments))
        .collect::<Result<_, _>>()?;
    let duplexes = record
        .duplexes
        .into_iter()
        .map(|duplex| Ok((Duplex::load(duplex)?, [false; 2])))
        .collect::<Result<_, LoadError>>()?;
    if record.listeners as usize > record.objects.len() + record.local.len() {
        return Err(NOTHING);
    }
    let mut loader = Loader {
        options,
        scope: record.scope,
        blobs,
        now: Instant::now(),
        mems: Vec::new(),
        device: None,
        segments,
        shm_objects,
        duplexes,
        listeners: (0..record.listeners).map(|_| Arc::default()).collect(),
        objects: Vec::with_capacity(record.objects.len()),
    };
    let mut vfs = Vfs::empty();
    for mount in record.mounts {
        loader.mount(mount, &mut vfs)?;
    }
    if vfs.mounts().last().is_none_or(|(at, _)| at != "/") {
        return Err(LoadError::Damaged("it has no root directory"));
    }
    for object in record.objects {
        loader.object(object)?;
    }
    let net = Net::load(&record.local, |number| {
        get(&loader.listeners, number).cloned()
    })?;
    let mut streams = Vec::with_capacity(record.streams.len());
    for &end in &record.streams {
        streams.push(HostStream::new(loader.end(end)?));
    }
    let saved = Duration::from_nanos(record.monotonic);
    let kernel = Kernel::frozen(FrozenKernel {
        machine: Arc::clone(&options.machine),
        vfs,
        net,
        shm: ShmTable::load(&record.sysv, &loader)?,
        test_hooks: options.test_hooks,
        trace: options.trace,
        memory_limit: record.memory_limit,
        next_pid: record.next_pid,
        // The guests' clock never goes back, also if this host has started later than the other one.
        ahead: saved.saturating_sub(time::now(1)),
        note: Vec::new(),
        sole: &sole,
    });
    for process in record.processes {
        kernel.adopt(loader.process(process, &kernel)?);
    }
    Streams::of_image(&loader.duplexes).close_lost_ends();
    Ok(Loaded { kernel, streams })
}
