//! What `pg_regress` said, and the differences it recorded.

use std::collections::BTreeMap;
use std::path::Path;

/// One finished test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// Its name in the schedule.
    pub(crate) name: String,
    /// Whether its output was one of the expected ones.
    pub(crate) passed: bool,
    /// How long it took, in milliseconds.
    pub(crate) millis: u64,
}

/// The finished tests of a run, in order.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    tests: Vec<Test>,
}

impl Outcome {
    /// Takes one line of TAP (`not ok 12    + name     345 ms`); returns the test if the line reports one.
    pub(crate) fn take(&mut self, line: &str) -> Option<Test> {
        let (passed, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok ")?),
        };
        let mut words = rest.split_whitespace();
        let _number: u32 = words.next()?.parse().ok()?;
        if !matches!(words.next()?, "-" | "+") {
            return None;
        }
        let name = words.next()?.to_owned();
        let millis = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let test = Test {
            name,
            passed,
            millis,
        };
        self.tests.push(test.clone());
        Some(test)
    }

    /// Adds one that another run reported.
    pub(crate) fn add(&mut self, name: &str, passed: bool) {
        self.tests.push(Test {
            name: name.to_owned(),
            passed,
            millis: 0,
        });
    }

    /// All of them.
    pub(crate) fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// Whether this test ran and passed.
    pub(crate) fn has_passed(&self, name: &str) -> bool {
        self.tests
            .iter()
            .any(|test| test.name == name && test.passed)
    }

    /// How many of the wanted tests passed; one that did not run did not pass.
    pub(crate) fn passed(&self, wanted: &[String]) -> usize {
        wanted.iter().filter(|name| self.has_passed(name)).count()
    }
}

/// The differences of `regression.diffs`, by test.
pub(crate) fn diffs(path: &Path) -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read(path).unwrap_or_default();
    let mut diffs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in String::from_utf8_lossy(&text).lines() {
        if line.starts_with("diff ") {
            let name = line
                .rsplit('/')
                .next()
                .and_then(|file| file.strip_suffix(".out"));
            current = name.map(str::to_owned);
        } else if let Some(name) = &current {
            diffs.entry(name.clone()).or_default().push(line.to_owned());
        }
    }
    diffs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tap_lines_are_read() {
        let mut outcome = Outcome::default();
        for line in [
            "# parallel group (2 tests):  char boolean",
            "ok 1         - test_setup                                330 ms",
            "not ok 2     + boolean                                    71 ms",
            "ok 3         + char                                        9 ms",
            "1..3",
            "# 1 of 3 tests failed.",
        ] {
            outcome.take(line);
        }
        assert_eq!(outcome.tests().len(), 3);
        assert_eq!(
            outcome.tests()[1],
            Test {
                name: "boolean".to_owned(),
                passed: false,
                millis: 71
            }
        );
        let wanted: Vec<String> = ["test_setup", "boolean", "char", "never_ran"]
            .map(str::to_owned)
            .into();
        assert_eq!(outcome.passed(&wanted), 2);
    }
}
