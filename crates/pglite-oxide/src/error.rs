//! What can go wrong, as callers see it.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use pglite_oxide_cluster::{
    BackupError, ConnectError, ExitStatus, PackError, ProgramError, ShutdownError, SnapshotError,
    StartError,
};
use serde_json::Value;

use crate::options::QueryOptions;
use crate::protocol::DatabaseError;

/// An error of somebody else's, as [`Error::other`] takes it and parsers and serializers return it.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// Result of the operations of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
///
/// It implements [`std::error::Error`], so `?` turns it into `anyhow::Error`, `eyre::Report` or `Box<dyn Error>`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// PostgreSQL refused a statement: [`Error::sqlstate`] says why. The session can be used further.
    #[error("{0}")]
    Database(#[source] PgliteError),
    /// The cluster did not start ([`crate::PgliteBuilder::open`], [`crate::PgliteServerBuilder::start`]).
    #[error(transparent)]
    Start(StartError),
    /// An extension pack cannot be used; nothing was started or made ([`crate::PgliteBuilder::extension_pack`]).
    #[error(transparent)]
    Pack(Arc<PackError>),
    /// No new session could be opened ([`crate::Pglite::connect`], [`crate::Connector::connect`]).
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The cluster did not shut down in order ([`crate::Pglite::close`], [`crate::PgliteServer::shutdown`]).
    #[error(transparent)]
    Shutdown(#[from] ShutdownError),
    /// A client program could not be run ([`crate::Connector::run_program`], dumps and restores).
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A client program ran and failed (dumps and restores).
    #[error("{program} failed with {}: {stderr}", told(*status))]
    ProgramFailed {
        /// Which.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it wrote to its standard error.
        stderr: String,
    },
    /// An option of a client program that is decided otherwise ([`crate::PgDumpOptions::arg`]).
    #[error("{option} cannot be given here: {instead}")]
    RefusedOption {
        /// The option's long name.
        option: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// The database could not be copied ([`crate::Pglite::snapshot`], [`crate::Pglite::fork`], [`crate::Snapshot::open`]).
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// No backup was made ([`crate::Pglite::backup`]).
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The session's backend is gone: it was terminated, it crashed, or another backend's crash made PostgreSQL restart them all.
    /// The cluster is still there: open a new session with [`crate::Connector::connect`].
    #[error("the session's backend is gone")]
    ConnectionLost {
        /// What the transport said.
        #[source]
        source: io::Error,
    },
    /// The whole cluster has stopped.
    #[error("the database cluster has stopped")]
    ClusterGone,
    /// The session was closed, or an earlier failure (a lost connection, a panic in a callback) made it unusable.
    #[error("the session is closed")]
    Closed,
    /// The session is in the middle of something that was begun through the raw protocol.
    #[error("the session is busy: {0}")]
    Busy(&'static str),
    /// The bytes received are not the PostgreSQL protocol as this crate knows it.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// An argument that cannot be used, found before PostgreSQL was asked.
    #[error("invalid {what}: {reason}")]
    InvalidArgument {
        /// Which argument.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter's JSON value has no form of the parameter's type ([`crate::Pglite::query`]).
    #[error("cannot write parameter ${number} as a value of the type with OID {type_id}")]
    Serialize {
        /// The parameter's number, from 1.
        number: usize,
        /// The type PostgreSQL expects.
        type_id: i32,
        /// Why not.
        #[source]
        source: BoxError,
    },
    /// A listening socket could not be made ([`crate::PgliteServerBuilder::start`]).
    #[error("cannot listen on {address}")]
    Listen {
        /// The address or path.
        address: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file beside the database could not be read or written.
    #[error("{what}")]
    File {
        /// What was tried, with the path.
        what: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// An error of the caller's own code, given to [`Error::other`].
    #[error("{0}")]
    Other(#[source] BoxError),
}

fn told(status: ExitStatus) -> String {
    match status {
        ExitStatus::Exited(code) => format!("status {code}"),
        ExitStatus::Signaled(signo) => format!("signal {signo}"),
    }
}

impl Error {
    /// Wraps an error of the caller's, for closures that must return this crate's (see [`crate::Pglite::transaction`]).
    pub fn other(error: impl Into<BoxError>) -> Self {
        Self::Other(error.into())
    }

    /// What PostgreSQL said, if it was PostgreSQL that refused: also when it refused a new session.
    #[must_use]
    pub fn database_error(&self) -> Option<&DatabaseError> {
        match self {
            Self::Database(error) => Some(error.database_error()),
            _ => None,
        }
    }

    /// The five characters of PostgreSQL's error code, such as `23505` for a unique violation.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.database_error()?.code.as_deref()
    }

    /// The first error of this type in the chain of sources, this one included.
    #[must_use]
    pub fn downcast_ref<T: StdError + 'static>(&self) -> Option<&T> {
        let mut error: &(dyn StdError + 'static) = self;
        loop {
            if let Some(found) = error.downcast_ref::<T>() {
                return Some(found);
            }
            error = error.source()?;
        }
    }

    pub(crate) fn argument(what: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidArgument {
            what,
            reason: reason.into(),
        }
    }

    pub(crate) fn protocol(what: impl fmt::Display) -> Self {
        Self::Protocol(what.to_string())
    }
}

/// PostgreSQL's error with the statement that caused it.
#[derive(Clone)]
pub struct PgliteError(Box<Context>);

/// Behind a pointer, so that results stay small.
#[derive(Clone)]
struct Context {
    source: DatabaseError,
    query: String,
    params: Vec<Value>,
    query_options: Option<QueryOptions>,
}

impl PgliteError {
    /// Joins an error with its statement.
    pub fn new(
        source: DatabaseError,
        query: impl Into<String>,
        params: Vec<Value>,
        query_options: Option<QueryOptions>,
    ) -> Self {
        Self(Box::new(Context {
            source,
            query: query.into(),
            params,
            query_options,
        }))
    }

    /// What PostgreSQL said.
    #[must_use]
    pub fn database_error(&self) -> &DatabaseError {
        &self.0.source
    }

    /// The statement; empty for an error outside any (at login, or through the raw protocol).
    #[must_use]
    pub fn query(&self) -> &str {
        &self.0.query
    }

    /// Its parameters.
    #[must_use]
    pub fn params(&self) -> &[Value] {
        &self.0.params
    }

    /// The options it was run with.
    #[must_use]
    pub fn query_options(&self) -> Option<&QueryOptions> {
        self.0.query_options.as_ref()
    }
}

impl fmt::Display for PgliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.source, f)
    }
}

impl fmt::Debug for PgliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgliteError")
            .field("source", &self.0.source)
            .field("query", &self.0.query)
            .field("params", &self.0.params)
            .finish_non_exhaustive()
    }
}

impl StdError for PgliteError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0.source)
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Pack(error) => Self::Pack(Arc::new(error)),
            error => Self::Start(error),
        }
    }
}

impl From<DatabaseError> for Error {
    fn from(error: DatabaseError) -> Self {
        Self::Database(PgliteError::new(error, "", Vec::new(), None))
    }
}
