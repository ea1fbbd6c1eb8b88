//! `pglite-bench`: measures the embedded server beside native PostgreSQL of the same version, and serves it to the suites in a process of its own.

mod forks;
mod pgbench;
mod report;
mod serve;
mod speed;
mod starts;
mod vector;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use pglite_oxide_native::Install;

use crate::report::Report;

#[derive(Parser)]
#[command(name = "pglite-bench")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Serves a database until standard input ends; says where in one line of JSON
    Serve(serve::Options),
    /// Measures both sides, interleaved, and prints a table of medians
    Run(Run),
    /// One start in a process of its own, for the rows "new process"
    #[command(hide = true)]
    FirstStart(starts::First),
}

/// What to measure.
#[derive(Args)]
struct Run {
    /// The groups to measure [default: all but vector]: starts, forks, round-trips, speed, pgbench, vector
    groups: Vec<String>,
    /// The installation directory of native PostgreSQL
    #[arg(long)]
    native: PathBuf,
    /// The directory of native pgvector: lib/vector.so, share/extension
    #[arg(long)]
    pgvector: Option<PathBuf>,
    /// Rows of the group vector
    #[arg(long, default_value_t = 100_000)]
    vector_rows: u32,
    /// Writes every sample to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// A tenth of the work: to see that it runs, not to quote
    #[arg(long)]
    quick: bool,
}

/// Settings that both sides have: results depend on them, and native's defaults differ in none.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("autovacuum", "off"),
    ("jit", "off"),
    ("shared_buffers", "128MB"),
];

fn settings() -> Vec<(String, String)> {
    SETTINGS
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Serve(options) => serve::run(options),
        Task::Run(options) => run(&options),
        Task::FirstStart(options) => starts::first(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pglite-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Run) -> Result<()> {
    let install = Install::at(&options.native)?;
    let wanted =
        |group: &str| options.groups.is_empty() || options.groups.iter().any(|name| name == group);
    let mut report = Report::default();
    if wanted("starts") {
        starts::starts(&install, options.quick, &mut report)?;
        starts::with_vector(options.quick, &mut report)?;
    }
    if wanted("forks") {
        forks::run(&install, options.quick, &mut report)?;
    }
    if wanted("round-trips") {
        starts::round_trips(&install, options.quick, &mut report)?;
    }
    if wanted("speed") {
        speed::run(&install, options.quick, &mut report)?;
    }
    if wanted("pgbench") {
        pgbench::run(&install, options.quick, &mut report)?;
    }
    if let Some(pgvector) = options.pgvector.as_ref().filter(|_| wanted("vector")) {
        let rows = if options.quick {
            options.vector_rows / 10
        } else {
            options.vector_rows
        };
        vector::run(&install, pgvector, rows, &mut report)?;
    }
    report.print();
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}
