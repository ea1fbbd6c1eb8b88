//! The frontend/backend protocol: decoded messages, what answers a request still owes, and the rewriting of `COPY … '/dev/blob'`.

pub(crate) mod decode;
pub(crate) mod device;
mod messages;
pub(crate) mod tracker;

pub use self::messages::{
    AuthenticationMessage, BackendKeyDataMessage, BackendMessage, CommandCompleteMessage,
    CopyDataMessage, CopyDirection, CopyResponse, DataRowMessage, DatabaseError, Field,
    NoticeMessage, NotificationResponseMessage, ParameterDescriptionMessage,
    ParameterStatusMessage, ReadyForQueryMessage, RowDescriptionMessage,
};
