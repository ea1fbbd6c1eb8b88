//! Snapshots and forks of temporary databases.

use std::fmt;
use std::sync::Arc;

use pglite_oxide_cluster::Opened;

use crate::connection::Seed;
use crate::connector::{Connector, Login};
use crate::error::{Error, Result};
use crate::session::Pglite;

/// What a new session runs before it is frozen, so that the caches of its backend are warm in every database that starts from there. None of it leaves a trace.
const WARM_UP: &str = "SELECT 1; SELECT relname FROM pg_catalog.pg_class WHERE oid = 'pg_catalog.pg_type'::pg_catalog.regclass AND relname = 'pg_type' \
    ORDER BY relname LIMIT 1";

/// A temporary database as it was at one instant: schema, rows, sequences, statistics, settings. Any number of databases can be opened from it, each in about a
/// millisecond, independent of each other and of the original.
///
/// What it has not: the sessions of the original. Their open transactions are rolled back, their advisory locks, temporary tables and `LISTEN` registrations are gone;
/// prepared transactions (`PREPARE TRANSACTION`) stay. Every database opened from it has a system identifier, cancel keys, start times and random
/// seeds of its own.
///
/// It keeps the memory of the original, shared with the databases opened from it as far as these do not write. `Send` and `Sync`; cheap to clone.
///
/// ```no_run
/// # fn main() -> pglite_oxide::Result<()> {
/// let mut db = pglite_oxide::Pglite::temporary()?;
/// db.exec("CREATE TABLE t (i int)", None)?;
/// let snapshot = db.snapshot()?;
/// let (mut one, mut two) = (snapshot.open()?, snapshot.open()?);
/// one.exec("INSERT INTO t VALUES (1)", None)?;
/// assert!(two.query("SELECT * FROM t", &[], None)?.rows.is_empty());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Snapshot(Arc<Frozen>);

struct Frozen {
    cluster: pglite_oxide_cluster::Snapshot,
    /// A session that waits for its first statement.
    session: Seed,
    login: Login,
}

impl Snapshot {
    /// Takes one of the cluster that `connector` leads to, with one more session on it.
    pub(crate) fn take(connector: &Connector) -> Result<Self> {
        let mut warm = connector.connect()?;
        warm.exec(WARM_UP, None)?;
        let (cluster, mut streams) = connector
            .cluster()
            .snapshot(&[warm.connection.stream()])?;
        let stream = streams
            .pop()
            .ok_or_else(|| Error::protocol("the snapshot has no session"))?;
        let session = Seed::new(&warm.connection, stream);
        warm.close()?;
        Ok(Self(Arc::new(Frozen {
            cluster,
            session,
            login: connector.login().clone(),
        })))
    }

    /// A new temporary database that goes on from here, and the first session on it. Blocks for a millisecond or so.
    ///
    /// # Errors
    /// [`Error::Snapshot`] without memory for it.
    pub fn open(&self) -> Result<Pglite> {
        let frozen = &*self.0;
        let Opened {
            cluster,
            mut streams,
            cancel_key,
        } = frozen.cluster.open(&[frozen.session.stream()])?;
        let stream = streams
            .pop()
            .ok_or_else(|| Error::protocol("the copy has no session"))?;
        let connection = frozen.session.grow(stream, cancel_key.cast_signed())?;
        Ok(Pglite::new(
            frozen.login.connector(Arc::new(cluster)),
            connection,
        ))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&self.0.cluster).finish()
    }
}

impl Pglite {
    /// Takes a snapshot of the whole temporary cluster that this session is on. All its sessions stand still for some milliseconds meanwhile.
    /// What this session has not committed is not in it.
    ///
    /// # Errors
    /// [`Error::Snapshot`] for a database in a directory.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        Snapshot::take(&self.connector())
    }

    /// A second temporary database that goes on from where this one is, with a session of its own: [`Self::snapshot`] and [`Snapshot::open`] for the one time.
    /// For many from the same state, a snapshot is faster.
    ///
    /// # Errors
    /// [`Error::Snapshot`] for a database in a directory.
    pub fn fork(&mut self) -> Result<Pglite> {
        let connector = self.connector();
        let Opened { cluster, .. } = connector.cluster().fork(&[])?;
        connector.login().connector(Arc::new(cluster)).connect()
    }

    /// [`Self::fork`] by its older name.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub fn try_clone(&mut self) -> Result<Pglite> {
        self.fork()
    }

    /// Goes back: this session is on a new database as `snapshot` has it. The one before goes away when no other session or connector uses it; listeners
    /// are not taken along.
    ///
    /// # Errors
    /// As [`Snapshot::open`]; then nothing has changed.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        *self = snapshot.open()?;
        Ok(())
    }
}
