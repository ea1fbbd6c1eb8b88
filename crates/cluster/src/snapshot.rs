//! Copies of running clusters: snapshots that are kept, and clusters that go on from one.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pglite_oxide_kernel::copy::{CopyOptions, KernelCopy};
use pglite_oxide_kernel::file::File;
use pglite_oxide_kernel::fs::dev::fill_random;
use pglite_oxide_kernel::net::HostStream;
use pglite_oxide_kernel::{Errno, Kernel, Pid};

use crate::cluster::{Cluster, SIGTERM};
use crate::control;
use crate::error::SnapshotError;
use crate::log::Tail;
use crate::options::Root;

/// How long PostgreSQL's background processes sleep at least in a new copy. Most databases of tests are gone before.
const GRACE: Duration = Duration::from_secs(2);
/// How long a snapshot waits for processes that are about to rest: every copy of it would have to run them.
const SNAPSHOT_PATIENCE: Duration = Duration::from_millis(200);
/// The same for a single copy, which costs about that more without.
const FORK_PATIENCE: Duration = Duration::from_millis(10);
/// Bytes of the addresses that settings show.
const ADDRESSES_MAX: usize = 127;
/// How long the sessions that a snapshot does not have may take to end in it.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);

/// A temporary cluster as it was at one instant, processes and all. Clusters that start from it go on from there, each for itself.
///
/// It holds what it was taken from in memory, shared with the clusters that were opened from it until they write. `Send` and `Sync`.
pub struct Snapshot {
    kernel: Arc<Kernel>,
    postmaster: Pid,
    port: u16,
    /// What the original wrote its log to.
    output: Arc<dyn File>,
}

/// A cluster that was opened from a snapshot or forked.
pub struct Opened {
    /// The cluster.
    pub cluster: Cluster,
    /// Its ends of the connections that were kept, in order.
    pub streams: Vec<HostStream>,
    /// The key with which the backends of the kept connections are cancelled from now on.
    pub cancel_key: u32,
}

impl Cluster {
    fn can_be_copied(&self) -> Result<(), SnapshotError> {
        if *self.root() != Root::Temporary {
            return Err(SnapshotError::Persistent);
        }
        if !self.is_running() {
            return Err(SnapshotError::NotRunning);
        }
        Ok(())
    }

    /// Takes a snapshot. The cluster stands still for the length of it, some milliseconds, and goes on. Of its sessions, the snapshot has those that `keep`
    /// names, as they are; for all others it is as if their clients had gone away: what they have not committed is rolled back there.
    ///
    /// # Errors
    /// [`SnapshotError::Persistent`] for a cluster in a directory; see there.
    pub fn snapshot(
        &self,
        keep: &[&HostStream],
    ) -> Result<(Snapshot, Vec<HostStream>), SnapshotError> {
        self.can_be_copied()?;
        let mut copy = self.kernel().duplicate(&CopyOptions {
            keep: keep.to_vec(),
            patience: SNAPSHOT_PATIENCE,
            ..CopyOptions::default()
        })?;
        if !copy.orphans.is_empty() {
            // Their ends are awaited once, here, and not in every copy.
            go_on_without(&copy.kernel, &copy.orphans, self.postmaster());
            let keep = copy.streams.iter().collect();
            copy = copy.kernel.duplicate(&CopyOptions {
                keep,
                patience: SNAPSHOT_PATIENCE,
                ..CopyOptions::default()
            })?;
        }
        let KernelCopy {
            kernel, streams, ..
        } = copy;
        let snapshot = Snapshot {
            kernel,
            postmaster: self.postmaster(),
            port: self.port(),
            output: Arc::clone(self.output()),
        };
        Ok((snapshot, streams))
    }

    /// A second cluster that goes on from where this one is, as [`Snapshot::open`] would right after [`Self::snapshot`], with one copy less.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub fn fork(&self, keep: &[&HostStream]) -> Result<Opened, SnapshotError> {
        self.can_be_copied()?;
        open(
            self.kernel(),
            (self.postmaster(), self.port()),
            self.output(),
            keep,
            &[],
        )
    }
}

impl Snapshot {
    /// A cluster that goes on from here. `keep` names connections that [`Cluster::snapshot`] kept; they go on, too.
    /// What must not be shared between clusters is new: system identifier, cancel keys, start times, random seeds. `tcp` are the addresses that the caller is going to
    /// [`Cluster::listen`] on: the settings show them.
    ///
    /// # Errors
    /// [`SnapshotError::Kernel`] without memory.
    pub fn open(&self, keep: &[&HostStream], tcp: &[SocketAddr]) -> Result<Opened, SnapshotError> {
        open(
            &self.kernel,
            (self.postmaster, self.port),
            &self.output,
            keep,
            tcp,
        )
    }
}

impl Snapshot {
    /// One that was in an image.
    pub(crate) fn of_image(
        kernel: Arc<Kernel>,
        postmaster: Pid,
        port: u16,
        output: Arc<dyn File>,
    ) -> Self {
        Self {
            kernel,
            postmaster,
            port,
            output,
        }
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    pub(crate) fn output(&self) -> &Arc<dyn File> {
        &self.output
    }

    /// The postmaster and the port.
    pub(crate) fn place(&self) -> (Pid, u16) {
        (self.postmaster, self.port)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

fn open(
    original: &Kernel,
    (postmaster, port): (Pid, u16),
    output: &Arc<dyn File>,
    keep: &[&HostStream],
    tcp: &[SocketAddr],
) -> Result<Opened, SnapshotError> {
    let log = Tail::default();
    let sink = log.sink();
    let fresh = Fresh::new(tcp)?;
    let KernelCopy {
        kernel,
        streams,
        orphans,
    } = original.duplicate(&CopyOptions {
        grace: GRACE,
        replace: vec![(Arc::clone(output), Arc::clone(&sink))],
        keep: keep.to_vec(),
        patience: FORK_PATIENCE,
        note: fresh.note(),
    })?;
    let cluster = Cluster::of_copy(kernel, postmaster, port, log, sink);
    // The identifier is also in files that PostgreSQL compares with what it has in memory.
    control::put_into(&*cluster.data()?, fresh.identifier)?;
    go_on_without(cluster.kernel(), &orphans, postmaster);
    Ok(Opened {
        cluster,
        streams,
        cancel_key: fresh.cancel_key,
    })
}

/// Lets a copy go on, and waits until the sessions that are not in it have ended. They are told to before they run: one that computes or waits for a lock would
/// not notice that its client is gone, and could still commit.
fn go_on_without(kernel: &Kernel, orphans: &[Pid], postmaster: Pid) {
    // A connection that the postmaster has just accepted makes it one of them.
    let sessions = || orphans.iter().filter(|&&pid| pid != postmaster);
    for &pid in sessions() {
        // It may have ended by itself.
        let _ = kernel.kill(pid, SIGTERM);
    }
    kernel.go_on();
    let deadline = Instant::now() + SETTLE_PATIENCE;
    for &pid in sessions() {
        kernel.wait_gone(pid, deadline);
    }
}

/// What no two clusters share.
struct Fresh {
    identifier: u64,
    /// Microseconds since 1970.
    time: i64,
    cancel_key: u32,
    nonce: [u8; 32],
    tcp: Vec<SocketAddr>,
}

impl Fresh {
    fn new(tcp: &[SocketAddr]) -> Result<Self, Errno> {
        let mut random = [0_u8; 40];
        fill_random(&mut random)?;
        let word = |at: usize| {
            u32::from_le_bytes([random[at], random[at + 1], random[at + 2], random[at + 3]])
        };
        let mut nonce = [0; 32];
        nonce.copy_from_slice(&random[8..]);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self {
            identifier: control::new_identifier(word(0)),
            time: i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
            cancel_key: word(4),
            nonce,
            tcp: tcp.to_vec(),
        })
    }

    /// As the guest reads it (`struct GuestCopyNote` in `guest/patches`).
    fn note(&self) -> Vec<u8> {
        let mut note = Vec::with_capacity(56);
        note.extend_from_slice(&self.identifier.to_le_bytes());
        note.extend_from_slice(&self.time.to_le_bytes());
        // As it goes over the wire.
        note.extend_from_slice(&self.cancel_key.to_be_bytes());
        note.extend_from_slice(&self.nonce);
        if let Some(first) = self.tcp.first() {
            note.extend_from_slice(&first.port().to_le_bytes());
            let addresses: Vec<_> = self.tcp.iter().map(|at| at.ip().to_string()).collect();
            let addresses = addresses.join(",");
            note.extend_from_slice(&addresses.as_bytes()[..addresses.len().min(ADDRESSES_MAX)]);
            note.push(0);
        }
        note
    }
}
