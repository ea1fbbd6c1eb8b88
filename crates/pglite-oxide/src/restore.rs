//! Restores: `psql` for SQL, `pg_restore` for archives.

use std::io::{self, Read};
use std::path::Path;

use pglite_oxide_cluster::{Input, Program};

use crate::connector::Connector;
use crate::dump::connection_string;
use crate::error::{Error, Result};
use crate::program::{Complaints, feed};
use crate::server::PgliteServer;
use crate::session::Pglite;

/// Bytes that tell the formats apart: a tar file's mark is the farthest.
const HEAD: usize = 263;
/// What an archive of `pg_dump -Fc` begins with.
const ARCHIVE: &[u8] = b"PGDMP";
/// Where a tar file says that it is one.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// How to restore. By default into the handle's database, stopping at the first error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PgRestoreOptions {
    database: Option<String>,
    username: Option<String>,
    single_transaction: bool,
    clean: bool,
    ignore_errors: bool,
    args: Vec<String>,
}

impl PgRestoreOptions {
    /// Everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The database to restore into, instead of the handle's. It must exist.
    #[must_use]
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// The role that restores, instead of the handle's.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// All or nothing.
    #[must_use]
    pub fn single_transaction(mut self, enabled: bool) -> Self {
        self.single_transaction = enabled;
        self
    }

    /// Drops what is about to be restored first, where it is there (`--clean --if-exists`). Archives only: a dump as SQL says itself whether it drops.
    #[must_use]
    pub fn clean(mut self, enabled: bool) -> Self {
        self.clean = enabled;
        self
    }

    /// Goes on after errors, which are logged.
    #[must_use]
    pub fn ignore_errors(mut self, enabled: bool) -> Self {
        self.ignore_errors = enabled;
        self
    }

    /// Adds an argument for `pg_restore`, such as `--table=t` or `--no-owner`; a dump as SQL has no use for it and refuses it.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }
}

/// What a dump turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sql,
    Custom,
    Tar,
}

impl Kind {
    fn of(head: &[u8]) -> Self {
        if head.starts_with(ARCHIVE) {
            Self::Custom
        } else if head
            .get(TAR.0..)
            .is_some_and(|rest| rest.starts_with(TAR.1))
        {
            Self::Tar
        } else {
            Self::Sql
        }
    }
}

impl Connector {
    /// Restores a dump: SQL, or an archive in the custom or tar format; which one it is, its first bytes say. Blocks until it is restored. `psql`'s commands in a dump
    /// as SQL work, but reach nothing of the host. Returns the bytes read.
    ///
    /// # Errors
    /// [`Error::ProgramFailed`] with what the program said, at the first error of PostgreSQL's unless the options say otherwise; [`Error::File`] when
    /// `dump` cannot be read, [`Error::InvalidArgument`] when it is empty.
    pub fn restore_dump(&self, mut dump: impl Read, options: &PgRestoreOptions) -> Result<u64> {
        let mut head = [0; HEAD];
        let n = read_head(&mut dump, &mut head)?;
        if n == 0 {
            return Err(Error::argument("dump", "it is empty"));
        }
        let kind = Kind::of(&head[..n]);
        let (name, program) = match kind {
            Kind::Sql => ("psql", self.psql(options)?),
            Kind::Custom => ("pg_restore", self.pg_restore(options).arg("--format=c")),
            Kind::Tar => ("pg_restore", self.pg_restore(options).arg("--format=t")),
        };
        let complaints = Complaints::default();
        let mut running =
            self.run_program(program.stdin(Input::Piped).stderr(complaints.output()))?;
        let mut total = 0;
        if let Some(mut stdin) = running.stdin.take() {
            total = feed(&mut head[..n].chain(&mut dump), &mut stdin)?;
        }
        complaints.settle(name, running)?;
        Ok(total)
    }

    /// Restores a dump in the directory format from a directory of the host, with `jobs` processes at a time.
    ///
    /// # Errors
    /// See [`Self::restore_dump`].
    pub fn restore_directory(
        &self,
        directory: impl AsRef<Path>,
        options: &PgRestoreOptions,
        jobs: usize,
    ) -> Result<()> {
        let granted = self.cluster.grant(directory.as_ref())?;
        let complaints = Complaints::default();
        let mut program = self
            .pg_restore(options)
            .arg("--format=d")
            .current_dir(granted)
            .stderr(complaints.output());
        if jobs > 1 {
            program = program.arg(format!("--jobs={jobs}"));
        }
        let running = self.run_program(program.arg("."))?;
        complaints.settle("pg_restore", running)
    }

    fn restore_database<'a>(&'a self, options: &'a PgRestoreOptions) -> String {
        connection_string(options.database.as_deref().unwrap_or(self.database_name()))
    }

    fn restore_program(&self, name: &str, options: &PgRestoreOptions) -> Program {
        let program = self.program(name);
        match &options.username {
            Some(username) => program.env("PGUSER", username),
            None => program,
        }
    }

    fn psql(&self, options: &PgRestoreOptions) -> Result<Program> {
        if options.clean || !options.args.is_empty() {
            return Err(Error::argument(
                "options",
                "arguments of pg_restore mean nothing for a dump as SQL: make one in the custom format",
            ));
        }
        let mut program = self.restore_program("psql", options).args([
            "--no-psqlrc",
            "--quiet",
            "--file=-",
            "--output=/dev/null",
        ]);
        if !options.ignore_errors {
            program = program.arg("--set=ON_ERROR_STOP=1");
        }
        if options.single_transaction {
            program = program.arg("--single-transaction");
        }
        Ok(program.arg(format!("--dbname={}", self.restore_database(options))))
    }

    fn pg_restore(&self, options: &PgRestoreOptions) -> Program {
        let mut program = self
            .restore_program("pg_restore", options)
            .arg(format!("--dbname={}", self.restore_database(options)));
        if !options.ignore_errors {
            program = program.arg("--exit-on-error");
        }
        if options.single_transaction {
            program = program.arg("--single-transaction");
        }
        if options.clean {
            program = program.args(["--clean", "--if-exists"]);
        }
        program.args(&options.args)
    }
}

/// Fills `head` as far as there are bytes; their number.
fn read_head(dump: &mut impl Read, head: &mut [u8]) -> Result<usize> {
    let mut n = 0;
    while n < head.len() {
        match dump.read(&mut head[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(Error::File {
                    what: "reading the dump".to_owned(),
                    source,
                });
            }
        }
    }
    Ok(n)
}

macro_rules! delegates {
    ($handle:ty) => {
        impl $handle {
            /// Restores a dump into the database: see [`Connector::restore_dump`].
            ///
            /// # Errors
            /// See [`Connector::restore_dump`].
            pub fn restore_dump(&self, dump: impl Read) -> Result<u64> {
                self.connector()
                    .restore_dump(dump, &PgRestoreOptions::new())
            }
        }
    };
}

delegates!(Pglite);
delegates!(PgliteServer);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_format() {
        assert_eq!(Kind::of(b"--\n-- PostgreSQL database dump\n"), Kind::Sql);
        assert_eq!(Kind::of(b"PGDMP\x01\x10"), Kind::Custom);
        let mut tar = [0_u8; HEAD];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(Kind::of(&tar), Kind::Tar);
        assert_eq!(Kind::of(b""), Kind::Sql);
    }
}
