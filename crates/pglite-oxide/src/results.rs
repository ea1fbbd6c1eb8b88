//! Running statements and collecting what comes back.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;
use serde_json::{Map, Value};

use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::options::{FieldInfo, QueryOptions, Results, RowMode};
use crate::protocol::{DatabaseError, Field, decode, device};
use crate::session::parsed;
use crate::types::Types;

/// Bytes of one `CopyData` message.
const COPY_CHUNK: usize = 64 * 1024;

/// What a request gave, and PostgreSQL's refusal if there was one.
type Outcome<T> = Result<(T, Option<DatabaseError>)>;

/// A statement's result before its values are read: types of users' own may have to be looked up first.
#[derive(Default)]
pub(crate) struct Raw {
    fields: Vec<Field>,
    rows: Vec<DataRowBody>,
    affected_rows: Option<usize>,
    blob: Option<Vec<u8>>,
}

impl Raw {
    /// Runs statements by the simple protocol.
    pub(crate) fn exec(
        connection: &mut Connection,
        sql: &str,
        options: &QueryOptions,
    ) -> Outcome<Vec<Self>> {
        connection.settle()?;
        let mut message = BytesMut::new();
        frontend::query(&device::rewrite(sql), &mut message).map_err(bad_sql)?;
        connection.send(&message)?;
        Self::collect(connection, options, false)
    }

    /// Runs one statement by the extended protocol.
    pub(crate) fn query(
        connection: &mut Connection,
        types: &Types,
        sql: &str,
        params: &[Value],
        options: &QueryOptions,
    ) -> Outcome<Vec<Self>> {
        connection.settle()?;
        let mut messages = BytesMut::new();
        let texts = if params.is_empty() {
            parse(sql, options, &mut messages)?;
            Vec::new()
        } else {
            let (described, error) = Self::describe(connection, sql, options)?;
            if error.is_some() {
                return Ok((Vec::new(), error));
            }
            // A wrong number of parameters is for PostgreSQL to refuse.
            let types_wanted = described.0.into_iter().chain(std::iter::repeat(0));
            params
                .iter()
                .zip(types_wanted)
                .zip(1..)
                .map(|((value, type_id), number)| match value {
                    Value::Null => Ok(None),
                    value => types
                        .serialize(value, type_id, &options.serializers)
                        .map(Some)
                        .map_err(|source| Error::Serialize {
                            number,
                            type_id,
                            source,
                        }),
                })
                .collect::<Result<Vec<_>>>()?
        };
        let write = |text: &Option<String>, out: &mut BytesMut| match text {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        };
        frontend::bind("", "", [], texts.iter(), write, [], &mut messages).map_err(|error| {
            match error {
                frontend::BindError::Conversion(error) => Error::Other(error),
                frontend::BindError::Serialization(error) => {
                    Error::argument("parameters", error.to_string())
                }
            }
        })?;
        frontend::describe(b'P', "", &mut messages).map_err(bad_sql)?;
        frontend::execute("", 0, &mut messages).map_err(bad_sql)?;
        frontend::sync(&mut messages);
        connection.send(&messages)?;
        Self::collect(connection, options, true)
    }

    /// Parses a statement; types of its parameters and its columns.
    pub(crate) fn describe(
        connection: &mut Connection,
        sql: &str,
        options: &QueryOptions,
    ) -> Outcome<(Vec<i32>, Vec<Field>)> {
        connection.settle()?;
        let mut messages = BytesMut::new();
        parse(sql, options, &mut messages)?;
        frontend::describe(b'S', "", &mut messages).map_err(bad_sql)?;
        frontend::sync(&mut messages);
        connection.send(&messages)?;
        let (mut params, mut fields, mut refusal) = (Vec::new(), Vec::new(), None);
        loop {
            let (length, message) = parsed(connection.next(options.on_notice.as_ref())?)?;
            match message {
                Message::ParameterDescription(body) => params = decode::parameters(&body)?,
                Message::RowDescription(body) => fields = decode::columns(&body)?,
                Message::ErrorResponse(body) => {
                    refusal = Some(decode::error(length, &mut body.fields())?);
                }
                Message::ReadyForQuery(body) => {
                    connection.transaction = body.status();
                    return Ok(((params, fields), refusal));
                }
                _ => {}
            }
        }
    }

    /// Reads answers up to `ReadyForQuery`.
    fn collect(
        connection: &mut Connection,
        options: &QueryOptions,
        extended: bool,
    ) -> Outcome<Vec<Self>> {
        let mut results = Vec::new();
        let mut current = Self::default();
        let mut refusal = None;
        loop {
            let (length, message) = parsed(connection.next(options.on_notice.as_ref())?)?;
            match message {
                Message::RowDescription(body) => current.fields = decode::columns(&body)?,
                Message::DataRow(body) => current.rows.push(body),
                Message::CopyInResponse(_) => send_copy(connection, options, extended)?,
                Message::CopyOutResponse(_) => current.blob = Some(Vec::new()),
                Message::CopyData(body) => current
                    .blob
                    .get_or_insert_default()
                    .extend_from_slice(body.data()),
                Message::CommandComplete(body) => {
                    current.affected_rows = affected(body.tag().map_err(Error::protocol)?);
                    results.push(std::mem::take(&mut current));
                }
                Message::EmptyQueryResponse | Message::PortalSuspended => {
                    results.push(std::mem::take(&mut current));
                }
                Message::ErrorResponse(body) => {
                    refusal.get_or_insert(decode::error(length, &mut body.fields())?);
                }
                Message::ReadyForQuery(body) => {
                    connection.transaction = body.status();
                    return Ok((results, refusal));
                }
                _ => {}
            }
        }
    }

    /// Types of the columns.
    pub(crate) fn type_ids(&self) -> impl Iterator<Item = i32> + '_ {
        self.fields.iter().map(|field| field.data_type_id)
    }

    /// The values' text forms.
    pub(crate) fn texts(&self) -> Result<Vec<Vec<Option<String>>>> {
        self.rows
            .iter()
            .map(|row| {
                values(row)?
                    .into_iter()
                    .map(|value| {
                        value
                            .map(text)
                            .transpose()
                            .map(|text| text.map(str::to_owned))
                    })
                    .collect()
            })
            .collect()
    }

    /// Reads the values.
    pub(crate) fn into_results(self, types: &Types, options: &QueryOptions) -> Result<Results> {
        let columns: Vec<_> = self
            .fields
            .iter()
            .map(|field| types.column(field.data_type_id, &options.parsers))
            .collect();
        let mut rows = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let read = values(row)?
                .into_iter()
                .zip(&columns)
                .map(|(value, column)| match value {
                    None => Ok(Value::Null),
                    Some(value) => text(value).map(|text| column.parse(text)),
                });
            rows.push(match options.row_mode.unwrap_or_default() {
                RowMode::Array => Value::Array(read.collect::<Result<_>>()?),
                RowMode::Object => {
                    let names = self.fields.iter().map(|field| field.name.clone());
                    Value::Object(
                        names
                            .zip(read)
                            .map(|(name, value)| Ok((name, value?)))
                            .collect::<Result<Map<_, _>>>()?,
                    )
                }
            });
        }
        let fields = self
            .fields
            .into_iter()
            .map(|field| FieldInfo {
                name: field.name,
                data_type_id: field.data_type_id,
            })
            .collect();
        Ok(Results {
            rows,
            fields,
            affected_rows: self.affected_rows,
            blob: self.blob,
        })
    }
}

fn parse(sql: &str, options: &QueryOptions, out: &mut BytesMut) -> Result<()> {
    let types = options
        .param_types
        .iter()
        .map(|type_id| type_id.cast_unsigned());
    frontend::parse("", &device::rewrite(sql), types, out).map_err(bad_sql)
}

fn bad_sql(error: std::io::Error) -> Error {
    Error::argument("statement", error.to_string())
}

/// The values of a row, as bytes.
fn values(row: &DataRowBody) -> Result<Vec<Option<&[u8]>>> {
    let buffer = row.buffer();
    row.ranges()
        .map(|range| Ok(range.map(|range| &buffer[range])))
        .collect()
        .map_err(Error::protocol)
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| {
        Error::protocol("a value that is not UTF-8: has client_encoding been changed?")
    })
}

/// Rows that a command tag tells of.
fn affected(tag: &str) -> Option<usize> {
    let mut words = tag.split(' ');
    let counted = matches!(
        words.next()?,
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY"
    );
    words.next_back().filter(|_| counted)?.parse().ok()
}

/// Sends what `COPY … FROM STDIN` reads; without any the statement fails, and says why.
fn send_copy(connection: &mut Connection, options: &QueryOptions, extended: bool) -> Result<()> {
    let mut message = BytesMut::new();
    match &options.blob {
        Some(blob) => {
            for chunk in blob.chunks(COPY_CHUNK) {
                message.clear();
                frontend::CopyData::new(chunk)
                    .map_err(bad_sql)?
                    .write(&mut message);
                connection.send(&message)?;
            }
            message.clear();
            frontend::copy_done(&mut message);
        }
        None => frontend::copy_fail("no data given: set QueryOptions::blob", &mut message)
            .map_err(bad_sql)?,
    }
    if extended {
        // The one sent with the statement was taken for a part of the data.
        frontend::sync(&mut message);
    }
    connection.send(&message)
}

#[cfg(test)]
mod tests {
    use super::affected;

    #[test]
    fn rows_that_a_tag_tells_of() {
        assert_eq!(affected("INSERT 0 7"), Some(7));
        assert_eq!(affected("UPDATE 3"), Some(3));
        assert_eq!(affected("COPY 1000000"), Some(1_000_000));
        assert_eq!(affected("SELECT 5"), None);
        assert_eq!(affected("CREATE TABLE"), None);
    }
}
