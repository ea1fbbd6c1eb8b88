//! Running PostgreSQL's client programs in the cluster, from [`Connector`]; what dumps and restores share.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use pglite_oxide_cluster::{ExitStatus, Output, Program, RunningProgram};

use crate::connector::Connector;
use crate::error::{Error, Result};

/// Lines of a program's standard error that are kept for an error's text.
const KEPT_LINES: usize = 40;
/// Bytes moved at a time.
const CHUNK: usize = 64 * 1024;

impl Connector {
    /// Describes a run of one of PostgreSQL's client programs, as this connector's role and on its database unless its arguments say otherwise. `psql`, `pg_dump`,
    /// `pg_restore`, `pg_dumpall`, `pgbench`, `vacuumdb`, `reindexdb`, `pg_amcheck`, `pg_basebackup`, `pg_verifybackup`, `pg_waldump` and others are there:
    /// [`crate::Cluster::programs`] lists them. Run it with [`Self::run_program`].
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io::Read as _;
    /// let db = pglite_oxide::Pglite::temporary()?;
    /// let connector = db.connector();
    /// let program = connector.program("psql").args(["-Atc", "SELECT 6 * 7"]).stdout(pglite_oxide::Output::Piped);
    /// let mut running = connector.run_program(program)?;
    /// let mut text = String::new();
    /// running.stdout.take().unwrap().read_to_string(&mut text)?;
    /// running.wait()?;
    /// assert_eq!(text, "42\n");
    /// # Ok(()) }
    /// ```
    pub fn program(&self, name: impl Into<String>) -> Program {
        Program::new(name)
            .env("PGUSER", self.role())
            .env("PGDATABASE", self.database_name())
            .env("PGCLIENTENCODING", "UTF8")
    }

    /// Starts a program. Any number may run at once; a cancelled one is killed by dropping what is returned.
    ///
    /// # Errors
    /// [`Error::Program`] when it cannot be started.
    pub fn run_program(&self, program: Program) -> Result<RunningProgram> {
        Ok(self.cluster.run_program(program)?)
    }
}

/// The last lines that a program wrote to its standard error.
#[derive(Clone, Default)]
pub(crate) struct Complaints(Arc<Mutex<VecDeque<String>>>);

impl Complaints {
    /// What takes them.
    pub(crate) fn output(&self) -> Output {
        let kept = Arc::clone(&self.0);
        Output::Lines(Arc::new(move |line| {
            let mut lines = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == KEPT_LINES {
                lines.pop_front();
            }
            lines.push_back(line.to_owned());
        }))
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Vec::from_iter(lines.iter().map(String::as_str)).join("\n")
    }

    /// Waits for a program's end; anything but success is an error that says what it said.
    pub(crate) fn settle(&self, name: &'static str, mut running: RunningProgram) -> Result<()> {
        let status = running.wait()?;
        // Its standard error is complete only now.
        drop(running);
        let stderr = self.text();
        if status != ExitStatus::Exited(0) {
            return Err(Error::ProgramFailed {
                program: name,
                status,
                stderr,
            });
        }
        for line in stderr.lines() {
            tracing::warn!(target: "pglite_oxide::tools", "{line}");
        }
        Ok(())
    }
}

/// Copies until the end of `from`; the bytes copied.
pub(crate) fn copy_all(
    from: &mut impl Read,
    to: &mut (impl Write + ?Sized),
    writing: &'static str,
) -> Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Error::ConnectionLost { source }),
        };
        to.write_all(&buffer[..n]).map_err(|source| Error::File {
            what: writing.to_owned(),
            source,
        })?;
        total += n as u64;
    }
}

/// Feeds a program's standard input until `from` ends, or the program wants no more; the bytes fed.
pub(crate) fn feed(from: &mut (impl Read + ?Sized), to: &mut impl Write) -> Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(Error::File {
                    what: "reading the dump".to_owned(),
                    source,
                });
            }
        };
        if to.write_all(&buffer[..n]).is_err() {
            // It has ended, and its status says why.
            return Ok(total);
        }
        total += n as u64;
    }
}
