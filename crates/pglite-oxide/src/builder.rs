//! Opening a database for direct use.

use std::sync::Arc;

use pglite_oxide_cluster::Cluster;

use crate::cache;
use crate::config::{StartConfig, start_methods};
use crate::connector::Connector;
use crate::error::Result;
use crate::session::Pglite;

/// Describes a database and opens it. Without any call it is a temporary one.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing happens before open()"]
pub struct PgliteBuilder {
    start: StartConfig,
}

impl PgliteBuilder {
    /// A temporary database with PostgreSQL's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn of(start: StartConfig) -> Self {
        Self { start }
    }

    pub(crate) fn into_start(self) -> StartConfig {
        self.start
    }

    start_methods!();

    /// Starts the cluster and opens the first session. Blocks until it is ready: some milliseconds for the first temporary one of a process with PostgreSQL's defaults, about one for a
    /// temporary one like others before, tens for all others; after a crash, for as long as recovery takes.
    ///
    /// # Errors
    /// [`crate::Error::Start`] when the cluster does not start, [`crate::Error::Database`] when the role or the database is not there.
    pub fn open(self) -> Result<Pglite> {
        if let Some(session) = cache::open(&self.start, &[])? {
            return Ok(session);
        }
        let cluster = Arc::new(Cluster::start(self.start.cluster_options()?)?);
        let mut session =
            Connector::new(cluster, &self.start.username, &self.start.database).connect()?;
        crate::extensions::create(&self.start, &mut session)?;
        Ok(session)
    }
}
