//! Opening sessions on a running cluster, from any thread, and cancelling what they do.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use pglite_oxide_cluster::{Cluster, Root};
use postgres_protocol::message::frontend;

use crate::config::check_name;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::session::Pglite;

/// How long a new session may take, the restart of a crashed cluster included.
const LOGIN_PATIENCE: Duration = Duration::from_secs(60);
/// Pause before asking again a cluster that is recovering.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// How long a cancel request may take.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);
/// `cannot_connect_now`: the cluster is starting, or restarting after a crash.
const CANNOT_CONNECT_NOW: &str = "57P03";

/// Opens sessions on one running cluster. Cheap to clone; keeps the cluster alive. `Send` and `Sync`.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut db = pglite_oxide::Pglite::temporary()?;
/// db.exec("CREATE DATABASE other", None)?;
/// let connector = db.connector().database("other");
/// let worker = std::thread::spawn(move || connector.connect()?.exec("CREATE TABLE t (i int)", None));
/// worker.join().unwrap()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Connector {
    pub(crate) cluster: Arc<Cluster>,
    login: Login,
}

/// Who logs in, and where.
#[derive(Clone)]
pub(crate) struct Login {
    username: String,
    database: String,
    parameters: BTreeMap<String, String>,
}

impl Login {
    /// Role and database.
    pub(crate) fn names(&self) -> (String, String) {
        (self.username.clone(), self.database.clone())
    }

    /// What [`Self::of_json`] takes.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!([self.username, self.database, self.parameters])
    }

    /// The login that was described.
    pub(crate) fn of_json(value: &serde_json::Value) -> Option<Self> {
        let text = |(name, value): (&String, &serde_json::Value)| {
            Some((name.clone(), value.as_str()?.to_owned()))
        };
        Some(Self {
            username: value.get(0)?.as_str()?.to_owned(),
            database: value.get(1)?.as_str()?.to_owned(),
            parameters: value
                .get(2)?
                .as_object()?
                .iter()
                .map(text)
                .collect::<Option<_>>()?,
        })
    }

    /// The same login on another cluster.
    pub(crate) fn connector(&self, cluster: Arc<Cluster>) -> Connector {
        Connector {
            cluster,
            login: self.clone(),
        }
    }
}

impl Connector {
    pub(crate) fn new(cluster: Arc<Cluster>, username: &str, database: &str) -> Self {
        Self {
            cluster,
            login: Login {
                username: username.to_owned(),
                database: database.to_owned(),
                parameters: BTreeMap::new(),
            },
        }
    }

    /// True if the cluster, a temporary one, goes away with this connector.
    pub(crate) fn ends_cluster(&self) -> bool {
        Arc::strong_count(&self.cluster) == 1 && *self.cluster.root() == Root::Temporary
    }

    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    /// The role that sessions have; it must exist and have `LOGIN`. Direct sessions need no password.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.login.username = username.into();
        self
    }

    /// The database that sessions are on.
    #[must_use]
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.login.database = database.into();
        self
    }

    /// A parameter of the login: a setting of the session such as `application_name` or `search_path`, or `replication`.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.login.parameters.insert(name.into(), value.into());
        self
    }

    pub(crate) fn role(&self) -> &str {
        &self.login.username
    }

    pub(crate) fn database_name(&self) -> &str {
        &self.login.database
    }

    /// The cluster itself: its processes, its log, its end.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Opens a session. Blocks for the login, a millisecond or so; if the cluster is restarting after a crash, until it is back (at most a minute).
    ///
    /// # Errors
    /// [`Error::Database`] when PostgreSQL refuses (no such role or database, too many connections), [`Error::ClusterGone`] when the cluster has stopped.
    pub fn connect(&self) -> Result<Pglite> {
        check_name("username", &self.login.username)?;
        check_name("database", &self.login.database)?;
        let deadline = Instant::now() + LOGIN_PATIENCE;
        loop {
            match self.log_in(deadline) {
                Ok(connection) => {
                    self.cluster.set_direct(connection.process_id);
                    return Ok(Pglite::new(self.clone(), connection));
                }
                Err(error) if is_restarting(&error) && Instant::now() < deadline => {
                    if !self.cluster.is_running() {
                        return Err(Error::ClusterGone);
                    }
                    std::thread::sleep(RETRY_PAUSE);
                }
                Err(error) => return Err(self.explain(error)),
            }
        }
    }

    fn log_in(&self, deadline: Instant) -> Result<Connection> {
        let stream = self.cluster.connect()?;
        let fixed = [
            ("user", self.login.username.as_str()),
            ("database", self.login.database.as_str()),
            ("client_encoding", "UTF8"),
            ("application_name", "pglite-oxide"),
        ];
        let given = self
            .login
            .parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let fixed = fixed
            .into_iter()
            .filter(|(name, _)| !self.login.parameters.contains_key(*name));
        Connection::open(stream, fixed.chain(given), deadline)
    }

    /// Tells the end of the cluster from the end of one session.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match error {
            Error::ConnectionLost { .. } | Error::Connect(_) if !self.cluster.is_running() => {
                Error::ClusterGone
            }
            error => error,
        }
    }

    pub(crate) fn cancel_token(&self, connection: &Connection) -> CancelToken {
        CancelToken {
            cluster: Arc::downgrade(&self.cluster),
            process_id: connection.process_id,
            secret_key: connection.secret_key,
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("username", &self.login.username)
            .field("database", &self.login.database)
            .field("parameters", &self.login.parameters)
            .finish_non_exhaustive()
    }
}

/// True for what a login meets while the postmaster restarts everything after a crash: it says so, or ends the new backend with the old ones.
fn is_restarting(error: &Error) -> bool {
    matches!(error, Error::ConnectionLost { .. }) || error.sqlstate() == Some(CANNOT_CONNECT_NOW)
}

/// Cancels what a session is doing, from another thread. Cheap to clone; does not keep the cluster alive.
#[derive(Clone)]
pub struct CancelToken {
    cluster: Weak<Cluster>,
    process_id: i32,
    secret_key: i32,
}

/// The same by the name that 0.6's issue gave it.
pub type CancelHandle = CancelToken;

impl CancelToken {
    /// Asks PostgreSQL to cancel the session's current statement, which then fails with SQLSTATE 57014. Without one it does nothing.
    /// Blocks until the request has been passed on, not until the statement has ended.
    ///
    /// # Errors
    /// [`Error::ClusterGone`] when the cluster has stopped, [`Error::Connect`] when it takes no connection.
    pub fn cancel(&self) -> Result<()> {
        let cluster = self.cluster.upgrade().ok_or(Error::ClusterGone)?;
        let mut request = BytesMut::new();
        frontend::cancel_request(self.process_id, self.secret_key, &mut request);
        let mut stream = cluster.connect()?;
        let lost = |source| {
            if cluster.is_running() {
                Error::ConnectionLost { source }
            } else {
                Error::ClusterGone
            }
        };
        stream
            .set_write_timeout(Some(CANCEL_PATIENCE))
            .map_err(lost)?;
        stream
            .set_read_timeout(Some(CANCEL_PATIENCE))
            .map_err(lost)?;
        stream.write_all(&request).map_err(lost)?;
        // The postmaster's child ends the connection, without an answer, after it has sent the signal.
        let _ = stream.read(&mut [0; 16]);
        Ok(())
    }

    /// The backend's process number, as `pg_backend_pid()` tells it.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.process_id
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("process_id", &self.process_id)
            .finish_non_exhaustive()
    }
}
