//! PostgreSQL's values as JSON, and back. Values travel in PostgreSQL's text form.
//!
//! | PostgreSQL | JSON |
//! |---|---|
//! | `bool` | boolean |
//! | `int2`, `int4`, `int8`, `oid` | number (all 64 bits of an `int8` are kept) |
//! | `float4`, `float8` | number; `NaN` and the infinities are strings, since JSON has none |
//! | `numeric` | number if it has at most 15 significant digits and so survives as one, else a string with every digit |
//! | `json`, `jsonb` | the value itself |
//! | `bytea` | array of numbers 0 to 255 (a string if `bytea_output` is not `hex`) |
//! | arrays of any type | array, nested for more dimensions; explicit lower bounds are dropped |
//! | everything else: text, dates, times, `uuid`, ranges, enums, composites … | string, PostgreSQL's own text form |
//! | NULL | null |
//!
//! Parameters take the same forms; a string is passed on as it is for every type, so that any value can be written as
//! PostgreSQL's literal for it. `bytea` also takes a string (`\x…`), `bool` also 0 and 1.

mod array;
mod value;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

pub(crate) use self::array::{parse_array, serialize_array};
use self::value::{parse_scalar, serialize_scalar};
use crate::error::BoxError;
use crate::options::{ParserMap, Serializer, SerializerMap, TypeParser};

/// `bool`.
pub const BOOL: i32 = 16;
/// `bytea`.
pub const BYTEA: i32 = 17;
/// `"char"`.
pub const CHAR: i32 = 18;
/// `int8`.
pub const INT8: i32 = 20;
/// `int2`.
pub const INT2: i32 = 21;
/// `int4`.
pub const INT4: i32 = 23;
/// `text`.
pub const TEXT: i32 = 25;
/// `oid`.
pub const OID: i32 = 26;
/// `json`.
pub const JSON: i32 = 114;
/// `float4`.
pub const FLOAT4: i32 = 700;
/// `float8`.
pub const FLOAT8: i32 = 701;
/// `date`.
pub const DATE: i32 = 1082;
/// `timestamp`.
pub const TIMESTAMP: i32 = 1114;
/// `timestamptz`.
pub const TIMESTAMPTZ: i32 = 1184;
/// `numeric`.
pub const NUMERIC: i32 = 1700;
/// `uuid`.
pub const UUID: i32 = 2950;
/// `jsonb`.
pub const JSONB: i32 = 3802;

/// OIDs from here on are of types made by `CREATE TYPE` and the like.
const FIRST_USER_OID: i32 = 16384;

/// An array type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArrayType {
    /// The elements' type.
    pub(crate) element: i32,
    /// Between elements: a comma, for `box` a semicolon.
    pub(crate) delimiter: char,
}

/// The catalogue's array types: element, array. The OIDs of built-in types never change.
const ARRAYS: [(i32, i32); 78] = [
    (16, 1000),
    (17, 1001),
    (18, 1002),
    (19, 1003),
    (20, 1016),
    (21, 1005),
    (22, 1006),
    (23, 1007),
    (24, 1008),
    (25, 1009),
    (26, 1028),
    (27, 1010),
    (28, 1011),
    (29, 1012),
    (30, 1013),
    (114, 199),
    (142, 143),
    (600, 1017),
    (601, 1018),
    (602, 1019),
    (603, 1020),
    (604, 1027),
    (628, 629),
    (650, 651),
    (700, 1021),
    (701, 1022),
    (718, 719),
    (774, 775),
    (790, 791),
    (829, 1040),
    (869, 1041),
    (1033, 1034),
    (1042, 1014),
    (1043, 1015),
    (1082, 1182),
    (1083, 1183),
    (1114, 1115),
    (1184, 1185),
    (1186, 1187),
    (1266, 1270),
    (1560, 1561),
    (1562, 1563),
    (1700, 1231),
    (1790, 2201),
    (2202, 2207),
    (2203, 2208),
    (2204, 2209),
    (2205, 2210),
    (2206, 2211),
    (2249, 2287),
    (2275, 1263),
    (2950, 2951),
    (2970, 2949),
    (3220, 3221),
    (3614, 3643),
    (3615, 3645),
    (3642, 3644),
    (3734, 3735),
    (3769, 3770),
    (3802, 3807),
    (3904, 3905),
    (3906, 3907),
    (3908, 3909),
    (3910, 3911),
    (3912, 3913),
    (3926, 3927),
    (4072, 4073),
    (4089, 4090),
    (4096, 4097),
    (4191, 4192),
    (4451, 6150),
    (4532, 6151),
    (4533, 6152),
    (4534, 6153),
    (4535, 6155),
    (4536, 6157),
    (5038, 5039),
    (5069, 271),
];
/// `box`, whose arrays are written with semicolons.
const BOX: i32 = 603;

fn builtin_array(type_id: i32) -> Option<ArrayType> {
    let (element, _) = ARRAYS.iter().find(|(_, array)| *array == type_id)?;
    Some(ArrayType {
        element: *element,
        delimiter: if *element == BOX { ';' } else { ',' },
    })
}

/// What one session knows about types beyond the built-in ones.
#[derive(Debug, Default)]
pub(crate) struct Types {
    /// Array types made by users, by their OID.
    arrays: HashMap<i32, ArrayType>,
    /// User types that turned out not to be arrays.
    others: HashSet<i32>,
}

impl Types {
    /// True for a user's type that may be an array we have not heard of.
    pub(crate) fn is_unknown(&self, type_id: i32) -> bool {
        type_id >= FIRST_USER_OID
            && !self.arrays.contains_key(&type_id)
            && !self.others.contains(&type_id)
    }

    /// Replaces the known array types.
    pub(crate) fn set_arrays(&mut self, arrays: HashMap<i32, ArrayType>) {
        self.arrays = arrays;
        self.others.clear();
    }

    /// Remembers that these are no arrays.
    pub(crate) fn settle(&mut self, type_ids: impl IntoIterator<Item = i32>) {
        for type_id in type_ids {
            if self.is_unknown(type_id) {
                self.others.insert(type_id);
            }
        }
    }

    fn array(&self, type_id: i32) -> Option<ArrayType> {
        if type_id >= FIRST_USER_OID {
            self.arrays.get(&type_id).copied()
        } else {
            builtin_array(type_id)
        }
    }

    /// The reader of a column.
    pub(crate) fn column(&self, type_id: i32, overrides: &ParserMap) -> Column {
        if let Some(parser) = overrides.get(&type_id) {
            return Column::Custom(type_id, Arc::clone(parser));
        }
        match self.array(type_id) {
            Some(array) => Column::Array(array, overrides.get(&array.element).cloned()),
            None => Column::Scalar(type_id),
        }
    }

    /// The text form of a parameter.
    pub(crate) fn serialize(
        &self,
        value: &Value,
        type_id: i32,
        overrides: &SerializerMap,
    ) -> Result<String, BoxError> {
        if let Some(serializer) = overrides.get(&type_id) {
            return serializer(value);
        }
        match self.array(type_id) {
            Some(array) => {
                let custom = overrides.get(&array.element);
                serialize_array(value, array, &|element| match custom {
                    Some(serializer) => serializer(element),
                    None => serialize_scalar(element, array.element),
                })
            }
            None => serialize_scalar(value, type_id),
        }
    }

    /// The default parser of a type, if it has one.
    pub(crate) fn parser(&self, type_id: i32) -> Option<TypeParser> {
        let column = self.column(type_id, &ParserMap::new());
        if matches!(column, Column::Scalar(_)) && !value::has_form(type_id) {
            return None;
        }
        Some(Arc::new(move |text, _| column.parse(text)))
    }

    /// The default serializer of a type, if it has one.
    pub(crate) fn serializer(&self, type_id: i32) -> Option<Serializer> {
        match self.array(type_id) {
            Some(array) => Some(Arc::new(move |value| {
                serialize_array(value, array, &|element| {
                    serialize_scalar(element, array.element)
                })
            })),
            None if value::has_form(type_id) => {
                Some(Arc::new(move |value| serialize_scalar(value, type_id)))
            }
            None => None,
        }
    }
}

/// How the values of one column are read.
#[derive(Clone)]
pub(crate) enum Column {
    /// By a parser of the caller's.
    Custom(i32, TypeParser),
    /// As an array; elements by a parser of the caller's, if there is one.
    Array(ArrayType, Option<TypeParser>),
    /// As a single value.
    Scalar(i32),
}

impl Column {
    /// A value from its text form.
    pub(crate) fn parse(&self, text: &str) -> Value {
        match self {
            Self::Custom(type_id, parser) => parser(text, *type_id),
            Self::Array(array, None) => parse_array(text, array.delimiter, &|item| {
                parse_scalar(item, array.element)
            }),
            Self::Array(array, Some(parser)) => {
                parse_array(text, array.delimiter, &|item| parser(item, array.element))
            }
            Self::Scalar(type_id) => parse_scalar(text, *type_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_of_arrays() {
        let types = Types::default();
        let none = ParserMap::new();
        assert_eq!(
            types.column(1007, &none).parse("{1,NULL,3}"),
            json!([1, null, 3])
        );
        assert_eq!(
            types.column(1020, &none).parse("{(1,1),(0,0);(2,2),(1,1)}"),
            json!(["(1,1),(0,0)", "(2,2),(1,1)"])
        );
        assert_eq!(
            types.column(3807, &none).parse(r#"{"{\"a\": 1}","[2]"}"#),
            json!([{"a": 1}, [2]])
        );
        assert_eq!(types.column(TEXT, &none).parse("{1}"), json!("{1}"));
        let shout: TypeParser = Arc::new(|text, _| json!(text.to_uppercase()));
        let custom = ParserMap::from([(TEXT, shout)]);
        assert_eq!(
            types.column(1009, &custom).parse("{a,b}"),
            json!(["A", "B"])
        );
    }

    #[test]
    fn types_of_users_are_asked_for_once() {
        let mut types = Types::default();
        assert!(types.is_unknown(16385) && !types.is_unknown(1007));
        types.set_arrays(HashMap::from([(
            16386,
            ArrayType {
                element: 16385,
                delimiter: ',',
            },
        )]));
        types.settle([16385, 16386]);
        assert!(!types.is_unknown(16385) && !types.is_unknown(16386));
        assert_eq!(
            types.column(16386, &ParserMap::new()).parse("{x}"),
            json!(["x"])
        );
        assert_eq!(
            types
                .serialize(&json!(["x", "y z"]), 16386, &SerializerMap::new())
                .unwrap(),
            r#"{"x","y z"}"#
        );
    }
}
