//! `pglite serve` and `pglite run`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;
use pglite_oxide::PgliteServer;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::database::{Place, address};
use crate::outcome::Outcome;

/// What every client takes, JDBC's too.
pub const SCRAM_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("not zero");

/// Which database, and where it listens.
#[derive(Args, Clone, Debug)]
pub struct Served {
    #[command(flatten)]
    place: Place,
    /// Listens on this TCP address [default: a free port of 127.0.0.1, unless --unix is given]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    tcp: Option<SocketAddr>,
    /// Listens on this Unix socket, or on .s.PGSQL.5432 in this directory
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Lets everybody in over TCP who can reach the address
    #[arg(long)]
    no_password: bool,
    /// How often clients hash the password when they connect over TCP. JDBC wants 4096; 1 is as safe, since the password is random, and saves a client in a debug build of Rust 50 ms
    #[arg(long, value_name = "N", default_value_t = SCRAM_ITERATIONS)]
    scram_iterations: NonZeroU32,
}

impl Served {
    fn start(self) -> pglite_oxide::Result<PgliteServer> {
        let mut builder = self.place.server().scram_iterations(self.scram_iterations);
        if let Some(address) = self.tcp {
            builder = builder.tcp(address);
        }
        if let Some(path) = self.unix {
            builder = builder.unix(path);
        }
        if self.no_password {
            builder = builder.without_password();
        }
        builder.start()
    }
}

/// Serves until interrupted.
pub fn serve(database: Served) -> Outcome {
    serve_until_interrupted(
        || database.start(),
        |server| println!("{}", server.database_url()),
    )
}

/// Starts a server, tells of it, and stops it at the first SIGINT or SIGTERM.
pub fn serve_until_interrupted(
    start: impl FnOnce() -> pglite_oxide::Result<PgliteServer>,
    tell: impl FnOnce(&PgliteServer),
) -> Outcome {
    // Before the server's threads start, so that none of them takes the signal its own way.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let server = start()?;
    tell(&server);
    eprintln!("pglite: press Ctrl-C to stop");
    let _ = signals.forever().next();
    server.shutdown()?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a command with a database of its own.
pub fn run(database: Served, command: &[std::ffi::OsString]) -> Outcome {
    let Some((program, arguments)) = command.split_first() else {
        return Err("no command given".into());
    };
    // Before the server's threads and the child start: neither is to die of a signal that ends this process in order.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let server = database.start()?;
    let mut child = Command::new(program);
    child.args(arguments).envs(server.environment());
    for other in PgliteServer::OTHER_VARIABLES {
        child.env_remove(other);
    }
    let mut child = child
        .spawn()
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let handle = signals.handle();
    let pid = i32::try_from(child.id())?;
    let passing = std::thread::spawn(move || {
        for signal in signals.forever() {
            // A terminal has sent its Ctrl-C to the child as well.
            if signal != SIGINT || !std::io::stdin().is_terminal() {
                pass_on(pid, signal);
            }
        }
    });
    let status = child.wait();
    handle.close();
    // By a panic only.
    let _ = passing.join();
    let status = status?;
    server.shutdown()?;
    // As a shell tells it.
    let code = status.code().unwrap_or_else(|| {
        128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0)
    });
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Sends the child the signal that this process got. If it has just ended, there is nothing to tell it.
fn pass_on(pid: i32, signal: i32) {
    if let (Some(pid), Some(signal)) = (Pid::from_raw(pid), Signal::from_named_raw(signal)) {
        let _ = kill_process(pid, signal);
    }
}
