//! The list of failures that are known and explained.
//!
//! One test a line, `name: reason`; `#` begins a comment. A listed test that passes must be taken off, and one that fails without being listed
//! fails the run. A reason that begins with `flaky` is for a test that may do either.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::outcome::Outcome;

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Expected(BTreeMap<String, String>);

/// How a run compares with the list.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Failed as the list says, with the reason.
    pub(crate) expected: Vec<(String, String)>,
    /// Failed, or did not run, and is not on the list.
    pub(crate) unexpected: Vec<String>,
    /// Passed though it is on the list.
    pub(crate) passed_after_all: Vec<String>,
}

impl Verdict {
    /// Whether run and list agree.
    pub(crate) fn is_good(&self) -> bool {
        self.unexpected.is_empty() && self.passed_after_all.is_empty()
    }
}

impl Expected {
    /// Reads the list; a missing file is an empty one.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).with_context(|| format!("reading {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let mut list = BTreeMap::new();
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let Some((name, reason)) = line.split_once(": ") else {
                bail!("no reason given: {line}")
            };
            if list
                .insert(name.trim().to_owned(), reason.trim().to_owned())
                .is_some()
            {
                bail!("{name} is listed twice");
            }
        }
        Ok(Self(list))
    }

    /// Whether the test is on the list.
    pub(crate) fn lists(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Compares.
    pub(crate) fn judge(&self, wanted: &[String], outcome: &Outcome) -> Verdict {
        let mut verdict = Verdict::default();
        for name in wanted {
            match (outcome.has_passed(name), self.0.get(name)) {
                (true, Some(reason)) if !reason.starts_with("flaky") => {
                    verdict.passed_after_all.push(name.clone());
                }
                (true, _) => {}
                (false, Some(reason)) => verdict.expected.push((name.clone(), reason.clone())),
                (false, None) => verdict.unexpected.push(name.clone()),
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_compared_with_the_list() {
        let list =
            Expected::parse("# why\nb: no ICU here\nc: fixed\nd: flaky, a race of its own\n")
                .unwrap();
        let mut outcome = Outcome::default();
        for line in [
            "ok 1 - a 1 ms",
            "not ok 2 - b 1 ms",
            "ok 3 - c 1 ms",
            "ok 4 - d 1 ms",
            "not ok 5 - e 1 ms",
        ] {
            outcome.take(line);
        }
        let wanted: Vec<String> = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).into();
        let verdict = list.judge(&wanted, &outcome);
        assert_eq!(
            verdict.expected,
            [("b".to_owned(), "no ICU here".to_owned())]
        );
        assert_eq!(verdict.unexpected, ["e", "f"]);
        assert_eq!(verdict.passed_after_all, ["c"]);
        assert!(Expected::parse("b\n").is_err());
        assert!(Expected::parse("b: x\nb: y\n").is_err());
    }
}
