//! A native cluster in a scratch directory.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::install::{Install, Scratch, copy_tree, give_away, step_down};

const START_LIMIT: Duration = Duration::from_secs(60);
const PASSWORD: &str = "native";

/// Configuration parameters, in order.
pub type Settings = Vec<(String, String)>;

/// A running native server; stopped (immediately) when dropped, its data gone with it.
#[derive(Debug)]
pub struct Cluster {
    install: Install,
    scratch: Scratch,
    settings: Settings,
    port: u16,
    server: Option<Child>,
}

impl Cluster {
    /// Runs `initdb` (C locale, UTF-8, scram-sha-256 over TCP and Unix sockets alike) and starts nothing yet.
    pub fn init(install: &Install, settings: &[(String, String)]) -> Result<Self> {
        Self::init_with(install, settings, "scram-sha-256")
    }

    /// Like [`init`](Self::init), but whoever connects is let in as whom they say they are: the suites connect under many names.
    pub fn init_trusting(install: &Install, settings: &[(String, String)]) -> Result<Self> {
        Self::init_with(install, settings, "trust")
    }

    fn init_with(install: &Install, settings: &[(String, String)], auth: &str) -> Result<Self> {
        let scratch = Scratch::new("pglite-oxide-native-cluster")?;
        let password = scratch.path().join("password");
        fs::write(&password, PASSWORD)?;
        give_away(&password)?;
        let mut initdb = install.server("initdb");
        initdb
            .args([
                "--username=postgres",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "--no-instructions",
            ])
            .arg(format!("--auth={auth}"))
            .arg("--pgdata")
            .arg(scratch.path().join("data"))
            .arg("--pwfile")
            .arg(&password)
            .stdin(Stdio::null());
        let output = initdb.output().context("starting initdb")?;
        if !output.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        Ok(Self {
            install: install.clone(),
            scratch,
            settings: settings.to_vec(),
            port,
            server: None,
        })
    }

    /// [`init`](Self::init), then [`start`](Self::start).
    pub fn run(install: &Install, settings: &[(String, String)]) -> Result<Self> {
        let mut cluster = Self::init(install, settings)?;
        cluster.start()?;
        Ok(cluster)
    }

    /// A copy of a stopped cluster's files, as another cluster on a port of its own.
    pub fn copy(&self) -> Result<Self> {
        let scratch = Scratch::new("pglite-oxide-native-cluster")?;
        copy_tree(&self.data(), &scratch.path().join("data"))?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        Ok(Self {
            install: self.install.clone(),
            scratch,
            settings: self.settings.clone(),
            port,
            server: None,
        })
    }

    /// Starts the server and waits until it accepts connections.
    pub fn start(&mut self) -> Result<()> {
        let mut command = self.install.server("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.scratch.path());
        command.args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            &format!("port={}", self.port),
        ]);
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let log = self.log();
        let file = fs::File::create(&log)?;
        give_away(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        let mut server = command.spawn().context("starting postgres")?;
        let begun = Instant::now();
        // The line "ready" in postmaster.pid is what pg_ctl waits for too.
        let pid_file = self.data().join("postmaster.pid");
        loop {
            if fs::read_to_string(&pid_file).is_ok_and(|text| {
                text.lines()
                    .nth(7)
                    .is_some_and(|line| line.trim() == "ready")
            }) {
                break;
            }
            if let Some(status) = server.try_wait()? {
                bail!("postgres ended ({status}):\n{}", self.log_tail());
            }
            if begun.elapsed() > START_LIMIT {
                let _ = server.kill();
                let _ = server.wait();
                bail!(
                    "postgres was not ready in {} s:\n{}",
                    START_LIMIT.as_secs(),
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        self.server = Some(server);
        Ok(())
    }

    /// Stops the server with a fast shutdown. Blocks until it has ended.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(rustix::process::Signal::INT)
    }

    fn signal(&mut self, signal: rustix::process::Signal) -> Result<()> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        let pid = rustix::process::Pid::from_child(&server);
        rustix::process::kill_process(pid, signal).context("signalling postgres")?;
        server.wait().context("waiting for postgres")?;
        Ok(())
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    /// The process id of the postmaster, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// The URL of the TCP listener.
    pub fn tcp_url(&self) -> String {
        format!(
            "postgres://postgres:{PASSWORD}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// The URL of the Unix socket.
    pub fn unix_url(&self) -> String {
        let dir = self
            .scratch
            .path()
            .display()
            .to_string()
            .replace('/', "%2F");
        format!(
            "postgres://postgres:{PASSWORD}@{dir}:{}/postgres",
            self.port
        )
    }

    fn log_tail(&self) -> String {
        let Ok(file) = fs::File::open(self.log()) else {
            return String::new();
        };
        let lines: Vec<_> = BufReader::new(file).lines().map_while(Result::ok).collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.signal(rustix::process::Signal::QUIT);
    }
}

/// Makes a directory that the server's user may write to.
pub fn writable_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path)?;
    give_away(path)?;
    let mut touch = std::process::Command::new("test");
    step_down(touch.arg("-w").arg(path));
    if !touch.status()?.success() {
        bail!("the server's user cannot write to {}", path.display());
    }
    Ok(())
}
