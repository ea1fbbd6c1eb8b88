//! The server under test.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, bail};
use pglite_oxide_native::Cluster;
use pglite_oxide_wire::Config;

use super::source::Files;

/// Where the guest keeps its loadable libraries; the core suite's `regress` is linked into the guest and found there.
pub(super) const GUEST_LIBRARY_DIR: &str = "/pgsql/lib";

/// What PostgreSQL's own `make check` sets, as far as results depend on it; and no fsync, which they do not depend on.
const SETTINGS: &[(&str, &str)] = &[
    ("max_prepared_transactions", "2"),
    ("max_connections", "60"),
    ("fsync", "off"),
];

/// Features of the program that serves, which always has every extension that is built without being asked for.
pub(super) const FEATURES: &str = "icu";

/// Which server.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    /// Ours, in a process of its own.
    Embedded,
    /// The same with an extension that is built on request.
    EmbeddedWith(String),
    /// Ours, opened from a snapshot of another one.
    Forked,
    /// Native PostgreSQL of the same version.
    Native,
    /// A running one.
    Url(String),
}

/// A running server.
pub(crate) struct Target {
    config: Config,
    library_dir: PathBuf,
    server: Server,
}

enum Server {
    Embedded(Child),
    Native(Cluster),
    Foreign,
}

impl Target {
    /// Starts it. The server reads `work/input` and writes `work/output`, at the same paths as here.
    pub(crate) fn start(
        which: &Which,
        files: &Files,
        work: &Path,
        extra: &[String],
    ) -> Result<Self> {
        let mut settings: Vec<(String, String)> = SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        for setting in extra {
            let (name, value) = setting
                .split_once('=')
                .context("--config takes NAME=VALUE")?;
            settings.push((name.to_owned(), value.to_owned()));
        }
        match which {
            Which::Embedded => Self::embedded(work, FEATURES, &[], &settings),
            Which::EmbeddedWith(extension) => {
                let features = format!("{FEATURES},{extension}");
                Self::embedded(work, &features, &[], &settings)
            }
            Which::Forked => Self::embedded(work, FEATURES, &["--forked".as_ref()], &settings),
            Which::Native => {
                let library_dir = files.native_library(work)?;
                let mut cluster = Cluster::init_trusting(files.install(), &settings)?;
                cluster.start()?;
                let config = Config::parse(&cluster.tcp_url())?;
                Ok(Self {
                    config,
                    library_dir,
                    server: Server::Native(cluster),
                })
            }
            Which::Url(url) => {
                let library_dir = files.native_library(work)?;
                Ok(Self {
                    config: Config::parse(url)?,
                    library_dir,
                    server: Server::Foreign,
                })
            }
        }
    }

    /// Ours, on a directory that is there after it has stopped.
    pub(crate) fn embedded_in(work: &Path, root: &Path) -> Result<Self> {
        let settings: Vec<(String, String)> = SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let how = ["--path".as_ref(), root.as_os_str()];
        Self::embedded(work, FEATURES, &how, &settings)
    }

    fn embedded(
        work: &Path,
        features: &str,
        how: &[&OsStr],
        settings: &[(String, String)],
    ) -> Result<Self> {
        let mut command = crate::suite::cargo();
        command.args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "pglite-oxide-bench",
            "--features",
            features,
            "--",
            "serve",
            "--no-password",
        ]);
        command.args(how);
        command.arg("--mount").arg(work.join("input"));
        command.arg("--mount").arg(work.join("output"));
        for (name, value) in settings {
            command.arg("--config").arg(format!("{name}={value}"));
        }
        let log = File::create(work.join("server.log"))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("starting pglite-bench serve")?;
        let stdout = child
            .stdout
            .take()
            .context("the server has a standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Ok(said) = serde_json::from_str::<serde_json::Value>(&line) else {
            let _ = child.kill();
            let _ = child.wait();
            let log = std::fs::read_to_string(work.join("server.log")).unwrap_or_default();
            bail!("the server did not start:\n{log}");
        };
        let url = said["tcp"].as_str().context("the server names its URL")?;
        Ok(Self {
            config: Config::parse(url)?,
            library_dir: PathBuf::from(GUEST_LIBRARY_DIR),
            server: Server::Embedded(child),
        })
    }

    /// Where and as whom to connect.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The directory, as the server sees it, that has the suite's `regress` library.
    pub(crate) fn library_dir(&self) -> &Path {
        &self.library_dir
    }

    /// Stops it. An error if our server did not end well: a host process that dies is a failure, whatever the tests said.
    pub(crate) fn stop(self) -> Result<()> {
        match self.server {
            Server::Embedded(mut child) => {
                drop(child.stdin.take());
                let status = child.wait()?;
                if !status.success() {
                    bail!("the server's process ended with {status}");
                }
                Ok(())
            }
            Server::Native(mut cluster) => cluster.stop(),
            Server::Foreign => Ok(()),
        }
    }
}
