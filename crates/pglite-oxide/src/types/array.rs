//! PostgreSQL's array literals.

use serde_json::Value;

use super::ArrayType;
use super::value::{plain_text, unserializable};
use crate::error::BoxError;

/// How deep brackets may nest; PostgreSQL's own limit is 6.
const MAX_DEPTH: usize = 16;

/// A JSON array from an array literal. A text that is none becomes a string.
pub(crate) fn parse_array(text: &str, delimiter: char, element: &dyn Fn(&str) -> Value) -> Value {
    // `[0:2]={…}`: explicit lower bounds come first.
    let body = match text.strip_prefix('[') {
        Some(_) => text.split_once('=').map_or(text, |(_, body)| body),
        None => text,
    };
    let mut reader = Reader {
        rest: body,
        delimiter,
        element,
    };
    match reader.array(0) {
        Some(value) if reader.rest.is_empty() => value,
        _ => Value::String(text.to_owned()),
    }
}

struct Reader<'a> {
    rest: &'a str,
    delimiter: char,
    element: &'a dyn Fn(&str) -> Value,
}

impl Reader<'_> {
    fn array(&mut self, depth: usize) -> Option<Value> {
        self.rest = self.rest.strip_prefix('{')?;
        if depth > MAX_DEPTH {
            return None;
        }
        let mut items = Vec::new();
        if let Some(rest) = self.rest.strip_prefix('}') {
            self.rest = rest;
            return Some(Value::Array(items));
        }
        loop {
            items.push(match self.rest.chars().next()? {
                '{' => self.array(depth + 1)?,
                '"' => self.quoted()?,
                _ => self.bare()?,
            });
            let next = self.rest.chars().next()?;
            self.rest = &self.rest[next.len_utf8()..];
            match next {
                '}' => return Some(Value::Array(items)),
                other if other == self.delimiter => {}
                _ => return None,
            }
        }
    }

    fn quoted(&mut self) -> Option<Value> {
        let inner = self.rest.strip_prefix('"')?;
        let mut text = String::new();
        let mut characters = inner.char_indices();
        loop {
            match characters.next()? {
                (at, '"') => {
                    self.rest = &inner[at + 1..];
                    return Some((self.element)(&text));
                }
                (_, '\\') => text.push(characters.next()?.1),
                (_, other) => text.push(other),
            }
        }
    }

    fn bare(&mut self) -> Option<Value> {
        let end = self.rest.find([self.delimiter, '}'])?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(if text.eq_ignore_ascii_case("NULL") {
            Value::Null
        } else {
            (self.element)(text)
        })
    }
}

/// An array literal from a JSON array; a string is taken to be one already.
pub(crate) fn serialize_array(
    value: &Value,
    array: ArrayType,
    element: &dyn Fn(&Value) -> Result<String, BoxError>,
) -> Result<String, BoxError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Array(items) => {
            let mut out = String::new();
            write_items(&mut out, items, array, element)?;
            Ok(out)
        }
        other => Err(unserializable(&plain_text(other), "an array")),
    }
}

fn write_items(
    out: &mut String,
    items: &[Value],
    array: ArrayType,
    element: &dyn Fn(&Value) -> Result<String, BoxError>,
) -> Result<(), BoxError> {
    // An array of `bytea` or `json` may have elements that are JSON arrays themselves.
    let nests = !super::value::takes_arrays(array.element);
    out.push('{');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(array.delimiter);
        }
        match item {
            Value::Null => out.push_str("NULL"),
            Value::Array(inner) if nests => write_items(out, inner, array, element)?,
            item => {
                out.push('"');
                for character in element(item)?.chars() {
                    if matches!(character, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(character);
                }
                out.push('"');
            }
        }
    }
    out.push('}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(text: &str) -> Value {
        parse_array(text, ',', &|item| json!(item))
    }

    #[test]
    fn literals() {
        assert_eq!(parse("{}"), json!([]));
        assert_eq!(parse("{a,b}"), json!(["a", "b"]));
        assert_eq!(
            parse(r#"{"a,b","c\"d\\",NULL,"NULL",""}"#),
            json!(["a,b", "c\"d\\", null, "NULL", ""])
        );
        assert_eq!(parse("{{1,2},{3,4}}"), json!([["1", "2"], ["3", "4"]]));
        assert_eq!(parse("[0:1]={é,ü}"), json!(["é", "ü"]));
    }

    #[test]
    fn nonsense_stays_text() {
        for text in ["", "{", "{a", "{a}x", "{\"a}", "[0:1", "{a}}", "{\"a\"b}"] {
            assert_eq!(parse(text), json!(text));
        }
        let deep = "{".repeat(100_000);
        assert_eq!(parse(&deep), json!(deep));
    }

    #[test]
    fn back_again() {
        let array = ArrayType {
            element: super::super::TEXT,
            delimiter: ',',
        };
        let value = json!([["a\"b", null], ["c,d\\", "NULL"]]);
        let text = serialize_array(&value, array, &|item| {
            Ok(item.as_str().unwrap_or_default().to_owned())
        })
        .unwrap();
        assert_eq!(text, r#"{{"a\"b",NULL},{"c,d\\","NULL"}}"#);
        assert_eq!(parse(&text), value);
        assert!(serialize_array(&json!(3), array, &|_| Ok(String::new())).is_err());
    }
}
