//! `cargo xtask bench`: builds the driver (`bench/driver`) and runs it beside native PostgreSQL.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{process, suite};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// The rows to measure [default: all]; `list` names them
    rows: Vec<String>,
    /// Writes every sample to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A tenth of the work: to see that it runs, not to quote
    #[arg(long)]
    quick: bool,
    /// Native PostgreSQL only: checks the driver without ours
    #[arg(long)]
    native_only: bool,
}

/// Builds the driver in release mode and hands over to it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let native = match std::env::var_os("PGLITE_OXIDE_NATIVE") {
        Some(dir) => PathBuf::from(dir),
        None => suite::native_postgres()?,
    };
    let mut command = suite::cargo();
    command.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "pglite-oxide-bench",
    ]);
    if options.native_only {
        command.arg("--no-default-features");
    }
    command
        .args(["--", "run", "--native"])
        .arg(native)
        .args(&options.rows);
    if options.quick {
        command.arg("--quick");
    }
    if let Some(file) = &options.json {
        command.arg("--json").arg(std::path::absolute(file)?);
    }
    process::shown(&mut command)
}
