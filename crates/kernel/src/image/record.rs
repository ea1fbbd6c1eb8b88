//! What is written of a kernel, as plain data. Objects are named by their places in the lists of [`KernelRecord`]; times are nanoseconds from the instant of the freezing.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Scope;
use super::blobs::Size;
use super::pieces::PiecesRecord;

/// In front of everything.
#[derive(Serialize, Deserialize)]
pub(crate) struct Head {
    /// Of the rest of the metadata.
    pub(crate) record: Size,
    pub(crate) blobs: Vec<Size>,
}

/// A kernel.
#[derive(Serialize, Deserialize)]
pub(crate) struct KernelRecord {
    pub(crate) scope: Scope,
    pub(crate) machine: Vec<u8>,
    pub(crate) memory_limit: u64,
    pub(crate) next_pid: i32,
    /// The guests' monotonic clock, in nanoseconds.
    pub(crate) monotonic: u64,
    pub(crate) mounts: Vec<MountRecord>,
    pub(crate) segments: Vec<Vec<u8>>,
    /// Shared memory objects with names and without.
    pub(crate) shm_objects: Vec<ShmObjectRecord>,
    pub(crate) duplexes: Vec<DuplexRecord>,
    pub(crate) listeners: u32,
    pub(crate) local: Vec<(String, u32)>,
    /// Files, and descriptions that are open on them, each after what it needs.
    pub(crate) objects: Vec<ObjectRecord>,
    pub(crate) sysv: SysvRecord,
    pub(crate) processes: Vec<ProcessRecord>,
    /// The host's ends of connections.
    pub(crate) streams: Vec<EndRecord>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct MountRecord {
    pub(crate) at: String,
    pub(crate) fs: FsRecord,
}

/// A file system. Opaque outside of this crate.
#[derive(Serialize, Deserialize)]
pub struct FsRecord(pub(crate) Fs);

#[derive(Serialize, Deserialize)]
pub(crate) enum Fs {
    /// One that the program has, by its name.
    Given(String),
    Mem(MemRecord),
    Shm(ShmRecord),
    Dev,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct MemRecord {
    /// The rest is the difference to the tree that the program has for this mount.
    pub(crate) based: bool,
    pub(crate) limit: u64,
    pub(crate) next_inode: u64,
    pub(crate) read_only: bool,
    /// Of the base, in order.
    pub(crate) gone: Vec<u64>,
    pub(crate) nodes: Vec<NodeRecord>,
    /// The bytes of all [`ChunkRecord::Data`], in order.
    pub(crate) data: PiecesRecord,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    pub(crate) number: u64,
    pub(crate) kind: u32,
    pub(crate) mode: u32,
    pub(crate) links: u32,
    /// Access, modification, change.
    pub(crate) times: [(i64, u32); 3],
    pub(crate) body: BodyRecord,
    pub(crate) len: u64,
    pub(crate) chunks: Vec<ChunkRecord>,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum BodyRecord {
    Directory(Vec<(String, u64)>),
    Link(String),
    Leaf,
}

/// Consecutive chunks of a file.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub(crate) enum ChunkRecord {
    Holes(u32),
    /// As the same chunks of the file in the base.
    Same(u32),
    /// One, of this many bytes.
    Data(u32),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ShmRecord {
    pub(crate) last_inode: u64,
    /// Name and object.
    pub(crate) names: Vec<(String, u32)>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ShmObjectRecord {
    pub(crate) inode: u64,
    pub(crate) segment: u32,
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) modified: (i64, u32),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct QueueRecord {
    pub(crate) bytes: Vec<u8>,
    pub(crate) finished: bool,
    pub(crate) refused: bool,
    pub(crate) reset: bool,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct DuplexRecord {
    pub(crate) kind: u32,
    pub(crate) capacity: u64,
    pub(crate) queues: [QueueRecord; 2],
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct EndRecord {
    pub(crate) duplex: u32,
    pub(crate) side: u8,
    pub(crate) peer_pid: i32,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum AddressRecord {
    Unix(String),
    Inet(SocketAddr),
}

#[derive(Serialize, Deserialize)]
pub(crate) enum RoleRecord {
    None,
    Listener(u32),
    Stream(EndRecord),
}

#[derive(Serialize, Deserialize)]
pub(crate) enum ObjectRecord {
    File(FileRecord),
    Open {
        file: u32,
        flags: u32,
        position: u64,
        path: Option<String>,
        /// Name, inode, kind.
        listing: Option<Vec<(String, u64, u32)>>,
    },
}

/// An open file. Opaque outside of this crate.
#[derive(Serialize, Deserialize)]
pub struct FileRecord(pub(crate) Kind);

#[derive(Serialize, Deserialize)]
pub(crate) enum Kind {
    /// One that the program has, by its place.
    Given(u32),
    /// A regular file with a name, of the file system at this place of the mounts.
    MemFile {
        mount: u32,
        number: u64,
    },
    /// One without.
    MemNameless {
        mount: u32,
        node: Box<NodeRecord>,
        data: PiecesRecord,
    },
    MemDirectory {
        mount: u32,
        number: u64,
    },
    Shm(u32),
    EventFd {
        count: u64,
        semaphore: bool,
    },
    SignalFd(u64),
    /// Descriptor, open description, events, data.
    Epoll(Vec<(i32, u32, u32, u64)>),
    Stream(EndRecord),
    Socket {
        family: u16,
        bound: Option<AddressRecord>,
        role: RoleRecord,
    },
    /// By its inode.
    Device(u64),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SysvRecord {
    pub(crate) next: u32,
    /// Identifier, key, segment, creator.
    pub(crate) entries: Vec<(u32, i32, u32, i32)>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct VmaRecord {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Segment and offset of a shared one.
    pub(crate) shared: Option<(u32, u64)>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct MmRecord {
    pub(crate) vmas: Vec<VmaRecord>,
    pub(crate) brk_start: u32,
    pub(crate) brk: u32,
    pub(crate) limit: u64,
    pub(crate) stale: Vec<(u32, u32)>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SignalInfoRecord {
    pub(crate) signo: u8,
    pub(crate) code: i32,
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) status: i32,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SignalsRecord {
    pub(crate) pending: u64,
    /// Of those that are pending.
    pub(crate) info: Vec<SignalInfoRecord>,
    pub(crate) mask: u64,
    pub(crate) saved_mask: Option<u64>,
    /// Signal, handler, flags, mask, of those that are not as they began.
    pub(crate) actions: Vec<(u8, u32, u32, u64)>,
    pub(crate) word: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct IdleRecord {
    /// Open description and readiness.
    pub(crate) watches: Vec<(u32, u32)>,
    pub(crate) deadline: Option<i64>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// Number, group, status.
    pub(crate) zombies: Vec<(i32, i32, u32)>,
    /// Descriptor, open description, whether it is closed by `execve`.
    pub(crate) descriptors: Vec<(i32, u32, bool)>,
    pub(crate) cwd: String,
    pub(crate) umask: u32,
    pub(crate) mm: MmRecord,
    pub(crate) signals: SignalsRecord,
    /// Next time and interval of the alarm.
    pub(crate) alarm: Option<(i64, u64)>,
    pub(crate) prompt: bool,
    pub(crate) restart: Option<i64>,
    pub(crate) idle: Option<IdleRecord>,
    /// The machine's.
    pub(crate) space: Vec<u8>,
}
