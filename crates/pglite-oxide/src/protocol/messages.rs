//! Decoded messages of the backend, for [`crate::Pglite::exec_protocol`].

use std::fmt;

/// A message of the backend. `length` is always its length field: the bytes after the tag.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum BackendMessage {
    /// `1`.
    ParseComplete {
        /// See above.
        length: usize,
    },
    /// `2`.
    BindComplete {
        /// See above.
        length: usize,
    },
    /// `3`.
    CloseComplete {
        /// See above.
        length: usize,
    },
    /// `n`.
    NoData {
        /// See above.
        length: usize,
    },
    /// `s`.
    PortalSuspended {
        /// See above.
        length: usize,
    },
    /// `I`.
    EmptyQuery {
        /// See above.
        length: usize,
    },
    /// `c`.
    CopyDone {
        /// See above.
        length: usize,
    },
    /// `Z`.
    ReadyForQuery(ReadyForQueryMessage),
    /// `C`.
    CommandComplete(CommandCompleteMessage),
    /// `D`.
    DataRow(DataRowMessage),
    /// `T`.
    RowDescription(RowDescriptionMessage),
    /// `t`.
    ParameterDescription(ParameterDescriptionMessage),
    /// `S`.
    ParameterStatus(ParameterStatusMessage),
    /// `K`.
    BackendKeyData(BackendKeyDataMessage),
    /// `A`.
    Notification(NotificationResponseMessage),
    /// `G`, `H` or `W`.
    CopyResponse(CopyResponse),
    /// `d`.
    CopyData(CopyDataMessage),
    /// `R`.
    Authentication(AuthenticationMessage),
    /// `E`.
    Error(DatabaseError),
    /// `N`.
    Notice(NoticeMessage),
    /// Any other.
    Other {
        /// The message's first byte.
        tag: u8,
        /// What follows its length field.
        body: Vec<u8>,
    },
}

/// The backend has done all it was asked.
#[derive(Debug, Clone)]
pub struct ReadyForQueryMessage {
    /// Length field.
    pub length: usize,
    /// `I` idle, `T` in a transaction, `E` in a failed one.
    pub status: u8,
}

/// A statement is done.
#[derive(Debug, Clone)]
pub struct CommandCompleteMessage {
    /// Length field.
    pub length: usize,
    /// The command tag, such as `INSERT 0 1`.
    pub text: String,
}

/// A row.
#[derive(Debug, Clone)]
pub struct DataRowMessage {
    /// Length field.
    pub length: usize,
    /// The values; bytes of binary values that are not UTF-8 are replaced (the raw bytes are in the result's `data`).
    pub fields: Vec<Option<String>>,
}

/// A column.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its table's OID, or 0.
    pub table_id: i32,
    /// Its number in the table, or 0.
    pub column_id: i16,
    /// Its type's OID.
    pub data_type_id: i32,
    /// `pg_type.typlen`.
    pub data_type_size: i16,
    /// `pg_attribute.atttypmod`.
    pub data_type_modifier: i32,
    /// 0 text, 1 binary.
    pub format: i16,
}

/// The columns of the rows to come.
#[derive(Debug, Clone)]
pub struct RowDescriptionMessage {
    /// Length field.
    pub length: usize,
    /// The columns.
    pub fields: Vec<Field>,
}

/// The parameters of a statement.
#[derive(Debug, Clone)]
pub struct ParameterDescriptionMessage {
    /// Length field.
    pub length: usize,
    /// Their types' OIDs.
    pub data_type_ids: Vec<i32>,
}

/// A reported setting.
#[derive(Debug, Clone)]
pub struct ParameterStatusMessage {
    /// Length field.
    pub length: usize,
    /// The setting.
    pub parameter_name: String,
    /// Its value.
    pub parameter_value: String,
}

/// What a cancel request needs.
#[derive(Debug, Clone)]
pub struct BackendKeyDataMessage {
    /// Length field.
    pub length: usize,
    /// The backend's process number.
    pub process_id: i32,
    /// The key.
    pub secret_key: i32,
}

/// A notification.
#[derive(Debug, Clone)]
pub struct NotificationResponseMessage {
    /// Length field.
    pub length: usize,
    /// The notifying backend's process number.
    pub process_id: i32,
    /// The channel.
    pub channel: String,
    /// The payload; empty if none was given.
    pub payload: String,
}

/// Which way a `COPY` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyDirection {
    /// To the backend.
    In,
    /// From the backend.
    Out,
    /// Both: streaming replication.
    Both,
}

/// A `COPY` begins.
#[derive(Debug, Clone)]
pub struct CopyResponse {
    /// Length field.
    pub length: usize,
    /// Which way.
    pub direction: CopyDirection,
    /// Binary, not text.
    pub binary: bool,
    /// Format of each column: 0 text, 1 binary.
    pub column_types: Vec<i16>,
}

/// Data of a `COPY`.
#[derive(Debug, Clone)]
pub struct CopyDataMessage {
    /// Length field.
    pub length: usize,
    /// The bytes.
    pub chunk: Vec<u8>,
}

/// What the backend wants for authentication; a session that is open has passed it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticationMessage {
    /// Nothing more.
    Ok,
    /// Anything else, by its code.
    Request {
        /// The code.
        code: i32,
        /// What follows it.
        data: Vec<u8>,
    },
}

macro_rules! report {
    ($(#[$doc:meta])* $name:ident, $message:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name {
            /// The length field of the message that brought it.
            pub length: usize,
            /// The text.
            pub message: $message,
            /// `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE`, `DEBUG`, `INFO` or `LOG`; never translated.
            pub severity: Option<String>,
            /// SQLSTATE.
            pub code: Option<String>,
            /// More about it.
            pub detail: Option<String>,
            /// What to do about it.
            pub hint: Option<String>,
            /// Where in the statement, in characters from 1.
            pub position: Option<String>,
            /// Where in `internal_query`.
            pub internal_position: Option<String>,
            /// The statement that a function ran.
            pub internal_query: Option<String>,
            /// The context: a call stack, innermost first.
            pub r#where: Option<String>,
            /// The schema it is about.
            pub schema: Option<String>,
            /// The table it is about.
            pub table: Option<String>,
            /// The column it is about.
            pub column: Option<String>,
            /// The data type it is about.
            pub data_type: Option<String>,
            /// The constraint it is about.
            pub constraint: Option<String>,
            /// Where in PostgreSQL's sources: the file.
            pub file: Option<String>,
            /// The line.
            pub line: Option<String>,
            /// The function.
            pub routine: Option<String>,
        }

        impl $name {
            /// One with nothing but a text.
            #[must_use]
            pub fn new(length: usize, message: $message) -> Self {
                Self { length, message, ..Self::default() }
            }

            /// SQLSTATE: five characters.
            #[must_use]
            pub fn sqlstate(&self) -> Option<&str> {
                self.code.as_deref()
            }

            /// Sets the field that the protocol knows by `kind`; unknown ones are ignored, as the protocol asks.
            pub(crate) fn set(&mut self, kind: u8, value: String) {
                let slot = match kind {
                    b'S' if self.severity.is_none() => &mut self.severity,
                    // Never translated, and so better.
                    b'V' => &mut self.severity,
                    b'C' => &mut self.code,
                    b'M' => {
                        self.message = value.into();
                        return;
                    }
                    b'D' => &mut self.detail,
                    b'H' => &mut self.hint,
                    b'P' => &mut self.position,
                    b'p' => &mut self.internal_position,
                    b'q' => &mut self.internal_query,
                    b'W' => &mut self.r#where,
                    b's' => &mut self.schema,
                    b't' => &mut self.table,
                    b'c' => &mut self.column,
                    b'd' => &mut self.data_type,
                    b'n' => &mut self.constraint,
                    b'F' => &mut self.file,
                    b'L' => &mut self.line,
                    b'R' => &mut self.routine,
                    _ => return,
                };
                *slot = Some(value);
            }
        }
    };
}

report!(
    /// An error of PostgreSQL's.
    DatabaseError,
    String
);
report!(
    /// A notice of PostgreSQL's.
    NoticeMessage,
    Option<String>
);

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.code {
            Some(code) => write!(f, " (SQLSTATE {code})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DatabaseError {}
