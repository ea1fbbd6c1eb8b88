//! `pglite dump` and `pglite-dump`.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use pglite_oxide::{Connector, DumpFormat, Error, PgDumpOptions};

use crate::database::Database;
use crate::outcome::Outcome;
use crate::progress::{Counted, bytes};

/// The form of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// SQL
    #[value(alias = "p")]
    Plain,
    /// pg_dump's archive, for `pglite restore` and pg_restore
    #[value(alias = "c")]
    Custom,
    /// A tar file
    #[value(alias = "t")]
    Tar,
    /// A directory with a file for each table, dumped in parallel
    #[value(alias = "d")]
    Directory,
}

/// `pglite dump`.
#[derive(Args, Debug)]
pub struct Dump {
    #[command(flatten)]
    database: Database,
    /// The form of the dump
    #[arg(long, short = 'F', value_enum, default_value_t = Format::Plain)]
    format: Format,
    /// Writes to this file, or new directory [default: standard output]
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Processes at a time, for the directory format
    #[arg(long, short = 'j', value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// All databases and roles, as SQL
    #[arg(long, conflicts_with = "format")]
    all: bool,
    /// Shows no progress
    #[arg(long, short = 'q')]
    quiet: bool,
    /// pg_dump's own options, such as --schema-only or --table=NAME
    #[arg(last = true, value_name = "PG_DUMP OPTION")]
    args: Vec<String>,
}

/// Dumps.
pub fn run(options: Dump) -> Outcome {
    options.database.must_exist()?;
    let archive = matches!(options.format, Format::Custom | Format::Tar);
    if archive && options.output.is_none() && io::stdout().is_terminal() {
        return Err("an archive is nothing to look at: give a file with --output".into());
    }
    let open = options.database.open()?;
    let outcome = write(&open.connector, &options).map_err(explain);
    open.close()?;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

fn write(connector: &Connector, options: &Dump) -> Result<(), Error> {
    let arguments = PgDumpOptions::new().args(options.args.iter().cloned());
    let arguments = match options.format {
        Format::Plain => arguments,
        Format::Custom => arguments.format(DumpFormat::Custom),
        Format::Tar => arguments.format(DumpFormat::Tar),
        Format::Directory => {
            let Some(directory) = &options.output else {
                return Err(file_error(
                    "the directory format needs --output",
                    io::ErrorKind::InvalidInput.into(),
                ));
            };
            return connector.dump_directory(arguments, directory, options.jobs);
        }
    };
    match &options.output {
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            dump(connector, arguments, options.all, &mut out)?;
            out.flush()
                .map_err(|source| file_error("writing standard output", source))
        }
        Some(path) => to_file(path, |file| {
            let bar = bytes("dumping", None, options.quiet);
            let mut out = Counted {
                inner: BufWriter::new(file),
                bar,
            };
            dump(connector, arguments, options.all, &mut out)?;
            out.bar.finish_and_clear();
            out.flush()
                .map_err(|source| file_error(&format!("writing {}", path.display()), source))
        }),
    }
}

fn dump(
    connector: &Connector,
    options: PgDumpOptions,
    all: bool,
    out: &mut impl io::Write,
) -> Result<u64, Error> {
    if all {
        connector.dump_all_to(options, out)
    } else {
        connector.dump_to(options, out)
    }
}

/// Writes a file that is there whole or not at all.
fn to_file(path: &Path, fill: impl FnOnce(&File) -> Result<(), Error>) -> Result<(), Error> {
    let told = |source| file_error(&format!("writing {}", path.display()), source);
    // Devices and pipes (/dev/stdout) are written to as they are.
    if path.exists() && !path.is_file() {
        return fill(&File::options().write(true).open(path).map_err(told)?);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let file = File::create(&partial).map_err(told)?;
    let outcome = fill(&file).and_then(|()| {
        file.sync_all()
            .and_then(|()| fs::rename(&partial, path))
            .map_err(told)
    });
    if outcome.is_err() {
        let _ = fs::remove_file(&partial);
    }
    outcome
}

fn file_error(what: &str, source: io::Error) -> Error {
    Error::File {
        what: what.to_owned(),
        source,
    }
}

/// Says what to do on the command line where the library names its methods.
fn explain(error: Error) -> Box<dyn std::error::Error> {
    match error {
        Error::RefusedOption { option, .. } => format!(
            "{option} cannot be given after --: see the options before it (pglite dump --help)"
        )
        .into(),
        error => error.into(),
    }
}

/// `pglite-dump`: the database of a directory, as SQL, on standard output.
pub fn plain(root: PathBuf, args: Vec<String>) -> Outcome {
    run(Dump {
        database: Database::at(Some(root)),
        format: Format::Plain,
        output: None,
        jobs: 1,
        all: false,
        quiet: true,
        args,
    })
}
