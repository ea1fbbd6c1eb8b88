//! What queries can be told, and what they give back.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::error::BoxError;
use crate::protocol::{BackendMessage, NoticeMessage};

/// What a row is in [`Results::rows`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowMode {
    /// An object: column name to value. Of columns with the same name the last one wins.
    #[default]
    Object,
    /// An array: the values in the order of the columns.
    Array,
}

/// PostgreSQL's own debug level, 0 to 5.
pub type DebugLevel = u8;

/// Makes a JSON value of a value's text form; the second argument is the type's OID.
pub type TypeParser = Arc<dyn Fn(&str, i32) -> Value + Send + Sync>;

/// Makes the text form of a parameter from a JSON value.
pub type Serializer = Arc<dyn Fn(&Value) -> Result<String, BoxError> + Send + Sync>;

/// Called with each notice of a statement, on the thread that runs it.
pub type NoticeCallback = Arc<dyn Fn(&NoticeMessage) + Send + Sync>;

/// Parsers by type OID.
pub type ParserMap = HashMap<i32, TypeParser>;

/// Serializers by type OID.
pub type SerializerMap = HashMap<i32, Serializer>;

/// How 0.5 moved bytes into its wasm engine. Accepted for its users' sake; there is no such buffer any more, so it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataTransferContainer {
    /// Contiguous memory.
    Cma,
    /// A file.
    File,
}

/// Options of one statement. `QueryOptions::default()` is what `None` means.
#[derive(Default, Clone)]
pub struct QueryOptions {
    /// The form of rows; objects by default.
    pub row_mode: Option<RowMode>,
    /// Parsers that go before the default ones.
    pub parsers: ParserMap,
    /// Serializers that go before the default ones.
    pub serializers: SerializerMap,
    /// What `COPY … FROM '/dev/blob'` (or `FROM STDIN`) reads.
    pub blob: Option<Vec<u8>>,
    /// Types of the first parameters, by OID; 0, or none, lets PostgreSQL infer one.
    pub param_types: Vec<i32>,
    /// Called with each notice.
    pub on_notice: Option<NoticeCallback>,
    /// Changes nothing; see [`DataTransferContainer`].
    pub data_transfer_container: Option<DataTransferContainer>,
}

impl fmt::Debug for QueryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryOptions")
            .field("row_mode", &self.row_mode)
            .field("blob", &self.blob.as_ref().map(Vec::len))
            .field("param_types", &self.param_types)
            .finish_non_exhaustive()
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its name.
    pub name: String,
    /// Its type's OID.
    pub data_type_id: i32,
}

/// The outcome of one statement.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Results {
    /// The rows, in the form of the [`RowMode`]. How types become JSON: see [`crate::types`].
    pub rows: Vec<Value>,
    /// The columns; empty for a statement without rows.
    pub fields: Vec<FieldInfo>,
    /// Rows that this statement inserted, updated, deleted, merged or copied.
    pub affected_rows: Option<usize>,
    /// What `COPY … TO '/dev/blob'` (or `TO STDOUT`) wrote.
    pub blob: Option<Vec<u8>>,
}

/// Options of [`crate::Pglite::exec_protocol`] and its siblings.
#[derive(Clone)]
pub struct ExecProtocolOptions {
    /// Changes nothing: PostgreSQL itself makes durable what it acknowledges.
    pub sync_to_fs: bool,
    /// Makes the first `ErrorResponse` an [`crate::Error::Database`]. The answer is read to its end all the same.
    /// The raw functions do not look into messages and ignore it.
    pub throw_on_error: bool,
    /// Called with each notice.
    pub on_notice: Option<NoticeCallback>,
    /// Changes nothing; see [`DataTransferContainer`].
    pub data_transfer_container: Option<DataTransferContainer>,
}

impl ExecProtocolOptions {
    /// The default without `sync_to_fs`.
    #[must_use]
    pub const fn no_sync() -> Self {
        Self {
            sync_to_fs: false,
            throw_on_error: true,
            on_notice: None,
            data_transfer_container: None,
        }
    }
}

impl Default for ExecProtocolOptions {
    fn default() -> Self {
        Self {
            sync_to_fs: true,
            ..Self::no_sync()
        }
    }
}

impl fmt::Debug for ExecProtocolOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecProtocolOptions")
            .field("throw_on_error", &self.throw_on_error)
            .field("on_notice", &self.on_notice.is_some())
            .finish_non_exhaustive()
    }
}

/// What [`crate::Pglite::exec_protocol`] gives back.
#[derive(Debug, Clone)]
pub struct ExecProtocolResult {
    /// The answer's bytes.
    pub data: Vec<u8>,
    /// The same, message by message.
    pub messages: Vec<BackendMessage>,
}

/// A parameter of a described statement.
#[derive(Clone)]
pub struct DescribeQueryParam {
    /// Its type's OID.
    pub data_type_id: i32,
    /// What would write it; `None` writes strings as they are and the rest as JSON.
    pub serializer: Option<Serializer>,
}

impl fmt::Debug for DescribeQueryParam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DescribeQueryParam")
            .field("data_type_id", &self.data_type_id)
            .finish_non_exhaustive()
    }
}

/// A column of a described statement.
#[derive(Clone)]
pub struct DescribeResultField {
    /// Its name.
    pub name: String,
    /// Its type's OID.
    pub data_type_id: i32,
    /// What would read it; `None` leaves it a string.
    pub parser: Option<TypeParser>,
}

impl fmt::Debug for DescribeResultField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DescribeResultField")
            .field("name", &self.name)
            .field("data_type_id", &self.data_type_id)
            .finish_non_exhaustive()
    }
}

/// What [`crate::Pglite::describe_query`] gives back.
#[derive(Debug, Clone)]
pub struct DescribeQueryResult {
    /// The parameters.
    pub query_params: Vec<DescribeQueryParam>,
    /// The columns; empty for a statement without rows.
    pub result_fields: Vec<DescribeResultField>,
}
