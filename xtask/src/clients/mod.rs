//! `cargo xtask clients`: other people's clients, each with a workload of its own (`clients/`), against the server of `pglite run`, over TCP and a Unix socket.

mod list;
mod prepare;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pglite_oxide_asset_locator as locator;

use crate::cache::Cache;
use crate::progress::Progress;
use crate::{process, suite};
use list::{CLIENTS, Client};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these clients [default: all]
    names: Vec<String>,
    /// Says which there are
    #[arg(long)]
    list: bool,
    /// Against this server instead of ours, to tell a client's own ways from ours: a URL with a superuser
    #[arg(long, value_name = "URL", conflicts_with = "list")]
    against: Option<String>,
}

/// A client that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(900);
/// Lines of a failed client's output that are shown.
const TAIL_LINES: usize = 25;

/// How the server is reached.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Tcp,
    Unix,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Unix => "Unix socket",
        }
    }
}

/// One line of the table.
struct Row {
    client: &'static Client,
    version: String,
    way: Way,
    checks: usize,
    took: Duration,
    failure: Option<String>,
}

/// Runs the clients and prints a table; failure if any failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut chosen: Vec<&Client> = CLIENTS.iter().collect();
    if options.list {
        for client in chosen {
            println!("{:<16} {}", client.name, client.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    for name in &options.names {
        if !CLIENTS.iter().any(|client| client.name == name) {
            bail!("there is no client {name}; `cargo xtask clients --list` says which there are");
        }
    }
    chosen.retain(|client| {
        options.names.is_empty() || options.names.iter().any(|name| name == client.name)
    });

    if options.against.is_none() {
        suite::assets()?;
        let mut build = suite::cargo();
        build.args(["build", "--release", "--package", "pglite-oxide-cli"]);
        process::shown(&mut build)?;
    }
    let pglite = std::env::current_exe()?.with_file_name("pglite");
    let cache = Cache::open(&locator::cache_root()?, Progress::new())?;
    let logs = cache.root().join("logs");
    fs::create_dir_all(&logs)?;

    let mut rows = Vec::new();
    for client in chosen {
        let ready = prepare::prepare(&cache, client.kind);
        let ways: &[Way] = if client.unix && options.against.is_none() {
            &[Way::Tcp, Way::Unix]
        } else {
            &[Way::Tcp]
        };
        for &way in ways {
            let begun = Instant::now();
            let log = logs.join(format!(
                "clients-{}-{}.log",
                client.name,
                way.name().replace(' ', "-")
            ));
            cache
                .progress()
                .note(&format!("{} over {} ...", client.name, way.name()));
            let outcome = match &ready {
                Ok(ready) => {
                    let mut command = match &options.against {
                        None => served(&pglite, way, ready)?,
                        Some(url) => against(url, ready),
                    };
                    watched(&mut command, &log)
                }
                Err(error) => Err(anyhow::anyhow!("it could not be set up: {error:#}")),
            };
            let text = fs::read(&log).unwrap_or_default();
            let checks = client.kind.passed(&String::from_utf8_lossy(&text));
            let failure = match outcome {
                Ok(()) if checks == 0 => Some(format!("no check ran: {}", log.display())),
                Ok(()) => None,
                Err(error) => Some(format!("{error:#}")),
            };
            if let Some(failure) = &failure {
                cache
                    .progress()
                    .note(&format!("{} FAILED: {failure}", client.name));
            }
            rows.push(Row {
                client,
                version: prepare::version(client)?,
                way,
                checks,
                took: begun.elapsed(),
                failure,
            });
        }
    }
    table(&rows);
    let failed = rows.iter().filter(|row| row.failure.is_some()).count();
    if failed > 0 {
        println!("\n{failed} of {} runs failed.", rows.len());
        return Ok(ExitCode::FAILURE);
    }
    println!("\nAll {} runs passed.", rows.len());
    Ok(ExitCode::SUCCESS)
}

/// What runs a client's workload.
struct Ready {
    /// The program with its arguments, and variables for it.
    command: Vec<PathBuf>,
    environment: Vec<(&'static str, PathBuf)>,
    /// Where it runs.
    dir: PathBuf,
    /// A directory made for this run.
    _scratch: Option<tempfile::TempDir>,
}

/// The workload with a server of its own, as a user would start it.
fn served(pglite: &Path, way: Way, ready: &Ready) -> Result<Command> {
    let mut command = Command::new(pglite);
    command.arg("run");
    if way == Way::Unix {
        // `pglite run` removes the socket file, and the system its directory.
        let dir = tempfile::Builder::new()
            .prefix("pglite-clients-")
            .tempdir()?;
        command.arg("--unix").arg(dir.keep());
    }
    command.arg("--").args(&ready.command);
    command
        .current_dir(&ready.dir)
        .envs(ready.environment.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// The workload with somebody else's server.
fn against(url: &str, ready: &Ready) -> Command {
    let mut command = Command::new(&ready.command[0]);
    command.args(&ready.command[1..]).current_dir(&ready.dir);
    command.envs(ready.environment.iter().map(|(name, value)| (name, value)));
    command.env("DATABASE_URL", url);
    command
}

/// Runs a command to its end with its output in `log`; one that takes too long is told to stop, then made to.
fn watched(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let begun = Instant::now();
    let mut told = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let late = begun.elapsed().saturating_sub(PATIENCE);
        if !late.is_zero() && !told {
            told = true;
            let _ = Command::new("kill").arg(child.id().to_string()).status();
        }
        if late > Duration::from_secs(20) {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if told {
        bail!("it hung: see {}", log.display());
    }
    if !status.success() {
        let text = fs::read(log)?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        bail!("{status}\n{tail}\n(all of it: {})", log.display());
    }
    Ok(())
}

fn table(rows: &[Row]) {
    println!(
        "\n| {:<16} | {:<34} | {:<11} | {:>6} | {:>6} | result |",
        "client", "version", "over", "checks", "s"
    );
    println!(
        "|{}|{}|{}|-------:|-------:|--------|",
        "-".repeat(18),
        "-".repeat(36),
        "-".repeat(13)
    );
    for row in rows {
        println!(
            "| {:<16} | {:<34} | {:<11} | {:>6} | {:>6.1} | {:<6} |",
            row.client.name,
            row.version,
            row.way.name(),
            row.checks,
            row.took.as_secs_f64(),
            if row.failure.is_some() {
                "FAILED"
            } else {
                "ok"
            }
        );
    }
}
