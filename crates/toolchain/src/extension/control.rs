//! Control files of extensions.

/// What is of interest here in a control file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    /// What `CREATE EXTENSION` creates.
    pub default_version: Option<String>,
    /// Extensions that must be there.
    pub requires: Vec<String>,
}

impl Control {
    /// Reads the text of `NAME.control`: lines `name = value` or `name = 'value'`, comments after `#`.
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            let value = value_of(value.trim());
            match name.trim() {
                "default_version" => found.default_version = Some(value),
                "requires" => {
                    found.requires = value
                        .split(',')
                        .map(|name| name.trim().trim_matches('"').to_owned())
                        .filter(|name| !name.is_empty())
                        .collect();
                }
                _ => {}
            }
        }
        found
    }
}

/// A quoted value with `''` for a quote, or a bare word; comments end either.
fn value_of(text: &str) -> String {
    let Some(quoted) = text.strip_prefix('\'') else {
        return text.split('#').next().unwrap_or_default().trim().to_owned();
    };
    let mut out = String::new();
    let mut chars = quoted.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\'' {
            out.push(c);
        } else if chars.next_if_eq(&'\'').is_some() {
            out.push('\'');
        } else {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_postgres_reads_them() {
        let control = Control::parse(
            "# a comment = 'x'\ncomment = 'it''s = good' # yes\ndefault_version = '1.0' # first\nrequires = 'cube, \"uuid-ossp\"'\n",
        );
        assert_eq!(control.default_version.as_deref(), Some("1.0"));
        assert_eq!(control.requires, ["cube", "uuid-ossp"]);
        assert_eq!(
            Control::parse("default_version = 2 # bare")
                .default_version
                .as_deref(),
            Some("2")
        );
        assert_eq!(value_of("'it''s' # x"), "it's");
    }
}
