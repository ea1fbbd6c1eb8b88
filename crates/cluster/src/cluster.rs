//! A running cluster: a postmaster in a kernel of its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pglite_oxide_kernel::file::File;
use pglite_oxide_kernel::kernel::{ProcessInfo, SpawnOptions};
use pglite_oxide_kernel::net::HostStream;
use pglite_oxide_kernel::{Errno, ExitStatus, Kernel, Pid};

use crate::closed;
use crate::control;
use crate::error::{ConnectError, ShutdownError, SignalError, StartError};
use crate::log::{PREFIX, Tail};
use crate::options::{ClusterOptions, Durability, Listener, Root, TcpAuth, check_setting};
use crate::programs;
use crate::root::{Contents, RootDirectory};
use crate::world::{self, DATA, ENVIRONMENT, FILE_COPY, HBA, Listening, SOCKETS, WorldOptions};

/// How long a start may take, crash recovery included.
const START_PATIENCE: Duration = Duration::from_secs(300);
/// How often readiness is looked at. A start takes tens of milliseconds.
const START_POLL: Duration = Duration::from_micros(250);
/// How long dropping waits for an orderly shutdown of a persistent cluster; a killed one recovers at the next start.
const DROP_PATIENCE: Duration = Duration::from_secs(10);
/// How long the threads of killed processes may take to end.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

const SIGHUP: u8 = 1;
pub(crate) const SIGINT: u8 = 2;
const SIGQUIT: u8 = 3;
pub(crate) const SIGTERM: u8 = 15;

/// Tells clusters made in the same microsecond apart.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// How the cluster shuts down (`pg_ctl stop -m`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Waits until all sessions have ended.
    Smart,
    /// Ends the sessions, then writes a checkpoint.
    Fast,
    /// Ends everything at once; the next start recovers.
    Immediate,
}

/// A running cluster. `Send` and `Sync`; wrap it in an [`Arc`] to share it.
///
/// Dropping it shuts it down and blocks for that: a persistent one in the fast mode, for at most 10 seconds, before its processes are killed (as after a power failure,
/// the next start recovers); a temporary one at once.
pub struct Cluster {
    kernel: Arc<Kernel>,
    postmaster: Pid,
    port: u16,
    root: Root,
    log: Tail,
    /// What the guest's standard output is.
    output: Arc<dyn File>,
    /// Released last.
    _directory: Option<RootDirectory>,
}

impl Cluster {
    /// Starts a cluster and waits until it takes connections.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(options: ClusterOptions) -> Result<Self, StartError> {
        for (name, value) in &options.settings {
            check_setting(name, value)?;
        }
        // Before anything is made on disk.
        let programs = programs::of(&options.packs)?;
        let salt = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut was_closed = false;
        let (data, directory) = match &options.root {
            Root::Temporary if options.data.is_some() => {
                (world::given_data(options.data.as_ref())?, None)
            }
            Root::Temporary => (
                world::temporary_data(control::new_identifier(salt ^ std::process::id()))?,
                None,
            ),
            Root::Directory(path) => {
                let contents = match &options.data {
                    Some(data) => Contents::Archive(data),
                    None => Contents::Template(world::template()?),
                };
                let directory = RootDirectory::open(path, &contents, salt ^ std::process::id())?;
                was_closed = closed::take(path)?;
                (world::host_data(directory.data())?, Some(directory))
            }
        };
        let arguments = Arguments::of(&options);
        let (kernel, listening) = world::boot(WorldOptions {
            programs,
            data,
            listeners: options.listeners,
            tcp_auth: options.tcp_auth,
            mounts: options.mounts,
            test_hooks: options.test_hooks,
            memory_limit: options.memory_limit,
        })?;
        let log = Tail::default();
        let output = log.sink();
        let process = kernel.spawn(SpawnOptions {
            path: "/pgsql/bin/postgres".to_owned(),
            argv: arguments.with(&listening),
            envp: ENVIRONMENT
                .into_iter()
                .chain((options.root == Root::Temporary).then_some(FILE_COPY))
                .chain(was_closed.then_some(closed::CLOSED))
                .map(str::to_owned)
                .collect(),
            cwd: "/".to_owned(),
            stdio: [
                world::null(&kernel)?,
                Arc::clone(&output),
                Arc::clone(&output),
            ],
        })?;
        // From here on, dropping it cleans up.
        let cluster = Self {
            postmaster: process.pid,
            port: listening.port,
            root: options.root,
            log,
            output,
            kernel,
            _directory: directory,
        };
        drop(process);
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// A cluster that goes on in a copied kernel.
    pub(crate) fn of_copy(
        kernel: Arc<Kernel>,
        postmaster: Pid,
        port: u16,
        log: Tail,
        output: Arc<dyn File>,
    ) -> Self {
        Self {
            kernel,
            postmaster,
            port,
            root: Root::Temporary,
            log,
            output,
            _directory: None,
        }
    }

    pub(crate) fn postmaster(&self) -> Pid {
        self.postmaster
    }

    pub(crate) fn output(&self) -> &Arc<dyn File> {
        &self.output
    }

    fn wait_ready(&self) -> Result<(), StartError> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            // The last line of postmaster.pid says what the postmaster is doing (miscinit.c, LOCK_FILE_LINE_PM_STATUS).
            if let Ok(text) = self.kernel.vfs().read(&format!("{DATA}/postmaster.pid"))
                && String::from_utf8_lossy(&text)
                    .lines()
                    .nth(7)
                    .is_some_and(|line| line.trim() == "ready")
            {
                return Ok(());
            }
            match self
                .kernel
                .wait_exit(self.postmaster, Some(Instant::now() + START_POLL))
            {
                Ok(status) => {
                    return Err(StartError::Postmaster {
                        status,
                        log: self.log.text(),
                    });
                }
                Err(Errno::ETIMEDOUT) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= deadline {
                return Err(StartError::TimedOut {
                    patience: START_PATIENCE,
                    log: self.log.text(),
                });
            }
        }
    }

    /// Changes who gets in over TCP; holds for every connection made from now on.
    ///
    /// # Errors
    /// [`StartError::Kernel`] when the cluster has stopped.
    pub fn set_tcp_auth(&self, auth: TcpAuth) -> Result<(), StartError> {
        if world::set_tcp_auth(&self.kernel, auth)? {
            // The postmaster reads it again before it accepts.
            self.kernel.kill(self.postmaster, SIGHUP)?;
        }
        Ok(())
    }

    /// Tells that whoever waits for the answers of this backend runs it, on its own thread ([`HostStream::hold`]).
    pub fn set_direct(&self, backend: i32) {
        if let Some(process) = self.kernel.process(Pid(backend)) {
            process.set_prompt(true);
        }
    }

    /// Takes connections on one more socket of the host, until the cluster is dropped. The guest's settings do not tell of it.
    ///
    /// # Errors
    /// [`StartError::Kernel`] when the cluster has stopped.
    pub fn listen(&self, listener: Listener) -> Result<(), StartError> {
        let path = self.socket();
        match listener {
            Listener::Tcp(listener) => self.kernel.net().forward_tcp(listener, &path)?,
            Listener::Unix(listener) => self.kernel.net().forward_unix(listener, &path)?,
        }
        Ok(())
    }

    /// The guest's own socket.
    fn socket(&self) -> String {
        format!("{SOCKETS}/.s.PGSQL.{}", self.port)
    }

    /// A connection to the postmaster, through memory. Does not block.
    ///
    /// # Errors
    /// [`ConnectError::NotListening`] when the cluster has stopped or is stopping.
    pub fn connect(&self) -> Result<HostStream, ConnectError> {
        self.kernel
            .net()
            .connect_unix(&self.socket())
            .map_err(|error| match error {
                Errno::ECONNREFUSED => ConnectError::NotListening,
                Errno::EAGAIN => ConnectError::Busy,
                error => ConnectError::Kernel(error),
            })
    }

    /// The kernel that everything of this cluster runs in.
    pub(crate) fn kernel(&self) -> &Arc<Kernel> {
        &self.kernel
    }

    /// True while the postmaster runs.
    pub fn is_running(&self) -> bool {
        self.kernel.process(self.postmaster).is_some()
    }

    /// The guest's processes: the postmaster and its children.
    pub fn processes(&self) -> Vec<ProcessInfo> {
        self.kernel.processes()
    }

    /// Sends a signal to a process of the guest.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn signal(&self, pid: i32, signo: u8) -> Result<(), SignalError> {
        self.kernel
            .kill(Pid(pid), signo)
            .map_err(|source| SignalError { pid, source })
    }

    /// Where its data is.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The port that PostgreSQL knows: the TCP listeners', or 5432 without any.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The last lines of PostgreSQL's log.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Shuts down and waits, at most `patience`. Sessions still open end as the mode says. Shutting down twice is no error.
    ///
    /// # Errors
    /// [`ShutdownError::TimedOut`] if it still runs then; a faster mode may be tried.
    pub fn shutdown(&self, mode: ShutdownMode, patience: Duration) -> Result<(), ShutdownError> {
        let signo = match mode {
            ShutdownMode::Smart => SIGTERM,
            ShutdownMode::Fast => SIGINT,
            ShutdownMode::Immediate => SIGQUIT,
        };
        match self.kernel.kill(self.postmaster, signo) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
        match self
            .kernel
            .wait_exit(self.postmaster, Instant::now().checked_add(patience))
        {
            Ok(_) if mode == ShutdownMode::Immediate => Ok(()),
            Ok(ExitStatus::Exited(0)) => {
                if let Root::Directory(root) = &self.root
                    && let Err(error) = closed::note(root)
                {
                    tracing::debug!(%error, "the next start will build the relation cache again");
                }
                Ok(())
            }
            // Without a child left, its end is told once.
            Err(Errno::ECHILD) => Ok(()),
            Ok(status) => Err(ShutdownError::Failed {
                status,
                log: self.log.text(),
            }),
            Err(Errno::ETIMEDOUT) => Err(ShutdownError::TimedOut { patience }),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.root != Root::Temporary
            && self.is_running()
            && let Err(error) = self.shutdown(ShutdownMode::Fast, DROP_PATIENCE)
        {
            tracing::warn!(%error, "a cluster is killed; it recovers at its next start");
        }
        if !self.kernel.kill_all(Instant::now() + KILL_PATIENCE) {
            tracing::error!("guest processes did not end; their threads and memory stay");
        }
        self.kernel.net().revoke();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("root", &self.root)
            .field("port", &self.port)
            .field("running", &self.is_running())
            .finish_non_exhaustive()
    }
}

/// The postmaster's command line.
struct Arguments {
    settings: Vec<(String, String)>,
    rest: Vec<String>,
}

impl Arguments {
    fn of(options: &ClusterOptions) -> Self {
        let mut settings: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: &str| settings.push((name.to_owned(), value.to_owned()));
        set("hba_file", HBA);
        set("log_destination", "stderr");
        set("logging_collector", "off");
        set("log_line_prefix", PREFIX);
        set("dynamic_shared_memory_type", "posix");
        set("shared_memory_type", "mmap");
        if options.root == Root::Temporary {
            // Nothing outlives this process, so nothing need be written twice or waited for.
            set("file_copy_method", "clone");
            set("fsync", "off");
            set("full_page_writes", "off");
            // Reading is copying from memory: worker processes would only be in between, and in every copy.
            set("io_method", "sync");
            set("io_max_concurrency", "16");
            // PostgreSQL clears all of them when it starts, and writing them out is copying, too.
            set("wal_buffers", "1MB");
        }
        if options.durability == Durability::Relaxed {
            set("synchronous_commit", "off");
        }
        settings.extend(options.settings.iter().cloned());
        let mut rest: Vec<String> = options
            .debug_level
            .map(|level| vec!["-d".to_owned(), level.to_string()])
            .unwrap_or_default();
        rest.extend(options.startup_args.iter().cloned());
        Self { settings, rest }
    }

    fn with(self, listening: &Listening) -> Vec<String> {
        let mut words = vec!["postgres".to_owned(), "-D".to_owned(), DATA.to_owned()];
        let ours = [
            ("listen_addresses", listening.addresses.join(",")),
            ("port", listening.port.to_string()),
            (
                "unix_socket_directories",
                listening.socket_directories.join(","),
            ),
        ];
        let all = self
            .settings
            .into_iter()
            .chain(ours.map(|(name, value)| (name.to_owned(), value)));
        for (name, value) in all {
            words.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        words.extend(self.rest);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_user_come_after_ours_and_listeners_last() {
        let mut options = ClusterOptions::new(Root::Temporary);
        options.settings.push(("fsync".to_owned(), "on".to_owned()));
        options.debug_level = Some(2);
        let words = Arguments::of(&options).with(&Listening {
            addresses: vec!["127.0.0.1".into()],
            port: 99,
            socket_directories: vec!["/a".into(), "/b".into()],
        });
        let at = |word: &str| {
            words
                .iter()
                .position(|found| found == word)
                .unwrap_or_else(|| panic!("{word} is not in {words:?}"))
        };
        assert!(at("fsync=off") < at("fsync=on"));
        assert!(at("fsync=on") < at("port=99"));
        assert!(at("unix_socket_directories=/a,/b") < at("-d"));
        let durable = Arguments::of(&ClusterOptions::new(Root::Directory("/x".into())));
        assert!(
            !durable
                .settings
                .iter()
                .any(|(name, _)| name == "fsync" || name == "synchronous_commit")
        );
    }
}
