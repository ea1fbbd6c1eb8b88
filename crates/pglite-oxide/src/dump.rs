//! Dumps: `pg_dump` and `pg_dumpall`, of the same version and in the same process as the server.

use std::io::Write;
use std::path::Path;

use pglite_oxide_cluster::{Output, Program};

use crate::connector::Connector;
use crate::error::{Error, Result};
use crate::program::{Complaints, copy_all};
use crate::server::PgliteServer;
use crate::session::Pglite;

/// The form of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DumpFormat {
    /// SQL, which `psql` reads.
    #[default]
    Plain,
    /// `pg_dump`'s own archive (`-Fc`), which `pg_restore` reads: parts of it can be restored.
    Custom,
    /// A tar file (`-Ft`).
    Tar,
}

impl DumpFormat {
    fn letter(self) -> &'static str {
        match self {
            Self::Plain => "p",
            Self::Custom => "c",
            Self::Tar => "t",
        }
    }
}

/// What to dump, and how. The default is the whole database of the handle, as SQL.
///
/// ```no_run
/// # fn main() -> pglite_oxide::Result<()> {
/// use pglite_oxide::{DumpFormat, PgDumpOptions, Pglite};
/// let mut db = Pglite::temporary()?;
/// let schema = db.dump_sql(PgDumpOptions::new().arg("--schema-only"))?;
/// let archive = db.dump_bytes(PgDumpOptions::new().format(DumpFormat::Custom))?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PgDumpOptions {
    args: Vec<String>,
    database: Option<String>,
    username: Option<String>,
    format: DumpFormat,
}

impl PgDumpOptions {
    /// Everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an argument for `pg_dump`, such as `--schema-only` or `--table=t`. What this type has methods for is refused by the dump:
    /// `--file`, `--format`, `--host`, `--port`, `--username`, `--dbname`, `--jobs`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds several.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The database to dump, instead of the handle's.
    #[must_use]
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// The role that reads it, instead of the handle's.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The form of the dump; SQL by default.
    #[must_use]
    pub fn format(mut self, format: DumpFormat) -> Self {
        self.format = format;
        self
    }
}

/// Options that have a method of their own, or no meaning here: long name, letter, what to do instead.
const REFUSED: &[(&str, char, &str)] = &[
    (
        "file",
        'f',
        "take the value that is returned, or write with dump_to",
    ),
    (
        "format",
        'F',
        "use PgDumpOptions::format, or dump_directory",
    ),
    ("host", 'h', "the dump is always of this handle's cluster"),
    ("port", 'p', "the dump is always of this handle's cluster"),
    ("username", 'U', "use PgDumpOptions::username"),
    ("dbname", 'd', "use PgDumpOptions::database"),
    (
        "jobs",
        'j',
        "use dump_directory, whose jobs are an argument",
    ),
];

/// Letters of `pg_dump`'s options that take a value.
const WITH_VALUE: &str = "deEfFhjnNpStTUZ";

/// Refuses what [`REFUSED`] lists, abbreviated or in a row of letters, too.
pub(crate) fn check_args(args: &[String]) -> Result<()> {
    let refuse = |index: usize| {
        let (name, _, instead) = REFUSED[index];
        Err(Error::RefusedOption {
            option: format!("--{name}"),
            instead,
        })
    };
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if word.contains('\0') {
            return Err(Error::argument("argument", "it contains a NUL byte"));
        }
        if word == "--" {
            return Ok(());
        }
        if let Some(long) = word.strip_prefix("--") {
            let name = long.split('=').next().unwrap_or(long);
            if let Some(index) = REFUSED
                .iter()
                .position(|(full, _, _)| full.starts_with(name))
            {
                return refuse(index);
            }
        } else if let Some(letters) = word.strip_prefix('-') {
            let mut letters = letters.chars();
            while let Some(letter) = letters.next() {
                if let Some(index) = REFUSED.iter().position(|(_, short, _)| *short == letter) {
                    return refuse(index);
                }
                if WITH_VALUE.contains(letter) {
                    // The rest of the word is its value, or the next word.
                    if letters.as_str().is_empty() {
                        words.next();
                    }
                    break;
                }
            }
        }
    }
    Ok(())
}

impl Connector {
    fn dump_program(&self, options: &PgDumpOptions, name: &'static str) -> Result<Program> {
        check_args(&options.args)?;
        let mut program = self.program(name);
        if let Some(username) = &options.username {
            program = program.env("PGUSER", username);
        }
        if name == "pg_dump" {
            let database = options.database.as_deref().unwrap_or(self.database_name());
            program = program.arg(format!("--dbname={}", connection_string(database)));
        }
        Ok(program.args(&options.args))
    }

    /// Writes a dump of the database to `out` as it is made, and returns its bytes. The dump is of one moment, whatever other sessions write meanwhile.
    ///
    /// # Errors
    /// [`Error::RefusedOption`] for an argument that this library decides; [`Error::ProgramFailed`] with what `pg_dump` said; [`Error::File`] when
    /// `out` cannot be written: the dump is stopped then.
    pub fn dump_to(&self, options: PgDumpOptions, out: &mut (impl Write + ?Sized)) -> Result<u64> {
        let program = self
            .dump_program(&options, "pg_dump")?
            .arg(format!("--format={}", options.format.letter()));
        self.stream(program, "pg_dump", out)
    }

    fn stream(
        &self,
        program: Program,
        name: &'static str,
        out: &mut (impl Write + ?Sized),
    ) -> Result<u64> {
        let complaints = Complaints::default();
        let program = program.stdout(Output::Piped).stderr(complaints.output());
        let mut running = self.run_program(program)?;
        let mut total = 0;
        if let Some(mut stdout) = running.stdout.take() {
            total = copy_all(&mut stdout, out, "writing the dump")?;
        }
        complaints.settle(name, running)?;
        Ok(total)
    }

    /// A dump in memory, in the form that the options say.
    ///
    /// # Errors
    /// See [`Self::dump_to`].
    pub fn dump_bytes(&self, options: PgDumpOptions) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.dump_to(options, &mut bytes)?;
        Ok(bytes)
    }

    /// A dump as SQL.
    ///
    /// # Errors
    /// See [`Self::dump_to`]; [`Error::InvalidArgument`] for another form than SQL, or a database whose contents are not UTF-8 (`SQL_ASCII`): use
    /// [`Self::dump_bytes`] for those.
    pub fn dump_sql(&self, options: PgDumpOptions) -> Result<String> {
        if options.format != DumpFormat::Plain {
            return Err(Error::argument(
                "format",
                "only the plain format is SQL: use dump_bytes",
            ));
        }
        String::from_utf8(self.dump_bytes(options)?)
            .map_err(|_| Error::argument("dump", "it is not UTF-8 as a whole: use dump_bytes"))
    }

    /// All databases, roles and tablespaces of the cluster as SQL (`pg_dumpall`).
    ///
    /// # Errors
    /// See [`Self::dump_to`].
    pub fn dump_all_to(
        &self,
        options: PgDumpOptions,
        out: &mut (impl Write + ?Sized),
    ) -> Result<u64> {
        if options.format != DumpFormat::Plain {
            return Err(Error::argument(
                "format",
                "all databases can be dumped as SQL only",
            ));
        }
        self.stream(
            self.dump_program(&options, "pg_dumpall")?,
            "pg_dumpall",
            out,
        )
    }

    /// A dump in the directory format (`-Fd`), written to a new directory of the host by `jobs` processes at a time.
    ///
    /// # Errors
    /// See [`Self::dump_to`]; [`Error::File`] when the directory is there already or cannot be made.
    pub fn dump_directory(
        &self,
        options: PgDumpOptions,
        directory: impl AsRef<Path>,
        jobs: usize,
    ) -> Result<()> {
        let directory = directory.as_ref();
        std::fs::create_dir(directory).map_err(|source| Error::File {
            what: format!("making the directory {}", directory.display()),
            source,
        })?;
        let granted = self.cluster.grant(directory)?;
        let complaints = Complaints::default();
        let program = self
            .dump_program(&options, "pg_dump")?
            .args(["--format=d", "--file=."])
            .arg(format!("--jobs={}", jobs.max(1)))
            .current_dir(granted)
            .stderr(complaints.output());
        let running = self.run_program(program)?;
        complaints.settle("pg_dump", running)
    }
}

/// A connection string that names a database, whatever its name looks like.
pub(crate) fn connection_string(database: &str) -> String {
    let quoted = database.replace('\\', r"\\").replace('\'', r"\'");
    format!("dbname='{quoted}'")
}

macro_rules! delegates {
    ($handle:ty) => {
        impl $handle {
            /// A dump of the database as SQL: see [`Connector::dump_sql`].
            ///
            /// # Errors
            /// See [`Connector::dump_to`].
            pub fn dump_sql(&self, options: PgDumpOptions) -> Result<String> {
                self.connector().dump_sql(options)
            }

            /// A dump of the database in the form that the options say: see [`Connector::dump_bytes`].
            ///
            /// # Errors
            /// See [`Connector::dump_to`].
            pub fn dump_bytes(&self, options: PgDumpOptions) -> Result<Vec<u8>> {
                self.connector().dump_bytes(options)
            }
        }
    };
}

delegates!(Pglite);
delegates!(PgliteServer);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str]) -> Result<()> {
        check_args(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_of_ours_are_refused_in_every_spelling() {
        for args in [
            &["--file=x"][..],
            &["--file", "x"],
            &["--fil=x"],
            &["-fx"],
            &["-Fc"],
            &["-sFc"],
            &["--host", "h"],
            &["-p", "1"],
            &["-U", "u"],
            &["--dbname=x"],
            &["-n", "public", "-j4"],
        ] {
            let error = check(args).unwrap_err();
            assert!(
                matches!(error, Error::RefusedOption { .. }),
                "{args:?}: {error}"
            );
        }
        let error = check(&["-j", "4"]).unwrap_err().to_string();
        assert!(
            error.contains("--jobs") && error.contains("dump_directory"),
            "{error}"
        );
    }

    #[test]
    fn other_options_and_their_values_pass() {
        check(&[
            "--schema-only",
            "-n",
            "-file",
            "--table=format",
            "-tjobs",
            "-Z0",
        ])
        .unwrap();
        check(&["--filter=x"]).unwrap();
        check(&["--no-owner", "--data-only", "--", "--file"]).unwrap();
    }

    #[test]
    fn names_of_databases_are_no_connection_strings() {
        assert_eq!(connection_string(r"a='b\"), r"dbname='a=\'b\\'");
    }
}
