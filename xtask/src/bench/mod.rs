//! `cargo xtask bench`: builds the driver (`bench/driver`) and runs it beside native PostgreSQL.

mod pgvector;
mod tests;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{process, suite};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// The groups to measure [default: all]: starts, forks, round-trips, speed, pgbench; and, only if they are named, vector: pgvector's indexes, and
    /// tests: what a test costs that has a database of its own
    rows: Vec<String>,
    /// Writes every sample to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rows of vector
    #[arg(long, default_value_t = 100_000)]
    vector_rows: u32,
    /// A tenth of the work: to see that it runs, not to quote
    #[arg(long)]
    quick: bool,
}

/// Builds the driver in release mode and hands over to it.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.rows.iter().any(|row| row == "tests") {
        tests::run(options.quick)?;
        if options.rows.len() == 1 {
            return Ok(());
        }
    }
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
    let pgvector = options
        .rows
        .iter()
        .any(|row| row == "vector")
        .then(|| pgvector::build(&native))
        .transpose()?;
    command
        .args(["--", "run", "--native"])
        .arg(native)
        .args(options.rows.iter().filter(|row| *row != "tests"));
    if let Some(dir) = pgvector {
        command.arg("--pgvector").arg(dir);
        command.args(["--vector-rows", &options.vector_rows.to_string()]);
    }
    if options.quick {
        command.arg("--quick");
    }
    if let Some(file) = &options.json {
        command.arg("--json").arg(std::path::absolute(file)?);
    }
    process::shown(&mut command)
}
