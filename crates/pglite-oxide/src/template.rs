//! Building statements from parts.

use serde_json::Value;

use crate::error::Result;
use crate::session::Pglite;

/// An identifier in double quotes, ready for SQL.
#[must_use]
pub fn quote_identifier(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A statement under construction: text, identifiers and parameters in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueryTemplate {
    sql: String,
    params: Vec<Value>,
}

/// A finished statement: hand both to [`Pglite::query`].
#[derive(Debug, Clone, PartialEq)]
pub struct TemplatedQuery {
    /// The text, with `$1` and so on.
    pub query: String,
    /// The parameters.
    pub params: Vec<Value>,
}

impl QueryTemplate {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds SQL of the program's own.
    pub fn push_sql(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds SQL as it is. The same as [`Self::push_sql`]: never give it what a stranger wrote.
    pub fn push_raw(&mut self, sql: &str) -> &mut Self {
        self.push_sql(sql)
    }

    /// Adds an identifier, quoted.
    pub fn push_identifier(&mut self, identifier: &str) -> &mut Self {
        self.push_sql(&quote_identifier(identifier))
    }

    /// Adds a parameter.
    pub fn push_param(&mut self, value: impl Into<Value>) -> &mut Self {
        self.params.push(value.into());
        let placeholder = format!("${}", self.params.len());
        self.push_sql(&placeholder)
    }

    /// The statement.
    #[must_use]
    pub fn build(self) -> TemplatedQuery {
        TemplatedQuery {
            query: self.sql,
            params: self.params,
        }
    }
}

/// The statement with its parameters written into it, as PostgreSQL itself quotes them: for logs and for `exec`.
///
/// # Errors
/// Those of [`Pglite::describe_query`] and [`Pglite::query`].
pub fn format_query(session: &mut Pglite, sql: &str, params: &[Value]) -> Result<String> {
    let described = session.describe_query(sql, None)?;
    let mut literals = Vec::with_capacity(params.len());
    for (value, param) in params.iter().zip(&described.query_params) {
        let text = match (value, &param.serializer) {
            (Value::Null, _) => Value::Null,
            (value, Some(serializer)) => {
                Value::String(serializer(value).map_err(crate::error::Error::Other)?)
            }
            (Value::String(text), None) => Value::String(text.clone()),
            (value, None) => Value::String(value.to_string()),
        };
        let options = crate::options::QueryOptions {
            param_types: vec![crate::types::TEXT],
            ..Default::default()
        };
        let quoted = session.query(
            "SELECT quote_nullable($1) AS literal",
            &[text],
            Some(&options),
        )?;
        literals.push(
            quoted
                .rows
                .first()
                .and_then(|row| row["literal"].as_str())
                .unwrap_or("NULL")
                .to_owned(),
        );
    }
    Ok(fill(sql, &literals))
}

/// Replaces `$n` outside of longer numbers.
fn fill(sql: &str, literals: &[String]) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let digits: String = rest[at + 1..]
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        let literal = digits
            .parse::<usize>()
            .ok()
            .and_then(|number| literals.get(number.checked_sub(1)?));
        match literal {
            Some(literal) => out.push_str(literal),
            None => out.push_str(&rest[at..at + 1 + digits.len()]),
        }
        rest = &rest[at + 1 + digits.len()..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_become_a_statement() {
        let mut template = QueryTemplate::new();
        template
            .push_sql("SELECT ")
            .push_identifier("odd\"name")
            .push_sql(" WHERE a = ")
            .push_param(5)
            .push_sql(" AND b = ")
            .push_param("x");
        let built = template.build();
        assert_eq!(built.query, r#"SELECT "odd""name" WHERE a = $1 AND b = $2"#);
        assert_eq!(built.params, [json!(5), json!("x")]);
    }

    #[test]
    fn placeholders_are_filled() {
        let literals: Vec<String> = ["'a'", "'b'"].map(str::to_owned).into();
        assert_eq!(fill("$1 $2 $12 $$ $3", &literals), "'a' 'b' $12 $$ $3");
    }
}
