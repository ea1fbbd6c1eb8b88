//! Single values.

use std::fmt::Write as _;

use serde_json::{Number, Value};

use super::{BOOL, BYTEA, FLOAT4, FLOAT8, INT2, INT4, INT8, JSON, JSONB, NUMERIC, OID};
use crate::error::BoxError;

/// An `f64` keeps every decimal number of this many significant digits.
const EXACT_DIGITS: usize = 15;

/// True when the type has a JSON form of its own; the others are strings.
pub(super) fn has_form(type_id: i32) -> bool {
    matches!(
        type_id,
        BOOL | BYTEA | INT2 | INT4 | INT8 | OID | FLOAT4 | FLOAT8 | NUMERIC | JSON | JSONB
    )
}

/// True when a JSON array can be one value of this type.
pub(super) fn takes_arrays(type_id: i32) -> bool {
    matches!(type_id, BYTEA | JSON | JSONB)
}

/// A JSON value from the text form.
pub(super) fn parse_scalar(text: &str, type_id: i32) -> Value {
    let value = match type_id {
        INT2 | INT4 | INT8 | OID => text.parse::<i64>().ok().map(Value::from),
        BOOL => Some(Value::Bool(text == "t")),
        FLOAT4 | FLOAT8 => float(text),
        NUMERIC => exact(text),
        JSON | JSONB => serde_json::from_str(text).ok(),
        BYTEA => bytes(text).map(Value::from),
        _ => None,
    };
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// `from_f64` refuses what JSON has not.
fn float(text: &str) -> Option<Value> {
    text.parse()
        .ok()
        .and_then(Number::from_f64)
        .map(Value::Number)
}

fn exact(text: &str) -> Option<Value> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Value::from(whole));
    }
    let digits = text
        .bytes()
        .filter(u8::is_ascii_digit)
        .skip_while(|digit| *digit == b'0')
        .count();
    if digits > EXACT_DIGITS {
        None
    } else {
        float(text)
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let hex = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    if hex.len() % 2 != 0 {
        return None;
    }
    hex.chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

/// The text form of a parameter.
pub(super) fn serialize_scalar(value: &Value, type_id: i32) -> Result<String, BoxError> {
    // A JSON string given for a JSON parameter is the document's text, as PostgreSQL's own literals are.
    if let Value::String(text) = value {
        return Ok(text.clone());
    }
    match type_id {
        BOOL => match value {
            Value::Bool(flag) => Ok(if *flag { "t" } else { "f" }.to_owned()),
            Value::Number(number) => Ok(if number.as_f64() == Some(0.0) {
                "f"
            } else {
                "t"
            }
            .to_owned()),
            other => Err(unserializable(&plain_text(other), "a boolean")),
        },
        INT2 | INT4 | INT8 | OID | FLOAT4 | FLOAT8 | NUMERIC => match value {
            Value::Number(number) => Ok(number.to_string()),
            other => Err(unserializable(&plain_text(other), "a number")),
        },
        BYTEA => match value {
            Value::Array(items) => {
                let mut out = String::with_capacity(2 + 2 * items.len());
                out.push_str("\\x");
                for item in items {
                    let byte = item.as_u64().and_then(|byte| u8::try_from(byte).ok());
                    let byte = byte.ok_or_else(|| unserializable(&plain_text(item), "a byte"))?;
                    let _ = write!(out, "{byte:02x}");
                }
                Ok(out)
            }
            other => Err(unserializable(&plain_text(other), "bytes")),
        },
        JSON | JSONB => Ok(value.to_string()),
        _ => Ok(plain_text(value)),
    }
}

/// What a value is where its type says nothing.
pub(super) fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => if *flag { "t" } else { "f" }.to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn unserializable(value: &str, wanted: &str) -> BoxError {
    let shown: String = value.chars().take(80).collect();
    format!("{shown} is not {wanted}").into()
}

#[cfg(test)]
mod tests {
    use super::super::TEXT;
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(
            parse_scalar("9223372036854775807", INT8),
            json!(9_223_372_036_854_775_807_i64)
        );
        assert_eq!(parse_scalar("4294967295", OID), json!(4_294_967_295_u32));
        assert_eq!(parse_scalar("1.5", FLOAT8), json!(1.5));
        assert_eq!(parse_scalar("NaN", FLOAT8), json!("NaN"));
        assert_eq!(parse_scalar("-Infinity", FLOAT4), json!("-Infinity"));
        assert_eq!(parse_scalar("12.50", NUMERIC), json!(12.5));
        assert_eq!(
            parse_scalar("0.1234567890123456", NUMERIC),
            json!("0.1234567890123456")
        );
        assert_eq!(
            parse_scalar("123456789012345678901234567890", NUMERIC),
            json!("123456789012345678901234567890")
        );
        assert_eq!(parse_scalar("NaN", NUMERIC), json!("NaN"));
    }

    #[test]
    fn the_rest() {
        assert_eq!(parse_scalar("t", BOOL), json!(true));
        assert_eq!(
            parse_scalar("{\"a\": [1, null]}", JSONB),
            json!({"a": [1, null]})
        );
        assert_eq!(parse_scalar("\\x00ff10", BYTEA), json!([0, 255, 16]));
        assert_eq!(parse_scalar("\\x0", BYTEA), json!("\\x0"));
        assert_eq!(parse_scalar("\\x+1", BYTEA), json!("\\x+1"));
        assert_eq!(
            parse_scalar("2026-01-02", super::super::DATE),
            json!("2026-01-02")
        );
    }

    #[test]
    fn parameters() {
        assert_eq!(serialize_scalar(&json!(7), INT4).unwrap(), "7");
        assert_eq!(serialize_scalar(&json!("7"), INT4).unwrap(), "7");
        assert!(serialize_scalar(&json!(true), INT4).is_err());
        assert_eq!(serialize_scalar(&json!(0), BOOL).unwrap(), "f");
        assert_eq!(
            serialize_scalar(&json!([1, 255]), BYTEA).unwrap(),
            "\\x01ff"
        );
        assert!(serialize_scalar(&json!([256]), BYTEA).is_err());
        assert_eq!(
            serialize_scalar(&json!({"a": 1}), JSONB).unwrap(),
            "{\"a\":1}"
        );
        assert_eq!(serialize_scalar(&json!(5), TEXT).unwrap(), "5");
        assert_eq!(serialize_scalar(&json!(true), TEXT).unwrap(), "t");
    }
}
