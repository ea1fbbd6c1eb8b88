//! Snapshots and forks of temporary databases.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use pglite_oxide_cluster::{FromImage, ImageBytes, ImageError, LoadError, Opened, Scope};

use crate::connection::{Connection, Seed};
use crate::connector::Login;
use crate::error::{Error, Result};
use crate::session::Pglite;

/// What a new session runs before it is frozen, so that the caches of its backend are warm in every database that starts from there. None of it leaves a trace.
const WARM_UP: &str = "SELECT 1; SELECT relname FROM pg_catalog.pg_class WHERE oid = 'pg_catalog.pg_type'::pg_catalog.regclass AND relname = 'pg_type' \
    ORDER BY relname LIMIT 1";

/// A temporary database as it was at one instant, with the session it was taken through: schema, rows, sequences, statistics, settings, open transactions. Any number of databases can
/// be opened from it, each in about a millisecond, independent of each other and of the original.
///
/// The session is in it as it is, like a process after `fork(2)`: with its settings, temporary tables, prepared statements, advisory locks, and its transaction if one is open.
/// Other sessions are not: what they have not committed is rolled back, their locks are gone; prepared transactions (`PREPARE TRANSACTION`) stay. Callbacks
/// ([`Pglite::listen`]) belong to the handle, not to the session. Every database opened from it has a system identifier, cancel keys, start times and random
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
    session: Seed,
    login: Login,
}

/// The one stream that was kept.
fn only<T>(mut streams: Vec<T>) -> Result<T> {
    streams
        .pop()
        .ok_or_else(|| Error::protocol("the copy has no session"))
}

impl Snapshot {
    /// Role and database of the session.
    pub(crate) fn login(&self) -> (String, String) {
        self.0.login.names()
    }

    /// A new temporary database that goes on from here, with the session. Blocks for a millisecond or so.
    ///
    /// # Errors
    /// [`Error::Snapshot`] without memory for it.
    pub fn open(&self) -> Result<Pglite> {
        self.open_at(&[])
    }

    /// [`Self::open`] for a server that is going to listen on these addresses.
    pub(crate) fn open_at(&self, tcp: &[SocketAddr]) -> Result<Pglite> {
        let frozen = &*self.0;
        let mut opened = frozen.cluster.open(&[frozen.session.stream()], tcp)?;
        let stream = only(std::mem::take(&mut opened.streams))?;
        frozen
            .session
            .on(stream)
            .into_session(opened, &frozen.login)
    }
}

/// Images: snapshots for other processes of the same program.
impl Snapshot {
    /// The snapshot as bytes, for this executable.
    ///
    /// # Errors
    /// [`ImageError`], naming what cannot be saved.
    #[doc(hidden)]
    pub fn to_image(&self) -> std::result::Result<Vec<u8>, ImageError> {
        self.image_for(Scope::Executable)
    }

    /// The snapshot as bytes for the programs of `scope`.
    pub(crate) fn image_for(&self, scope: Scope) -> std::result::Result<Vec<u8>, ImageError> {
        let frozen = &*self.0;
        let extra = serde_json::json!([frozen.session.to_json(), frozen.login.to_json()]);
        let keep = [frozen.session.stream()];
        frozen
            .cluster
            .to_image(scope, &keep, extra.to_string().as_bytes())
    }

    /// The snapshot of an image that this program made, in this process or another one.
    ///
    /// # Errors
    /// [`ImageError`] for one that is damaged or of another program.
    #[doc(hidden)]
    pub fn from_image(
        image: impl AsRef<[u8]> + Send + Sync + 'static,
    ) -> std::result::Result<Self, ImageError> {
        Self::from_image_bytes(&ImageBytes::new(image))
    }

    pub(crate) fn from_image_bytes(image: &ImageBytes) -> std::result::Result<Self, ImageError> {
        Self::of_image(pglite_oxide_cluster::Snapshot::from_image(image)?)
    }

    /// What the program has built in; `None` if it has nothing.
    pub(crate) fn built_in() -> std::result::Result<Option<Self>, ImageError> {
        pglite_oxide_cluster::built_in_image()
            .map(|image| Self::of_image(pglite_oxide_cluster::Snapshot::from_built_in(image)?))
            .transpose()
    }

    fn of_image(image: FromImage) -> std::result::Result<Self, ImageError> {
        const DAMAGED: LoadError = LoadError::Damaged("it has no session");
        let FromImage {
            snapshot,
            mut streams,
            extra,
        } = image;
        let extra: [serde_json::Value; 2] = serde_json::from_slice(&extra).map_err(|_| DAMAGED)?;
        let stream = streams.pop().ok_or(DAMAGED)?;
        Ok(Self(Arc::new(Frozen {
            cluster: snapshot,
            session: Seed::of_json(&extra[0], stream).ok_or(DAMAGED)?,
            login: Login::of_json(&extra[1]).ok_or(DAMAGED)?,
        })))
    }
}

impl Seed {
    /// The session in a copy of its cluster.
    fn into_session(self, opened: Opened, login: &Login) -> Result<Pglite> {
        let connection = self.grow(opened.cancel_key.cast_signed())?;
        Ok(Pglite::new(
            login.connector(Arc::new(opened.cluster)),
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
    /// Makes the caches of a session that nobody has used yet warm.
    pub(crate) fn warm_up(&mut self) -> Result<()> {
        self.exec(WARM_UP, None).map(drop)
    }

    /// Takes a snapshot of the whole temporary cluster that this session is on, and of the session. All sessions stand still for some milliseconds meanwhile.
    ///
    /// # Errors
    /// [`Error::Snapshot`] for a database in a directory; [`Error::Busy`] in the middle of a `COPY` begun through the raw protocol.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.connection.request(Connection::settle)?;
        let connector = self.connector();
        let (cluster, streams) = connector.cluster().snapshot(&[self.connection.stream()])?;
        Ok(Snapshot(Arc::new(Frozen {
            cluster,
            session: Seed::new(&self.connection, only(streams)?),
            login: connector.login().clone(),
        })))
    }

    /// A second temporary database that goes on from where this one is, and this session with it: [`Self::snapshot`] and [`Snapshot::open`] in one. For many from
    /// the same state, a snapshot is faster.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub fn fork(&mut self) -> Result<Pglite> {
        self.connection.request(Connection::settle)?;
        let connector = self.connector();
        let mut opened = connector.cluster().fork(&[self.connection.stream()])?;
        let stream = only(std::mem::take(&mut opened.streams))?;
        Seed::new(&self.connection, stream).into_session(opened, connector.login())
    }

    /// [`Self::fork`] by its older name.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub fn try_clone(&mut self) -> Result<Pglite> {
        self.fork()
    }

    /// Goes back: this handle is on a new database as `snapshot` has it. The one before goes away when no other session or connector uses it; callbacks
    /// are not taken along.
    ///
    /// # Errors
    /// As [`Snapshot::open`]; then nothing has changed.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        *self = snapshot.open()?;
        Ok(())
    }
}
