//! What a cluster is started with.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::data::DataDirectory;
use crate::error::StartError;
use crate::packs::Pack;

/// Where the data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// In memory, gone when the cluster is.
    Temporary,
    /// In this directory of the host: the data in `data` below it, beside a lock file. Made if it is not there.
    Directory(PathBuf),
}

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// It does. In memory there is no disk, so nothing waits there.
    #[default]
    Full,
    /// `synchronous_commit=off`: a crash may lose the last commits, but never corrupts anything.
    Relaxed,
}

/// A socket of the host on which the cluster takes connections.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket. Whoever may connect to it gets in: its directory's permissions are the guard.
    Unix(UnixListener),
}

/// Who gets in over TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpAuth {
    /// Those who know a role's password (`scram-sha-256`).
    #[default]
    Scram,
    /// Everybody who can connect.
    Trust,
}

/// How a cluster is started. Make one with [`ClusterOptions::new`] and change its fields.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// Where the data is.
    pub root: Root,
    /// What a new data directory begins with, instead of the template. One that is not empty is refused then.
    pub data: Option<DataDirectory>,
    /// PostgreSQL's settings by name, given on the postmaster's command line: they override `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// Arguments for the postmaster, after all others.
    pub startup_args: Vec<String>,
    /// PostgreSQL's debug level, 0 to 5.
    pub debug_level: Option<u8>,
    /// Whether a commit waits for the disk.
    pub durability: Durability,
    /// Sockets of the host; none by default.
    pub listeners: Vec<Listener>,
    /// Who gets in over TCP.
    pub tcp_auth: TcpAuth,
    /// Directories of the host that the guest may read and write, at the same absolute paths. None by default.
    pub mounts: Vec<PathBuf>,
    /// Extensions to load beside the linked ones.
    pub packs: Vec<Pack>,
    /// Lets the guest provoke faults, for tests.
    pub test_hooks: bool,
    /// Most private memory of one backend in bytes; `None` is 3 GiB.
    pub memory_limit: Option<u64>,
}

impl ClusterOptions {
    /// The defaults.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self {
            root,
            data: None,
            settings: Vec::new(),
            startup_args: Vec::new(),
            debug_level: None,
            durability: Durability::Full,
            listeners: Vec::new(),
            tcp_auth: TcpAuth::Scram,
            mounts: Vec::new(),
            packs: Vec::new(),
            test_hooks: false,
            memory_limit: None,
        }
    }
}

/// Settings that decide where the guest's files and sockets are, and so are not the user's.
const OURS: &[(&str, &str)] = &[
    (
        "data_directory",
        "the directory is chosen when the database is opened",
    ),
    ("hba_file", "who gets in is chosen when the server is built"),
    ("ident_file", "there are no system users to map"),
    (
        "listen_addresses",
        "listeners are bound by the server's builder",
    ),
    (
        "unix_socket_directories",
        "listeners are bound by the server's builder",
    ),
    ("port", "listeners are bound by the server's builder"),
    ("logging_collector", "the log goes to `tracing`"),
    ("external_pid_file", "there is no process outside"),
];

/// Checks the form of a setting that a user gave.
pub(crate) fn check_setting(name: &str, value: &str) -> Result<(), StartError> {
    let refused = |reason: &str| StartError::Setting {
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$') || !c.is_ascii();
    if name.is_empty() || !name.chars().all(plain) {
        return Err(refused("its name is no identifier"));
    }
    if value.contains('\0') {
        return Err(refused("its value contains a NUL byte"));
    }
    match OURS
        .iter()
        .find(|(ours, _)| ours.eq_ignore_ascii_case(name))
    {
        Some((_, reason)) => Err(refused(reason)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_not_the_users_are_refused_by_name() {
        check_setting("work_mem", "4MB").unwrap();
        check_setting("app.user_id", "").unwrap();
        for name in ["port", "Data_Directory", "", "a b", "x=y"] {
            let error = check_setting(name, "1").unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
        assert!(check_setting("search_path", "a\0b").is_err());
    }
}
