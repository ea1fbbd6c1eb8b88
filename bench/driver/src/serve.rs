//! A server for other programs.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use pglite_oxide::{Pglite, PgliteServer};

#[derive(Args)]
pub(crate) struct Options {
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
    /// Serves a database that was opened from a snapshot of one with these options, which is gone by then
    #[arg(long, conflicts_with = "path")]
    forked: bool,
}

/// Serves until standard input ends.
pub(crate) fn run(options: Options) -> Result<()> {
    let mut builder = PgliteServer::builder().tcp("127.0.0.1:0".parse()?);
    let mut original = Pglite::builder().fresh_temporary();
    for setting in &options.config {
        let (name, value) = setting
            .split_once('=')
            .context("--config takes NAME=VALUE")?;
        builder = builder.postgres_config(name, value);
        original = original.postgres_config(name, value);
    }
    for directory in options.mount {
        builder = builder.grant_directory(&directory);
        original = original.grant_directory(directory);
    }
    if let Some(path) = options.path {
        builder = builder.path(path);
    }
    if options.forked {
        let snapshot = original.open()?.snapshot()?;
        builder = builder.snapshot(&snapshot);
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
