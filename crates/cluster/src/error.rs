//! What can go wrong.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pglite_oxide_assets::ImageError;
use pglite_oxide_kernel::{Errno, ExitStatus};
use pglite_oxide_machine::module::ModuleError;

use crate::packs::PackError;

/// Why a cluster did not start. Nothing is left running, and a directory is as it was before, or a whole cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This build contains no PostgreSQL.
    #[error(
        "this program was built without PostgreSQL (PGLITE_OXIDE_NO_ASSETS was set): build it again without that variable"
    )]
    NoAssets,
    /// The PostgreSQL in this build cannot be used.
    #[error("the compiled PostgreSQL cannot be used: build the assets again (cargo xtask assets)")]
    Module(#[from] ModuleError),
    /// A file image in this build cannot be used.
    #[error("a file image cannot be used: build the assets again (cargo xtask assets)")]
    Image(#[from] ImageError),
    /// An extension pack cannot be used.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Another cluster has the directory open, in this process or another one.
    #[error("{} is in use by {}: close that database first", root.display(), holder.map_or_else(|| "another process".to_owned(), |pid| format!("the process {pid}")))]
    InUse {
        /// The directory.
        root: PathBuf,
        /// The holder's process number, if it could be read.
        holder: Option<u32>,
    },
    /// A file of the directory could not be made, read or locked.
    #[error("{action} {}", path.display())]
    Root {
        /// What was attempted.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The directory holds something else than a cluster of this version.
    #[error("{} is not a cluster that PostgreSQL 18 can open: {reason}", path.display())]
    NotACluster {
        /// The data directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An archive was to be loaded into a directory that has a cluster already. It is left as it is.
    #[error("{} is not empty: an archive is loaded into a new directory only", path.display())]
    NotEmpty {
        /// The data directory.
        path: PathBuf,
    },
    /// A setting that cannot be given.
    #[error("the setting {name:?} cannot be used: {reason}")]
    Setting {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A directory of the host that cannot be granted.
    #[error("{} cannot be granted: {reason}", path.display())]
    Mount {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// A listener could not be prepared.
    #[error("the listener cannot be used")]
    Listener(#[source] io::Error),
    /// The postmaster ended while starting.
    #[error("the postmaster ended while starting ({}); it said:\n{log}", describe(*status))]
    Postmaster {
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// The postmaster was not ready in time.
    #[error("the postmaster was not ready after {} s; it said:\n{log}", patience.as_secs())]
    TimedOut {
        /// How long was waited.
        patience: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// The kernel refused something.
    #[error("the guest's world could not be set up{}", hint(*.0))]
    Kernel(#[from] Errno),
}

fn describe(status: ExitStatus) -> String {
    match status {
        ExitStatus::Exited(code) => format!("exit status {code}"),
        ExitStatus::Signaled(signo) => format!("signal {signo}"),
    }
}

/// What is mostly the reason.
fn hint(error: Errno) -> &'static str {
    if error == Errno::ENOMEM {
        " (each PostgreSQL process reserves 8 GiB of addresses, which a limit such as `ulimit -v` must allow)"
    } else {
        ""
    }
}

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody listens: the cluster has stopped, or is stopping.
    #[error("the cluster takes no connections: it has stopped or is stopping")]
    NotListening,
    /// More connections wait for the postmaster than it takes.
    #[error("too many connections wait for the postmaster")]
    Busy,
    /// The kernel refused.
    #[error("no connection could be made")]
    Kernel(#[from] Errno),
}

/// Why the cluster did not shut down as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// It was still running; it runs on.
    #[error("the cluster had not shut down after {} s", patience.as_secs_f32())]
    TimedOut {
        /// How long was waited.
        patience: Duration,
    },
    /// The postmaster ended otherwise than in order.
    #[error("the postmaster did not end in order: {}; it said:\n{log}", describe(*status))]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// The kernel refused.
    #[error("the postmaster could not be waited for")]
    Kernel(#[from] Errno),
}

/// Why a cluster was not copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Its data is in a directory of the host, which is not copied with the processes.
    #[error(
        "the data of this cluster is in a directory: copy it with `backup`, or open a temporary database"
    )]
    Persistent,
    /// It has stopped.
    #[error("the cluster has stopped")]
    NotRunning,
    /// The kernel refused: no memory, or a process that did not stop.
    #[error("the cluster could not be copied")]
    Kernel(#[from] Errno),
}

/// Why no backup was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The data could not be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The new directory could not be made, or there is something in it already.
    #[error("the backup could not be written")]
    Write(#[from] StartError),
}

/// A process could not be signalled.
#[derive(Debug, thiserror::Error)]
#[error("no process {pid} could be signalled")]
pub struct SignalError {
    /// The process's number in the guest.
    pub pid: i32,
    /// What the kernel said.
    #[source]
    pub source: Errno,
}
