//! `COPY … FROM '/dev/blob'` and `TO '/dev/blob'`, PGlite's way to hand bytes to a `COPY`. No such device exists: the statement is
//! sent as `FROM STDIN` or `TO STDOUT`, and the bytes travel by the protocol.

use std::borrow::Cow;

/// The literal that names the device.
const DEVICE: &str = "'/dev/blob'";

/// The statements with the device replaced in each `COPY`. Literals and comments elsewhere are left alone.
pub(crate) fn rewrite(sql: &str) -> Cow<'_, str> {
    if !sql.contains(DEVICE) {
        return Cow::Borrowed(sql);
    }
    let mut out = String::with_capacity(sql.len());
    // The first word of the statement, and the one before this token.
    let (mut first, mut previous) = ("", "");
    let mut rest = sql;
    while !rest.is_empty() {
        let (token, kind) = next(rest);
        rest = &rest[token.len()..];
        let replacement = match kind {
            Kind::Literal if token == DEVICE && first.eq_ignore_ascii_case("copy") => {
                match previous {
                    word if word.eq_ignore_ascii_case("from") => Some("STDIN"),
                    word if word.eq_ignore_ascii_case("to") => Some("STDOUT"),
                    _ => None,
                }
            }
            _ => None,
        };
        out.push_str(replacement.unwrap_or(token));
        match kind {
            Kind::Space => {}
            Kind::End => (first, previous) = ("", ""),
            Kind::Word | Kind::Literal => {
                if first.is_empty() {
                    first = token;
                }
                previous = token;
            }
        }
    }
    Cow::Owned(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// White space and comments.
    Space,
    Word,
    /// Anything quoted, and single other characters.
    Literal,
    /// A semicolon.
    End,
}

/// The first token of `sql`, which is not empty.
fn next(sql: &str) -> (&str, Kind) {
    let (length, kind) = if sql.starts_with(char::is_whitespace) {
        (
            sql.find(|c: char| !c.is_whitespace()).unwrap_or(sql.len()),
            Kind::Space,
        )
    } else if sql.starts_with("--") {
        (sql.find('\n').unwrap_or(sql.len()), Kind::Space)
    } else if sql.starts_with("/*") {
        (comment(sql), Kind::Space)
    } else if sql.starts_with("E'") || sql.starts_with("e'") {
        (1 + quoted(&sql[1..], '\'', true), Kind::Literal)
    } else if sql.starts_with('\'') {
        (quoted(sql, '\'', false), Kind::Literal)
    } else if sql.starts_with('"') {
        (quoted(sql, '"', false), Kind::Literal)
    } else if let Some(length) = dollar(sql) {
        (length, Kind::Literal)
    } else if sql.starts_with(';') {
        (1, Kind::End)
    } else if sql.starts_with(word_start) {
        (
            sql.find(|c: char| !(word_start(c) || c.is_ascii_digit() || c == '$'))
                .unwrap_or(sql.len()),
            Kind::Word,
        )
    } else {
        (
            sql.chars().next().map_or(sql.len(), char::len_utf8),
            Kind::Literal,
        )
    };
    (&sql[..length], kind)
}

fn word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

/// The length of a quoted token that begins at byte 0. A doubled quote shows as two tokens, which does no harm here.
fn quoted(sql: &str, quote: char, escapes: bool) -> usize {
    let mut characters = sql.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if c == '\\' && escapes {
            characters.next();
        } else if c == quote {
            return at + 1;
        }
    }
    sql.len()
}

/// The length of a comment; they nest.
fn comment(sql: &str) -> usize {
    let bytes = sql.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" if depth == 1 => return at + 2,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
    }
    sql.len()
}

/// The length of a dollar-quoted literal, if one begins here.
fn dollar(sql: &str) -> Option<usize> {
    let tag_end = sql.strip_prefix('$')?.find('$')? + 2;
    let tag = &sql[..tag_end];
    let name = &tag[1..tag_end - 1];
    let valid = name.is_empty()
        || name.starts_with(word_start)
            && name.chars().all(|c| word_start(c) || c.is_ascii_digit());
    valid.then(|| {
        sql[tag_end..]
            .find(tag)
            .map_or(sql.len(), |end| tag_end + end + tag_end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_rewritten() {
        assert_eq!(
            rewrite("COPY t FROM '/dev/blob' WITH (FORMAT csv)"),
            "COPY t FROM STDIN WITH (FORMAT csv)"
        );
        assert_eq!(
            rewrite("copy (select 1) to\n'/dev/blob'"),
            "copy (select 1) to\nSTDOUT"
        );
        assert_eq!(
            rewrite("/* a; */ select 1; -- x;\n COPY \"t;\" TO /* here */ '/dev/blob';"),
            "/* a; */ select 1; -- x;\n COPY \"t;\" TO /* here */ STDOUT;"
        );
    }

    #[test]
    fn the_rest_is_not() {
        for sql in [
            "SELECT '/dev/blob'",
            "INSERT INTO t SELECT 'x' FROM '/dev/blob'",
            "COPY t FROM STDIN WITH (NULL '/dev/blob')",
            "SELECT $$COPY t FROM '/dev/blob'$$",
            "SELECT $a$COPY t FROM '/dev/blob'$$$a$",
            "SELECT E'\\'; COPY t FROM '/dev/blob' '",
            "-- COPY t FROM '/dev/blob'",
            "/* /* */ ; COPY t FROM '/dev/blob' */",
            "SELECT 'unfinished ; COPY t FROM '/dev/blob'",
        ] {
            assert_eq!(rewrite(sql), sql);
        }
    }
}
