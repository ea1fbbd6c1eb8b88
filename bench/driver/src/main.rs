//! `pglite-bench`: the embedded side of the suites and benches, in a process of its own.

use std::error::Error;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use pglite_oxide::PgliteServer;

#[derive(Parser)]
#[command(name = "pglite-bench")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Serves a database until standard input ends; says where in one line of JSON
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// Keeps the data in this directory [default: in memory]
    #[arg(long)]
    path: Option<PathBuf>,
    /// Lets every client in over TCP
    #[arg(long)]
    no_password: bool,
    /// Grants a directory of the host to the guest
    #[arg(long, value_name = "DIR")]
    mount: Vec<PathBuf>,
    /// A setting of PostgreSQL
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<String>,
}

fn main() -> ExitCode {
    let Task::Serve(options) = Cli::parse().task;
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pglite-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Serve) -> Result<(), Box<dyn Error>> {
    let mut builder = PgliteServer::builder().tcp("127.0.0.1:0".parse()?);
    for setting in &options.config {
        let (name, value) = setting.split_once('=').ok_or("--config takes NAME=VALUE")?;
        builder = builder.postgres_config(name, value);
    }
    for directory in options.mount {
        builder = builder.grant_directory(directory);
    }
    if let Some(path) = options.path {
        builder = builder.path(path);
    }
    if options.no_password {
        builder = builder.without_password();
    }
    let server = builder.start()?;
    println!(
        "{}",
        serde_json::json!({ "tcp": server.database_url(), "pid": std::process::id() })
    );
    std::io::stdin().read_to_end(&mut Vec::new())?;
    server.shutdown()?;
    Ok(())
}
