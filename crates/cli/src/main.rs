//! `pglite`: an embedded PostgreSQL from the command line.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand};
use pglite_oxide::PgliteServer;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A whole PostgreSQL 18 in this process: nothing to install, nothing left behind.
#[derive(Parser)]
#[command(name = "pglite", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Serves a database until interrupted; prints its URL on standard output
    ///
    /// Example: psql "$(pglite serve --path ./data)"  (in another terminal; the URL is the first line)
    Serve(Database),
    /// Runs a command with DATABASE_URL set to a database of its own; exits as the command does
    ///
    /// Example: pglite run -- cargo test
    Run {
        #[command(flatten)]
        database: Database,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
}

/// Which database, and where it listens.
#[derive(Args)]
struct Database {
    /// Keeps the data in this directory [default: in memory]
    #[arg(long, short = 'p', value_name = "DIR")]
    path: Option<PathBuf>,
    /// Listens on this TCP address [default: a free port of 127.0.0.1, unless --unix is given]
    #[arg(long, value_name = "ADDR:PORT")]
    tcp: Option<SocketAddr>,
    /// Listens on this Unix socket, or on .s.PGSQL.5432 in this directory
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Lets everybody in over TCP who can reach the address
    #[arg(long)]
    no_password: bool,
    /// A setting of PostgreSQL; may be given several times
    #[arg(long = "set", short = 'c', value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not of the form NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Database {
    fn start(self) -> pglite_oxide::Result<PgliteServer> {
        let mut builder = PgliteServer::builder().postgres_configs(self.settings);
        if let Some(path) = self.path {
            builder = builder.path(path);
        }
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

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Task::Serve(database) => serve(database),
        Task::Run { database, command } => run(database, &command),
    };
    outcome.unwrap_or_else(|error| {
        eprint!("pglite: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            eprint!(": {cause}");
            source = cause.source();
        }
        eprintln!();
        ExitCode::FAILURE
    })
}

fn serve(database: Database) -> Result<ExitCode, Box<dyn Error>> {
    // Before the server's threads start, so that none of them takes the signal its own way.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let server = database.start()?;
    println!("{}", server.database_url());
    eprintln!("pglite: press Ctrl-C to stop");
    let _ = signals.forever().next();
    server.shutdown()?;
    Ok(ExitCode::SUCCESS)
}

fn run(database: Database, command: &[std::ffi::OsString]) -> Result<ExitCode, Box<dyn Error>> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("no command given".into());
    };
    let server = database.start()?;
    let mut child = Command::new(program);
    child
        .args(arguments)
        .env("DATABASE_URL", server.database_url());
    let status = child
        .status()
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    server.shutdown()?;
    // As a shell tells it.
    let code = status.code().unwrap_or_else(|| {
        128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0)
    });
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
