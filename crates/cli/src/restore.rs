//! `pglite restore`.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use pglite_oxide::{Connector, Error, PgRestoreOptions};

use crate::database::Database;
use crate::outcome::Outcome;
use crate::progress::{Counted, bytes};

/// `pglite restore`.
#[derive(Args, Debug)]
pub struct Restore {
    #[command(flatten)]
    database: Database,
    /// The dump: a file, a directory of the directory format, or - for standard input
    #[arg(value_name = "DUMP")]
    dump: PathBuf,
    /// All or nothing
    #[arg(long, short = '1')]
    single_transaction: bool,
    /// Drops what is about to be restored first (archives only)
    #[arg(long)]
    clean: bool,
    /// Goes on after errors
    #[arg(long, short = 'i')]
    ignore_errors: bool,
    /// Processes at a time, for the directory format
    #[arg(long, short = 'j', value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Shows no progress
    #[arg(long, short = 'q')]
    quiet: bool,
    /// pg_restore's own options, such as --table=NAME or --no-owner (archives only)
    #[arg(last = true, value_name = "PG_RESTORE OPTION")]
    args: Vec<String>,
}

/// Restores.
pub fn run(options: Restore) -> Outcome {
    if options.database.path().is_none() {
        return Err(
            "into which database? Give its directory with --path; it is made if there is none"
                .into(),
        );
    }
    let is_stdin = options.dump.as_os_str() == "-";
    if is_stdin && io::stdin().is_terminal() {
        return Err("standard input is a terminal: redirect a dump to it, or name a file".into());
    }
    // Before a database is made for nothing.
    let source = if is_stdin || options.dump.is_dir() {
        None
    } else {
        Some(File::open(&options.dump).map_err(|source| Error::File {
            what: format!("opening {}", options.dump.display()),
            source,
        })?)
    };
    let open = options.database.open()?;
    let outcome = restore(&open.connector, &options, source);
    open.close()?;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

fn restore(connector: &Connector, options: &Restore, source: Option<File>) -> Result<(), Error> {
    let mut arguments = PgRestoreOptions::new()
        .single_transaction(options.single_transaction)
        .clean(options.clean)
        .ignore_errors(options.ignore_errors);
    for arg in &options.args {
        arguments = arguments.arg(arg);
    }
    if options.dump.is_dir() {
        return connector.restore_directory(&options.dump, &arguments, options.jobs);
    }
    let total = source
        .as_ref()
        .and_then(|file| file.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|meta| meta.len());
    let inner: Box<dyn Read> = match source {
        Some(file) => Box::new(file),
        None => Box::new(io::stdin().lock()),
    };
    let bar = bytes("restoring", total, options.quiet);
    let mut counted = Counted { inner, bar };
    let outcome = connector.restore_dump(&mut counted, &arguments);
    counted.bar.finish_and_clear();
    outcome.map(drop)
}
