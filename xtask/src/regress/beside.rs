//! PostGIS's own form of regression tests: `NAME.sql` beside `NAME_expected`, run by psql one after the other in one database, what it says compared after some words are made equal
//! (`run_simple_test` in its `regress/run_test.pl`).

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::outcome::Outcome;
use super::source::Files;
use super::target::Target;
use crate::process;

/// A run.
pub(super) struct Beside<'a> {
    pub(super) files: &'a Files,
    pub(super) target: &'a Target,
    /// The extension's directory, as copied for the run.
    pub(super) tree: &'a Path,
    /// In it: the directory of the tests.
    pub(super) input: &'a Path,
    pub(super) output: &'a Path,
    /// Created in the database first.
    pub(super) extension: &'a str,
    /// Seconds.
    pub(super) limit: u32,
}

const DATABASE: &str = "contrib_regression";

impl Beside<'_> {
    /// Runs the tests; the differences are in `regression.diffs` of the output directory, as `pg_regress` writes them.
    pub(super) fn run(&self, tests: &[String]) -> Result<Outcome> {
        self.sql("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        self.sql(DATABASE, &format!("CREATE EXTENSION {}", self.extension))?;
        let hook = self
            .input
            .with_file_name("hooks")
            .join("hook-after-create.sql");
        if hook.is_file() {
            self.sql(DATABASE, &fs::read_to_string(hook)?)?;
        }
        let mut outcome = Outcome::default();
        let mut diffs = String::new();
        for (number, test) in tests.iter().enumerate() {
            let begun = Instant::now();
            let diff = self.test(test).with_context(|| format!("test {test}"))?;
            let verdict = if diff.is_empty() { "ok" } else { "not ok" };
            let took = begun.elapsed().as_millis();
            outcome.take(&format!("{verdict} {} - {test} {took} ms", number + 1));
            if !diff.is_empty() {
                println!("  failed: {test:<32} {took:>6} ms");
                let _ = writeln!(diffs, "diff {test}.out\n{diff}");
            }
        }
        fs::write(self.output.join("regression.diffs"), diffs)?;
        Ok(outcome)
    }

    /// How the output of one differs from what is expected; empty if it does not.
    fn test(&self, name: &str) -> Result<String> {
        let results = self.output.join("results");
        let said = results.join(format!("{name}.out"));
        for (before, after) in [("-pre", false), ("", true), ("-post", false)] {
            let file = format!("{name}{before}.sql");
            if !after && !self.input.join(&file).is_file() {
                continue;
            }
            let output = self
                .psql(DATABASE, &results)?
                .args([
                    "-v",
                    "VERBOSITY=terse",
                    "-tXAq",
                    "-c",
                    "SET search_path TO public,topology",
                    "-f",
                    &file,
                ])
                .stdin(Stdio::null())
                .output()
                .context("starting psql")?;
            if after {
                // One stream, as a shell would have it: psql is asked to write both to one file.
                fs::write(&said, morphed(&String::from_utf8_lossy(&output.stdout)))?;
            }
        }
        let expected = self.input.join(format!("{name}_expected"));
        let output = Command::new("diff")
            .arg("-u")
            .arg(&expected)
            .arg(&said)
            .output()
            .context("starting diff")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// psql with both of its streams in one.
    fn psql(&self, database: &str, results: &Path) -> Result<Command> {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 2>&1", "sh"]);
        if process::which("timeout").is_some() {
            command.args(["timeout", "-k", "5", &self.limit.to_string()]);
        }
        let config = self.target.config();
        command
            .arg(self.files.install().dir().join("bin/psql"))
            .arg(format!("--host={}", config.host_argument()))
            .arg(format!("--port={}", config.port))
            .arg(format!("--username={}", config.user))
            .arg(format!("--dbname={database}"))
            .env("PGPASSWORD", &config.password)
            .env("LC_ALL", "C")
            .current_dir(self.input);
        for (name, value) in [
            (
                "tmpfile",
                format!("'{}'", results.join("tmpfile").display()),
            ),
            ("regdir", self.tree.join("regress").display().to_string()),
            ("scriptdir", self.tree.join("postgis").display().to_string()),
            ("top_builddir", self.tree.display().to_string()),
            ("schema", "public.".to_owned()),
        ] {
            command.arg("-v").arg(format!("{name}={value}"));
        }
        Ok(command)
    }

    fn sql(&self, database: &str, sql: &str) -> Result<()> {
        let mut child = self
            .psql(database, self.output)?
            .args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting psql")?;
        child
            .stdin
            .take()
            .context("psql has a standard input")?
            .write_all(sql.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{sql}: {}", String::from_utf8_lossy(&output.stdout));
        }
        Ok(())
    }
}

/// What PostGIS's own runner makes equal: spellings of infinity, leading zeros of exponents, who says an error, and empty lines.
fn morphed(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut line = line.replace("Infinity", "inf").replace("Inf", "inf");
        line = short_exponents(&line);
        if let Some(at) = line.find("Self-intersection ") {
            line.truncate(at + "Self-intersection".len());
        }
        if line.starts_with("ROLLBACK") {
            line.replace_range(.."ROLLBACK".len(), "COMMIT");
        }
        if line.starts_with("psql") {
            let who = ["NOTICE:", "WARNING:", "ERROR:"]
                .into_iter()
                .filter_map(|level| line.rfind(level))
                .max();
            if let Some(at) = who {
                line.drain(..at);
            }
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// `1e-07` is `1e-7`.
fn short_exponents(line: &str) -> String {
    let bytes = line.as_bytes();
    let mut out = String::with_capacity(line.len());
    let mut rest = 0;
    for at in 0..bytes.len() {
        let sign = bytes
            .get(at + 1)
            .is_some_and(|sign| matches!(sign, b'+' | b'-'));
        if at < rest || !matches!(bytes[at], b'e' | b'E') || !sign {
            continue;
        }
        let digits = line[at + 2..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
        let zeros = line[at + 2..]
            .bytes()
            .take_while(|byte| *byte == b'0')
            .count();
        // A zero that is the only digit stays.
        let zeros = zeros.min(digits.saturating_sub(1));
        if zeros > 0 {
            out.push_str(&line[rest..at]);
            out.push('e');
            out.push_str(&line[at + 1..at + 2]);
            rest = at + 2 + zeros;
        }
    }
    out.push_str(&line[rest..]);
    out
}

#[cfg(test)]
mod tests {
    use super::morphed;

    #[test]
    fn output_is_made_equal_as_by_the_original() {
        let text = "1e-07|2E+10|Infinity|1e+00\n\nROLLBACK\npsql:tickets.sql:12: ERROR:  no: ERROR\npsql:a.sql:1: NOTICE:  x\nSelf-intersection at or near point 1 2\n";
        assert_eq!(
            morphed(text),
            "1e-7|2E+10|inf|1e+0\nCOMMIT\nERROR:  no: ERROR\nNOTICE:  x\nSelf-intersection\n"
        );
    }
}
