//! Runs a whole PostgreSQL cluster in this process: boot from the template or from an existing directory, settings, locking, shutdown.
//!
//! Knows how PostgreSQL is run, and nothing of its client protocol. Everything here blocks; nothing needs an async runtime.

mod backup;
mod closed;
mod cluster;
mod control;
mod data;
mod delta;
mod error;
mod image;
mod linked;
mod log;
mod options;
#[cfg(feature = "packs")]
mod packs;
#[cfg(not(feature = "packs"))]
#[path = "packs_disabled.rs"]
mod packs;
mod program;
mod programs;
mod root;
mod snapshot;
mod world;

pub use cluster::{Cluster, ShutdownMode};
pub use data::{DataDirectory, DataEntry};
pub use error::{BackupError, ConnectError, ShutdownError, SignalError, SnapshotError, StartError};
pub use image::{FromImage, ImageError};
pub use options::{ClusterOptions, Durability, Listener, Root, TcpAuth};
pub use packs::{Pack, PackError, preloaded};
pub use pglite_oxide_kernel::ExitStatus;
pub use pglite_oxide_kernel::image::{ImageBytes, LoadError, Scope};
pub use snapshot::{Opened, Snapshot};

/// The fingerprint of the PostgreSQL in this build; empty in a build without.
#[must_use]
pub fn fingerprint() -> &'static str {
    linked::FINGERPRINT
}

/// The fingerprint of what a new cluster begins with in this program; empty in a build without.
#[must_use]
pub fn template_fingerprint() -> &'static str {
    pglite_oxide_assets::template_fingerprint()
}

/// The image of a fresh cluster of this build, for [`Snapshot::from_image`]; `None` in a build without.
#[must_use]
pub fn built_in_image() -> Option<&'static [u8]> {
    pglite_oxide_assets::cluster()
}

/// The target triple of the PostgreSQL in this build, which packs must be for; empty in a build without.
#[must_use]
pub fn target() -> &'static str {
    linked::TARGET
}

pub use pglite_oxide_kernel::kernel::ProcessInfo;
pub use pglite_oxide_kernel::net::HostStream as Stream;
pub use program::{
    GrantedDirectory, Input, Output, Program, ProgramError, RunningProgram, Signaller, TerminalSize,
};
