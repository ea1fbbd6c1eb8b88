//! A whole PostgreSQL 18 inside your process: for Rust tests and local applications.
//!
//! Two ways in:
//! - [`Pglite`] is a session on a database in this process. More sessions on the same cluster come from [`Pglite::connect`] and [`Connector`].
//! - [`PgliteServer`] serves a cluster over TCP and Unix sockets, for SQLx, tokio-postgres, Diesel, psql and every other client.
//!
//! PostgreSQL's own C code runs here, with a true postmaster and one backend a session, in a sandbox: SQL sees a file system and a network of its own.
//! Everything blocks; in async code call it through `spawn_blocking`, or use a server and an async client.
//!
//! ```no_run
//! # fn main() -> pglite_oxide::Result<()> {
//! let mut db = pglite_oxide::Pglite::open("./my-data")?;
//! db.exec("CREATE TABLE IF NOT EXISTS note (id serial PRIMARY KEY, body text)", None)?;
//! db.query("INSERT INTO note (body) VALUES ($1)", &["hello".into()], None)?;
//! let notes = db.query("SELECT id, body FROM note ORDER BY id", &[], None)?;
//! println!("{:?}", notes.rows);
//! # Ok(()) }
//! ```

mod archive;
mod builder;
mod built_in;
mod cache;
mod config;
mod connection;
mod connector;
mod dump;
mod error;
pub mod extensions;
mod kept_file;
mod kept_image;
mod migrated;
mod notify;
mod options;
mod program;
pub mod protocol;
mod restore;
mod results;
mod scram;
mod server;
mod session;
mod snapshot;
mod template;
mod transaction;
pub mod types;

pub use archive::DataDirArchiveFormat;
pub use builder::PgliteBuilder;
#[doc(hidden)]
pub use built_in::built_in_image;
pub use config::PostgresConfig;
pub use connector::{CancelHandle, CancelToken, Connector};
pub use dump::{DumpFormat, PgDumpOptions};
pub use error::{BoxError, Error, PgliteError, Result};
pub use extensions::Extension;
pub use migrated::Template;
pub use notify::{GlobalListenerHandle, ListenerHandle};
pub use options::{
    DataTransferContainer, DebugLevel, DescribeQueryParam, DescribeQueryResult,
    DescribeResultField, ExecProtocolOptions, ExecProtocolResult, FieldInfo, NoticeCallback,
    ParserMap, QueryOptions, Results, RowMode, Serializer, SerializerMap, TypeParser,
};
#[doc(hidden)]
pub use pglite_oxide_cluster::ImageError;
pub use pglite_oxide_cluster::PackError;
pub use pglite_oxide_cluster::{
    BackupError, Cluster, ConnectError, ExitStatus, GrantedDirectory, Input, Output, Program,
    ProgramError, RunningProgram, ShutdownError, ShutdownMode, Signaller, SnapshotError,
    StartError, Stream, TerminalSize,
};
#[cfg(feature = "extension-packs")]
pub use pglite_oxide_cluster::{Pack, target};
pub use protocol::{DatabaseError, NoticeMessage};
pub use restore::PgRestoreOptions;
pub use server::{PgliteServer, PgliteServerBuilder};
pub use session::Pglite;
pub use snapshot::Snapshot;
pub use template::{QueryTemplate, TemplatedQuery, format_query, quote_identifier};
pub use transaction::Transaction;
