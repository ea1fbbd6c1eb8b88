//! `Pglite`: one session on a cluster.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use serde_json::Value;

use crate::builder::PgliteBuilder;
use crate::cache;
use crate::config::StartConfig;
use crate::connection::Connection;
use crate::connector::{CancelToken, Connector};
use crate::error::{Error, PgliteError, Result};
use crate::notify::Listeners;
use crate::options::{
    DescribeQueryParam, DescribeQueryResult, DescribeResultField, ExecProtocolOptions,
    ExecProtocolResult, QueryOptions, Results,
};
use crate::protocol::{BackendMessage, DatabaseError, decode};
use crate::results::Raw;
use crate::transaction::Transaction;
use crate::types::{ArrayType, Types};

/// How long [`Pglite::close`] waits for the backend to end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// One session on an embedded PostgreSQL cluster.
///
/// All methods block until PostgreSQL has answered. `Send`, but not shared: open further sessions on the same cluster with [`Pglite::connect`] or a [`Connector`], from any thread.
/// Dropping a session ends it; when the last session, [`Connector`] and server of a cluster are gone, the cluster shuts down (see [`Pglite::close`] to hear of failures).
///
/// ```no_run
/// # fn main() -> pglite_oxide::Result<()> {
/// let mut db = pglite_oxide::Pglite::temporary()?;
/// let result = db.query("SELECT $1::int + 1 AS n", &[serde_json::json!(41)], None)?;
/// assert_eq!(result.rows[0]["n"], 42);
/// # Ok(()) }
/// ```
pub struct Pglite {
    connector: Connector,
    pub(crate) connection: Connection,
    types: Types,
    pub(crate) listeners: Listeners,
}

impl Pglite {
    pub(crate) fn new(connector: Connector, connection: Connection) -> Self {
        Self {
            connector,
            connection,
            types: Types::default(),
            listeners: Listeners::default(),
        }
    }

    /// Starts to describe a database.
    pub fn builder() -> PgliteBuilder {
        PgliteBuilder::new()
    }

    /// A new database in memory, gone when it is closed.
    ///
    /// # Errors
    /// See [`PgliteBuilder::open`].
    pub fn temporary() -> Result<Self> {
        Self::builder().temporary().open()
    }

    /// Prepares this process for temporary databases: the next ones open in about a millisecond, the first already. Blocks for some milliseconds; in a build without a built-in cluster
    /// for as long as one start in full.
    ///
    /// # Errors
    /// See [`PgliteBuilder::open`].
    pub fn preload() -> Result<()> {
        cache::prepare(&StartConfig::default())
    }

    /// The database in this directory; made if there is none.
    ///
    /// # Errors
    /// See [`PgliteBuilder::open`].
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::builder().path(root.as_ref()).open()
    }

    /// The database in the platform's data directory of an application: qualifier, organisation, application.
    ///
    /// # Errors
    /// See [`PgliteBuilder::open`].
    pub fn open_app(app_id: (&str, &str, &str)) -> Result<Self> {
        Self::builder().app_id(app_id).open()
    }

    /// Role and database.
    pub(crate) fn login(&self) -> (String, String) {
        self.connector.login().names()
    }

    /// Another session on the same cluster, with the same role and database.
    ///
    /// # Errors
    /// See [`Connector::connect`].
    pub fn connect(&self) -> Result<Self> {
        self.connector.connect()
    }

    /// What opens further sessions, from any thread. It keeps the cluster alive.
    #[must_use]
    pub fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// What cancels this session's statement from another thread.
    #[must_use]
    pub fn cancel_token(&self) -> CancelToken {
        self.connector.cancel_token(&self.connection)
    }

    /// Runs one statement with parameters `$1`, `$2` and so on.
    ///
    /// # Errors
    /// [`Error::Database`] when PostgreSQL refuses; [`Error::Serialize`] when a parameter has no form of the type wanted.
    pub fn query(
        &mut self,
        sql: &str,
        params: &[Value],
        options: Option<&QueryOptions>,
    ) -> Result<Results> {
        let defaults = QueryOptions::default();
        let options_or = options.unwrap_or(&defaults);
        let types = &self.types;
        let outcome = self
            .connection
            .request(|connection| Raw::query(connection, types, sql, params, options_or));
        let raw = self.finish(outcome, sql, params, options)?;
        let raw = raw.into_iter().next().unwrap_or_default();
        self.learn_types(std::slice::from_ref(&raw))?;
        raw.into_results(&self.types, options_or)
    }

    /// Runs statements without parameters, separated by semicolons: those outside a transaction block are one transaction. One result for each.
    ///
    /// # Errors
    /// [`Error::Database`] at the first that PostgreSQL refuses.
    pub fn exec(&mut self, sql: &str, options: Option<&QueryOptions>) -> Result<Vec<Results>> {
        let defaults = QueryOptions::default();
        let options_or = options.unwrap_or(&defaults);
        let outcome = self
            .connection
            .request(|connection| Raw::exec(connection, sql, options_or));
        let raw = self.finish(outcome, sql, &[], options)?;
        self.learn_types(&raw)?;
        raw.into_iter()
            .map(|raw| raw.into_results(&self.types, options_or))
            .collect()
    }

    /// Gives an error its statement, and tells listeners what arrived meanwhile.
    fn finish<T>(
        &mut self,
        outcome: Result<(T, Option<DatabaseError>)>,
        sql: &str,
        params: &[Value],
        options: Option<&QueryOptions>,
    ) -> Result<T> {
        let outcome = outcome.map_err(|error| self.connector.explain(error))?;
        self.deliver();
        match outcome {
            (value, None) => Ok(value),
            (_, Some(error)) => Err(Error::Database(PgliteError::new(
                error,
                sql,
                params.to_vec(),
                options.cloned(),
            ))),
        }
    }

    /// Asks the catalogue about users' types among the columns, once for each.
    fn learn_types(&mut self, raw: &[Raw]) -> Result<()> {
        let unknown: Vec<i32> = raw
            .iter()
            .flat_map(Raw::type_ids)
            .filter(|&id| self.types.is_unknown(id))
            .collect();
        if !unknown.is_empty() && self.connection.transaction != b'E' {
            self.refresh_array_types()?;
            self.types.settle(unknown);
        }
        Ok(())
    }

    /// Looks up the array types that users have made. It happens by itself when one turns up in a result.
    ///
    /// # Errors
    /// [`Error::Database`] in a failed transaction.
    pub fn refresh_array_types(&mut self) -> Result<()> {
        const SQL: &str = "SELECT oid::int8::text, typelem::int8::text, typdelim::text FROM pg_catalog.pg_type \
            WHERE typcategory = 'A' AND typelem <> 0 AND oid >= 16384";
        let outcome = self
            .connection
            .request(|connection| Raw::exec(connection, SQL, &QueryOptions::default()));
        let raw = self.finish(outcome, SQL, &[], None)?;
        let mut arrays = HashMap::new();
        for row in raw.first().map(Raw::texts).transpose()?.unwrap_or_default() {
            if let [Some(array), Some(element), Some(delimiter)] = row.as_slice()
                && let (Ok(array), Ok(element), Some(delimiter)) = (
                    array.parse::<u32>(),
                    element.parse::<u32>(),
                    delimiter.chars().next(),
                )
            {
                arrays.insert(
                    array.cast_signed(),
                    ArrayType {
                        element: element.cast_signed(),
                        delimiter,
                    },
                );
            }
        }
        self.types.set_arrays(arrays);
        Ok(())
    }

    /// What parameters a statement takes and what columns it gives, without running it.
    ///
    /// # Errors
    /// [`Error::Database`] when PostgreSQL cannot plan it.
    pub fn describe_query(
        &mut self,
        sql: &str,
        options: Option<&QueryOptions>,
    ) -> Result<DescribeQueryResult> {
        let defaults = QueryOptions::default();
        let options_or = options.unwrap_or(&defaults);
        let outcome = self
            .connection
            .request(|connection| Raw::describe(connection, sql, options_or));
        let (params, fields) = self.finish(outcome, sql, &[], options)?;
        Ok(DescribeQueryResult {
            query_params: params
                .into_iter()
                .map(|data_type_id| DescribeQueryParam {
                    data_type_id,
                    serializer: self.types.serializer(data_type_id),
                })
                .collect(),
            result_fields: fields
                .into_iter()
                .map(|field| DescribeResultField {
                    parser: self.types.parser(field.data_type_id),
                    name: field.name,
                    data_type_id: field.data_type_id,
                })
                .collect(),
        })
    }

    /// Runs `body` in a transaction: committed if it returns `Ok`, rolled back if it returns `Err` or panics.
    ///
    /// # Errors
    /// The body's error, or PostgreSQL's at `BEGIN` or `COMMIT` (a serialisation failure, a deferred constraint).
    pub fn transaction<T>(
        &mut self,
        body: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        if self.connection.transaction != b'I' {
            return Err(Error::Busy(
                "a transaction is open already; use savepoints inside it",
            ));
        }
        self.exec("BEGIN", None)?;
        let mut transaction = Transaction::new(self);
        let value = body(&mut transaction)?;
        if !transaction.is_closed() {
            transaction.commit()?;
        }
        Ok(value)
    }

    /// True inside a transaction block, a failed one included.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        self.connection.transaction != b'I'
    }

    /// Sends messages of the frontend protocol as they are, and returns everything the backend answers, until it waits for more. A missing `Flush` is added.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for bytes that are not whole messages; nothing was sent then.
    pub fn exec_protocol_raw(
        &mut self,
        message: &[u8],
        options: ExecProtocolOptions,
    ) -> Result<Vec<u8>> {
        let mut answer = Vec::new();
        self.exec_protocol_raw_stream(message, options, |bytes| {
            answer.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(answer)
    }

    /// [`Self::exec_protocol_raw`], message by message as they arrive. An error of `on_data` is returned after the answer has been read to its end.
    ///
    /// # Errors
    /// As [`Self::exec_protocol_raw`], and those of `on_data`.
    pub fn exec_protocol_raw_stream(
        &mut self,
        message: &[u8],
        options: ExecProtocolOptions,
        mut on_data: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let outcome = self.connection.request(|connection| {
            connection.send(message)?;
            if connection.tracker.needs_flush() {
                let mut flush = BytesMut::new();
                frontend::flush(&mut flush);
                connection.send(&flush)?;
            }
            let mut failure = None;
            let mut tell = |bytes: &[u8]| {
                if failure.is_none() {
                    failure = on_data(bytes).err();
                }
            };
            while !connection.tracker.is_settled() {
                let Some(frame) = connection.frame(None)? else {
                    continue;
                };
                tell(&frame);
                if let Some(frame) = connection.absorb(frame, options.on_notice.as_ref())? {
                    connection.tracker.received(decode::tag(&frame));
                    if decode::tag(&frame) == b'Z' {
                        connection.transaction = frame.get(decode::HEADER).copied().unwrap_or(b'I');
                    }
                }
            }
            failure.map_or(Ok(()), Err)
        });
        outcome.map_err(|error| self.connector.explain(error))?;
        self.deliver();
        Ok(())
    }

    /// [`Self::exec_protocol_raw`] with the answer parsed. With `throw_on_error`, the default, the first `ErrorResponse` becomes an error.
    ///
    /// # Errors
    /// As [`Self::exec_protocol_raw`], and [`Error::Database`].
    pub fn exec_protocol(
        &mut self,
        message: &[u8],
        options: ExecProtocolOptions,
    ) -> Result<ExecProtocolResult> {
        let throw_on_error = options.throw_on_error;
        let data = self.exec_protocol_raw(message, options)?;
        let mut messages = Vec::new();
        let mut rest = BytesMut::from(&data[..]);
        while let Some(length) = decode::frame_length(&rest)? {
            messages.push(decode::message(rest.split_to(length))?);
        }
        let error = messages.iter().find_map(|message| match message {
            BackendMessage::Error(error) => Some(error.clone()),
            _ => None,
        });
        match error {
            Some(error) if throw_on_error => {
                self.connection.request(Connection::settle)?;
                Err(error.into())
            }
            _ => Ok(ExecProtocolResult { data, messages }),
        }
    }

    /// A setting that PostgreSQL reports by itself, such as `server_version` or `TimeZone`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.connection.parameters.get(name).map(String::as_str)
    }

    /// The backend's process number, as `pg_backend_pid()` tells it.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.connection.process_id
    }

    /// Does nothing: what PostgreSQL has acknowledged is durable already.
    ///
    /// # Errors
    /// Never.
    pub fn sync_to_fs(&mut self) -> Result<()> {
        Ok(())
    }

    /// True while statements can be run.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.connection.is_usable()
    }

    /// True when the session was closed or has been lost.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.connection.is_usable()
    }

    /// Ends the session and waits until its backend is gone. If no other session, connector or server of the cluster is left, the cluster
    /// shuts down when this value is dropped.
    ///
    /// # Errors
    /// Never; the signature leaves room.
    pub fn close(&mut self) -> Result<()> {
        self.connection.terminate(Instant::now() + CLOSE_PATIENCE);
        Ok(())
    }
}

impl Drop for Pglite {
    fn drop(&mut self) {
        if self.connector.ends_cluster() {
            // Nobody will miss what the backend would still tidy up.
            return;
        }
        self.connection.say_goodbye();
    }
}

impl fmt::Debug for Pglite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pglite")
            .field("process_id", &self.connection.process_id)
            .field("ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

/// The message of a frame, and its length as PostgreSQL counts it.
pub(crate) fn parsed(frame: BytesMut) -> Result<(usize, Message)> {
    let length = frame.len().saturating_sub(1);
    Ok((length, decode::parse(frame)?))
}
