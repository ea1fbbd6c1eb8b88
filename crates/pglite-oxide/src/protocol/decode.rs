//! From frames to messages. A frame is one whole message: tag, length, body.

use std::io;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::{ErrorFields, Message, RowDescriptionBody};

use super::messages::{
    AuthenticationMessage, BackendKeyDataMessage, BackendMessage, CommandCompleteMessage,
    CopyDataMessage, CopyDirection, CopyResponse, DataRowMessage, DatabaseError, Field,
    NoticeMessage, NotificationResponseMessage, ParameterDescriptionMessage,
    ParameterStatusMessage, ReadyForQueryMessage, RowDescriptionMessage,
};
use crate::error::{Error, Result};

/// Bytes of tag and length.
pub(crate) const HEADER: usize = 5;

/// The tag of a frame; 0 for an impossible empty one.
pub(crate) fn tag(frame: &[u8]) -> u8 {
    frame.first().copied().unwrap_or(0)
}

/// The whole length of the frame that begins here, once its header is there. An impossible length is an error.
pub(crate) fn frame_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(&[_, a, b, c, d]) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    match usize::try_from(i32::from_be_bytes([a, b, c, d])) {
        Ok(length) if length >= 4 => Ok(Some(length + 1)),
        _ => Err(Error::protocol("a message of impossible length")),
    }
}

/// Parses a frame with `postgres-protocol`, which knows all but streaming replication's messages.
pub(crate) fn parse(mut frame: BytesMut) -> Result<Message> {
    Message::parse(&mut frame)
        .map_err(Error::protocol)?
        .ok_or_else(|| Error::protocol("a message that ends early"))
}

/// The error or notice in `fields`.
fn fill(fields: &mut ErrorFields<'_>, mut set: impl FnMut(u8, String)) -> io::Result<()> {
    while let Some(field) = fields.next()? {
        set(
            field.type_(),
            String::from_utf8_lossy(field.value_bytes()).into_owned(),
        );
    }
    Ok(())
}

/// An `ErrorResponse`.
pub(crate) fn error(length: usize, fields: &mut ErrorFields<'_>) -> Result<DatabaseError> {
    let mut error = DatabaseError::new(length, String::new());
    fill(fields, |kind, value| error.set(kind, value)).map_err(Error::protocol)?;
    Ok(error)
}

/// A `NoticeResponse`.
pub(crate) fn notice(length: usize, fields: &mut ErrorFields<'_>) -> Result<NoticeMessage> {
    let mut notice = NoticeMessage::new(length, None);
    fill(fields, |kind, value| notice.set(kind, value)).map_err(Error::protocol)?;
    Ok(notice)
}

/// Name and type OID of the columns.
pub(crate) fn columns(body: &RowDescriptionBody) -> Result<Vec<Field>> {
    let mut fields = body.fields();
    let mut columns = Vec::new();
    while let Some(field) = fields.next().map_err(Error::protocol)? {
        columns.push(Field {
            name: field.name().to_owned(),
            table_id: field.table_oid().cast_signed(),
            column_id: field.column_id(),
            data_type_id: field.type_oid().cast_signed(),
            data_type_size: field.type_size(),
            data_type_modifier: field.type_modifier(),
            format: field.format(),
        });
    }
    Ok(columns)
}

/// Types of a `ParameterDescription`.
pub(crate) fn parameters(
    body: &postgres_protocol::message::backend::ParameterDescriptionBody,
) -> Result<Vec<i32>> {
    body.parameters()
        .map(|oid| Ok(oid.cast_signed()))
        .collect()
        .map_err(Error::protocol)
}

/// A frame as callers see it.
pub(crate) fn message(frame: BytesMut) -> Result<BackendMessage> {
    let length = frame.len().saturating_sub(1);
    if tag(&frame) == b'R' {
        return Ok(BackendMessage::Authentication(authentication(&frame)));
    }
    if !b"123ACdDEGHIKnNsStTZc".contains(&tag(&frame)) {
        return Ok(unusual(&frame, length));
    }
    Ok(match parse(frame)? {
        Message::ParseComplete => BackendMessage::ParseComplete { length },
        Message::BindComplete => BackendMessage::BindComplete { length },
        Message::CloseComplete => BackendMessage::CloseComplete { length },
        Message::NoData => BackendMessage::NoData { length },
        Message::PortalSuspended => BackendMessage::PortalSuspended { length },
        Message::EmptyQueryResponse => BackendMessage::EmptyQuery { length },
        Message::CopyDone => BackendMessage::CopyDone { length },
        Message::ReadyForQuery(body) => BackendMessage::ReadyForQuery(ReadyForQueryMessage {
            length,
            status: body.status(),
        }),
        Message::CommandComplete(body) => BackendMessage::CommandComplete(CommandCompleteMessage {
            length,
            text: body.tag().map_err(Error::protocol)?.to_owned(),
        }),
        Message::DataRow(body) => {
            let mut ranges = body.ranges();
            let mut fields = Vec::new();
            while let Some(range) = ranges.next().map_err(Error::protocol)? {
                fields.push(
                    range.map(|range| String::from_utf8_lossy(&body.buffer()[range]).into_owned()),
                );
            }
            BackendMessage::DataRow(DataRowMessage { length, fields })
        }
        Message::RowDescription(body) => BackendMessage::RowDescription(RowDescriptionMessage {
            length,
            fields: columns(&body)?,
        }),
        Message::ParameterDescription(body) => {
            BackendMessage::ParameterDescription(ParameterDescriptionMessage {
                length,
                data_type_ids: parameters(&body)?,
            })
        }
        Message::ParameterStatus(body) => BackendMessage::ParameterStatus(ParameterStatusMessage {
            length,
            parameter_name: body.name().map_err(Error::protocol)?.to_owned(),
            parameter_value: body.value().map_err(Error::protocol)?.to_owned(),
        }),
        Message::BackendKeyData(body) => BackendMessage::BackendKeyData(BackendKeyDataMessage {
            length,
            process_id: body.process_id(),
            secret_key: body.secret_key(),
        }),
        Message::NotificationResponse(body) => {
            BackendMessage::Notification(NotificationResponseMessage {
                length,
                process_id: body.process_id(),
                channel: body.channel().map_err(Error::protocol)?.to_owned(),
                payload: body.message().map_err(Error::protocol)?.to_owned(),
            })
        }
        Message::CopyInResponse(body) => BackendMessage::CopyResponse(CopyResponse {
            length,
            direction: CopyDirection::In,
            binary: body.format() == 1,
            column_types: body
                .column_formats()
                .map(|format| Ok(format.cast_signed()))
                .collect()
                .map_err(Error::protocol)?,
        }),
        Message::CopyOutResponse(body) => BackendMessage::CopyResponse(CopyResponse {
            length,
            direction: CopyDirection::Out,
            binary: body.format() == 1,
            column_types: body
                .column_formats()
                .map(|format| Ok(format.cast_signed()))
                .collect()
                .map_err(Error::protocol)?,
        }),
        Message::CopyData(body) => BackendMessage::CopyData(CopyDataMessage {
            length,
            chunk: body.data().to_vec(),
        }),
        Message::ErrorResponse(body) => BackendMessage::Error(error(length, &mut body.fields())?),
        Message::NoticeResponse(body) => {
            BackendMessage::Notice(notice(length, &mut body.fields())?)
        }
        _ => return Err(Error::protocol("a message out of place")),
    })
}

fn unusual(frame: &[u8], length: usize) -> BackendMessage {
    let body = frame.get(HEADER..).unwrap_or_default();
    match (tag(frame), body) {
        (b'W', [format, _, _, columns @ ..]) => BackendMessage::CopyResponse(CopyResponse {
            length,
            direction: CopyDirection::Both,
            binary: *format == 1,
            column_types: columns
                .chunks_exact(2)
                .map(|pair| i16::from_be_bytes([pair[0], pair[1]]))
                .collect(),
        }),
        (tag, body) => BackendMessage::Other {
            tag,
            body: body.to_vec(),
        },
    }
}

fn authentication(frame: &[u8]) -> AuthenticationMessage {
    let body = frame.get(HEADER..).unwrap_or_default();
    match body.split_first_chunk::<4>() {
        Some((&[0, 0, 0, 0], _)) => AuthenticationMessage::Ok,
        Some((code, data)) => AuthenticationMessage::Request {
            code: i32::from_be_bytes(*code),
            data: data.to_vec(),
        },
        None => AuthenticationMessage::Request {
            code: -1,
            data: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        assert_eq!(frame_length(b"Z\0\0\0").unwrap(), None);
        assert_eq!(frame_length(b"Z\0\0\0\x05I").unwrap(), Some(6));
        assert!(frame_length(b"Z\0\0\0\x03").is_err());
        assert!(frame_length(b"Z\xff\0\0\x03").is_err());
    }

    #[test]
    fn errors_have_all_fields() {
        let body = b"SFEHLER\0VERROR\0C42P01\0Mno table\0P15\0?x\0\0";
        let mut frame = vec![b'E'];
        frame.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        frame.extend(body);
        let BackendMessage::Error(error) = message(BytesMut::from(&frame[..])).unwrap() else {
            panic!()
        };
        assert_eq!(error.severity.as_deref(), Some("ERROR"));
        assert_eq!(error.sqlstate(), Some("42P01"));
        assert_eq!(error.position.as_deref(), Some("15"));
        assert_eq!(error.to_string(), "no table (SQLSTATE 42P01)");
    }

    #[test]
    fn garbage_is_an_error_or_other() {
        for tag in 0..=255_u8 {
            for body in [&b""[..], b"\0", b"\xff\xff\xff\xff", b"\0\x02\0\0\0\x09abc"] {
                let mut frame = vec![tag];
                frame.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
                frame.extend(body);
                let _ = message(BytesMut::from(&frame[..]));
            }
        }
    }
}
