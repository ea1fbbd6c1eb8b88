//! `pglite-dump`: dumps the database of a directory as SQL.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pglite_oxide_cli::{dump, outcome};

/// Dumps the database in a directory to standard output, as SQL
#[derive(Parser)]
#[command(
    name = "pglite-dump",
    version,
    after_help = "\
Examples:
  pglite-dump --root ./data > data.sql
  pglite-dump --root ./data -- --schema-only --no-owner

`pglite dump` has more formats."
)]
struct Cli {
    /// The database's directory
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// pg_dump's own options
    #[arg(last = true, value_name = "PG_DUMP OPTION")]
    args: Vec<String>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    outcome::finish("pglite-dump", dump::plain(cli.root, cli.args))
}
