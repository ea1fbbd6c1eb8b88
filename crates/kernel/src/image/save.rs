//! Writing an image.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::blobs::{BlobWriter, Size};
use super::record::{
    DuplexRecord, EndRecord, FileRecord, Fs, FsRecord, Head, IdleRecord, KernelRecord, Kind,
    MountRecord, ObjectRecord, ProcessRecord, ShmObjectRecord,
};
use super::{ALIGNMENT, SaveError, SaveOptions};
use crate::errno::Errno;
use crate::file::{File, OpenFile};
use crate::fs::FileSystem;
use crate::fs::mem::MemFs;
use crate::kernel::Kernel;
use crate::memory::Segment;
use crate::process::Process;
use crate::process::rest::Idle;
use crate::syscalls::time;
use crate::wait::lock;

/// What was written already, so that what is shared stays shared.
pub struct Saver<'a> {
    options: &'a SaveOptions<'a>,
    /// The instant that times are told from.
    frozen_at: Instant,
    blobs: BlobWriter,
    objects: Vec<ObjectRecord>,
    /// By addresses.
    files: HashMap<usize, u32>,
    opens: HashMap<usize, u32>,
    listeners: HashMap<usize, u32>,
    duplexes: Vec<DuplexRecord>,
    duplex_numbers: HashMap<usize, u32>,
    segments: Vec<Vec<u8>>,
    segment_numbers: HashMap<u64, u32>,
    shm_objects: Vec<ShmObjectRecord>,
    shm_numbers: HashMap<usize, u32>,
    /// Memory file systems by the addresses of their superblocks: their mounts.
    mem_mounts: HashMap<usize, u32>,
    /// The mount that is being written.
    mount: (u32, String),
}

/// The number of the next one in a list.
pub(crate) fn next<T>(list: &[T]) -> Result<u32, SaveError> {
    u32::try_from(list.len()).map_err(|_| SaveError::Kernel(Errno::EOVERFLOW))
}

impl<'a> Saver<'a> {
    pub(super) fn new(options: &'a SaveOptions<'a>, frozen_at: Instant) -> Self {
        let files = options.files.iter().map(address);
        let mut this = Self {
            options,
            frozen_at,
            blobs: BlobWriter::default(),
            objects: Vec::new(),
            files: HashMap::new(),
            opens: HashMap::new(),
            listeners: HashMap::new(),
            duplexes: Vec::new(),
            duplex_numbers: HashMap::new(),
            segments: Vec::new(),
            segment_numbers: HashMap::new(),
            shm_objects: Vec::new(),
            shm_numbers: HashMap::new(),
            mem_mounts: HashMap::new(),
            mount: (0, String::new()),
        };
        for (number, file) in (0..).zip(files) {
            this.files.insert(file, number);
            this.objects
                .push(ObjectRecord::File(FileRecord(Kind::Given(number))));
        }
        this
    }

    /// Where pieces go.
    pub(crate) fn blobs(&mut self) -> &mut BlobWriter {
        &mut self.blobs
    }

    /// A time, from the instant of the freezing on.
    pub(crate) fn time(&self, at: Instant) -> i64 {
        let nanoseconds = |from: Instant, to: Instant| {
            i64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(i64::MAX)
        };
        nanoseconds(self.frozen_at, at) - nanoseconds(at, self.frozen_at)
    }

    /// The number of a file.
    pub(crate) fn file(&mut self, file: &Arc<dyn File>) -> Result<u32, SaveError> {
        if let Some(&known) = self.files.get(&address(file)) {
            return Ok(known);
        }
        let record = file.save(self)?;
        let number = next(&self.objects)?;
        self.objects.push(ObjectRecord::File(record));
        self.files.insert(address(file), number);
        Ok(number)
    }

    /// The number of an open file description.
    pub(crate) fn open(&mut self, open: &Arc<OpenFile>) -> Result<u32, SaveError> {
        if let Some(&known) = self.opens.get(&address(open)) {
            return Ok(known);
        }
        let file = self.file(&open.file)?;
        let listing = lock(&open.listing).as_ref().map(|entries| {
            entries
                .iter()
                .map(|entry| (entry.name.clone(), entry.inode, entry.kind as u32))
                .collect()
        });
        let number = next(&self.objects)?;
        self.objects.push(ObjectRecord::Open {
            file,
            flags: open.flags(),
            position: *lock(&open.position),
            path: open.path.clone(),
            listing,
        });
        self.opens.insert(address(open), number);
        Ok(number)
    }

    /// The number of a segment.
    pub(crate) fn segment(&mut self, segment: &Arc<dyn Segment>) -> Result<u32, SaveError> {
        if let Some(&known) = self.segment_numbers.get(&segment.id()) {
            return Ok(known);
        }
        let record = segment.save(&mut self.blobs)?;
        let number = next(&self.segments)?;
        self.segments.push(record);
        self.segment_numbers.insert(segment.id(), number);
        Ok(number)
    }

    /// The number of a shared memory object, by its address; `make` describes one that is new.
    pub(crate) fn shm_object(
        &mut self,
        at: usize,
        make: impl FnOnce(&mut Self) -> Result<ShmObjectRecord, SaveError>,
    ) -> Result<u32, SaveError> {
        if let Some(&known) = self.shm_numbers.get(&at) {
            return Ok(known);
        }
        let record = make(self)?;
        let number = next(&self.shm_objects)?;
        self.shm_objects.push(record);
        self.shm_numbers.insert(at, number);
        Ok(number)
    }

    /// An end of a connection, by the address of what both ends share; `make` describes a new one.
    pub(crate) fn end(
        &mut self,
        at: usize,
        (side, peer_pid): (usize, i32),
        make: impl FnOnce() -> DuplexRecord,
    ) -> Result<EndRecord, SaveError> {
        let duplex = match self.duplex_numbers.get(&at) {
            Some(&known) => known,
            None => {
                let number = next(&self.duplexes)?;
                self.duplexes.push(make());
                self.duplex_numbers.insert(at, number);
                number
            }
        };
        Ok(EndRecord {
            duplex,
            side: u8::from(side != 0),
            peer_pid,
        })
    }

    /// The number of a listener, by its address.
    pub(crate) fn listener(&mut self, at: usize) -> u32 {
        let next = u32::try_from(self.listeners.len()).unwrap_or(u32::MAX);
        *self.listeners.entry(at).or_insert(next)
    }

    /// What the memory file system that is being written began as.
    pub(crate) fn base(&self) -> Option<&'a MemFs> {
        let found = self
            .options
            .bases
            .iter()
            .find(|(at, _)| *at == self.mount.1);
        found.map(|(_, base)| *base)
    }

    /// The memory file system with this superblock is the one that is being written.
    pub(crate) fn is_mem_mount(&mut self, superblock: usize) {
        self.mem_mounts.insert(superblock, self.mount.0);
    }

    /// Where the memory file system with this superblock is mounted.
    pub(crate) fn mem_mount(&self, superblock: usize) -> Result<u32, SaveError> {
        self.mem_mounts
            .get(&superblock)
            .copied()
            .ok_or_else(|| SaveError::unsupported("an open file of a tree that is only named"))
    }

    fn file_system(&mut self, fs: &Arc<dyn FileSystem>) -> Result<FsRecord, SaveError> {
        let given = self
            .options
            .trees
            .iter()
            .find(|(_, tree)| address(tree) == address(fs));
        match given {
            Some((name, _)) => Ok(FsRecord(Fs::Given((*name).to_owned()))),
            None => fs.save(self),
        }
    }

    fn idle(&mut self, idle: &Idle) -> Result<IdleRecord, SaveError> {
        let mut watches = Vec::with_capacity(idle.watches.len());
        for (open, interest) in &idle.watches {
            watches.push((self.open(open)?, interest.bits()));
        }
        Ok(IdleRecord {
            watches,
            deadline: idle.deadline.map(|at| self.time(at)),
        })
    }

    fn process(&mut self, process: &Process) -> Result<ProcessRecord, SaveError> {
        let mm = process.mm().save(self)?;
        let space = process.space().save(
            &process.mm().private_ranges(),
            self.options.scope,
            &mut self.blobs,
        )?;
        let files = lock(&process.files).clone();
        let mut descriptors = Vec::new();
        for fd in files.numbers() {
            let descriptor = files.descriptor(fd)?;
            descriptors.push((fd, self.open(&descriptor.open)?, descriptor.close_on_exec));
        }
        let idle = process.rest().idle.clone();
        let idle = idle.map(|idle| self.idle(&idle)).transpose()?;
        let family = process.family().clone();
        let fs = lock(&process.fs).clone();
        let restart = *process.restart();
        Ok(ProcessRecord {
            pid: process.pid.0,
            name: process.name.clone(),
            parent: family.parent.0,
            group: family.group.0,
            session: family.session.0,
            zombies: family
                .zombies
                .iter()
                .map(|zombie| (zombie.pid.0, zombie.group.0, zombie.status.encode()))
                .collect(),
            descriptors,
            cwd: fs.cwd,
            umask: fs.umask,
            mm,
            signals: process.signals().save(),
            alarm: process.itimer.save(self),
            prompt: process.is_prompt(),
            restart: restart.map(|at| self.time(at)),
            idle,
            space,
        })
    }
}

fn address<T: ?Sized>(of: &Arc<T>) -> usize {
    Arc::as_ptr(of).cast::<()>().addr()
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, SaveError> {
    postcard::to_allocvec(value).map_err(|_| SaveError::Kernel(Errno::EOVERFLOW))
}

pub(super) fn kernel(kernel: &Kernel, options: &SaveOptions<'_>) -> Result<Vec<u8>, SaveError> {
    // Nobody lets it go on meanwhile.
    let frozen = lock(kernel.frozen_at());
    let frozen_at = frozen.ok_or(SaveError::Running)?;
    let mut saver = Saver::new(options, frozen_at);
    let mut mounts = Vec::new();
    for (at, fs) in kernel.vfs().mounts() {
        saver.mount = (next(&mounts)?, at.to_owned());
        let fs = saver.file_system(fs).map_err(|error| match error {
            SaveError::Unsupported { what } => SaveError::Unsupported {
                what: format!("{what}, mounted at {at},"),
            },
            error => error,
        })?;
        mounts.push(MountRecord {
            at: at.to_owned(),
            fs,
        });
    }
    let local = kernel.net().save(&mut saver);
    let sysv = kernel.shm().save(&mut saver)?;
    let mut processes = Vec::new();
    for process in kernel.live() {
        let record = saver.process(&process).map_err(|error| match error {
            SaveError::Unsupported { what } => SaveError::Unsupported {
                what: format!("{what}, which process {} has,", process.pid.0),
            },
            error => error,
        })?;
        processes.push(record);
    }
    let mut streams = Vec::with_capacity(options.keep.len());
    for stream in options.keep {
        streams.push(stream.save(&mut saver)?);
    }
    let (memory_limit, next_pid) = kernel.limits();
    let monotonic = kernel
        .clock(time::now(1))
        .saturating_sub(frozen_at.elapsed());
    let record = KernelRecord {
        scope: options.scope,
        machine: kernel.machine().identity(options.scope)?,
        memory_limit,
        next_pid,
        monotonic: u64::try_from(monotonic.as_nanos()).unwrap_or(u64::MAX),
        mounts,
        segments: saver.segments,
        shm_objects: saver.shm_objects,
        duplexes: saver.duplexes,
        listeners: u32::try_from(saver.listeners.len()).unwrap_or(u32::MAX),
        local,
        objects: saver.objects,
        sysv,
        processes,
        streams,
    };
    drop(frozen);
    let (sizes, pieces) = saver.blobs.finish();
    container(&record, sizes, &pieces)
}

/// The parts of an image, one after the other.
pub(super) fn container(
    record: &KernelRecord,
    blobs: Vec<Size>,
    pieces: &[u8],
) -> Result<Vec<u8>, SaveError> {
    let record = encode(record)?;
    let packed = lz4_flex::block::compress(&record);
    let head = encode(&Head {
        record: Size {
            len: record.len() as u64,
            packed: packed.len() as u64,
            plain: false,
        },
        blobs,
    })?;
    let mut out = Vec::with_capacity(4 + head.len() + packed.len() + ALIGNMENT + pieces.len());
    out.extend_from_slice(&next(&head)?.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(&packed);
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    out.extend_from_slice(pieces);
    Ok(out)
}
