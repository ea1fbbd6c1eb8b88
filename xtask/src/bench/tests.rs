//! `cargo xtask bench tests`: what one test of a suite costs that gives each of its tests a database of its own (`bench/tests`).

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use pglite_oxide_native::{Cluster, Install};

use crate::{process, suite};

/// Tests in the suite.
const TESTS: u32 = 200;
/// How many run at once.
const AT_ONCE: &str = "8";
const PACKAGE: &str = "pglite-oxide-bench-tests";
/// Native's settings for tests; a temporary database of ours has them by itself.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "200"),
];

/// What runs the tests.
#[derive(Clone, Copy)]
enum Runner {
    /// All in one process, on threads.
    Cargo,
    /// Each in a process of its own.
    Nextest,
}

/// Runs the suite in each way and prints a table.
pub(crate) fn run(quick: bool) -> Result<()> {
    let rounds = if quick { 1 } else { 3 };
    let install = Install::at(&suite::native_postgres()?)?;
    process::shown(suite::cargo().args(["test", "--package", PACKAGE, "--no-run"]))?;
    let mut runners = vec![(Runner::Cargo, "cargo test")];
    if suite::has_nextest() {
        runners.push((Runner::Nextest, "nextest"));
    } else {
        println!("nextest is not installed: its column is left out");
    }

    // Empty at first, so that the first test of all migrates.
    let templates = tempfile::tempdir()?;
    let templates = [(
        "PGLITE_OXIDE_TEMPLATES",
        templates.path().display().to_string(),
    )];
    let first = measure(Runner::Nextest, "forks", &templates, Some("test_0"));
    let mut rows = vec![("Pglite::template(..).fork()", Vec::new())];
    for (runner, _) in &runners {
        rows[0].1.push(median(rounds, || {
            measure(*runner, "forks", &templates, None)
        })?);
    }

    let ours = Served::start()?;
    let url = [("DATABASE_URL", ours.url.clone())];
    let mut costs = Vec::new();
    for (runner, _) in &runners {
        costs.push(median(rounds, || measure(*runner, "sqlx", &url, None))?);
    }
    rows.push(("#[sqlx::test] on one server of ours", costs));
    ours.stop()?;

    let settings: Vec<(String, String)> = SETTINGS
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut native = Cluster::init_trusting(&install, &settings)?;
    native.start()?;
    let url = [("DATABASE_URL", native.tcp_url())];
    let mut costs = Vec::new();
    for (runner, _) in &runners {
        costs.push(median(rounds, || measure(*runner, "sqlx", &url, None))?);
    }
    rows.push(("#[sqlx::test] on one native server", costs));
    native.stop()?;

    println!(
        "\nOne test of {TESTS}, {AT_ONCE} at once: the time of all divided by their number; 60 tables, 5 statements each.\n"
    );
    print!("| {:<36} |", "");
    for (_, name) in &runners {
        print!(" {name:>12} |");
    }
    print!("\n|{}|", "-".repeat(38));
    for _ in &runners {
        print!("{}:|", "-".repeat(13));
    }
    println!();
    for (name, costs) in rows {
        print!("| {name:<36} |");
        for all in costs {
            print!(
                " {:>9.1} ms |",
                all.as_secs_f64() * 1000.0 / f64::from(TESTS)
            );
        }
        println!();
    }
    if let Ok(first) = first {
        println!(
            "\nThe first test of all, which migrates for the others: {:.0} ms.",
            first.as_secs_f64() * 1000.0
        );
    }
    Ok(())
}

fn median(rounds: usize, mut run: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let mut times = (0..rounds).map(|_| run()).collect::<Result<Vec<_>>>()?;
    times.sort();
    Ok(times[times.len() / 2])
}

/// Runs one of the programs, all of its tests or one; how long the tests took by the runner's own account, without the building.
fn measure(
    runner: Runner,
    program: &str,
    variables: &[(&str, String)],
    only: Option<&str>,
) -> Result<Duration> {
    let mut command = suite::cargo();
    let exact: &[&str] = match (runner, only) {
        (Runner::Cargo, Some(name)) => &["--exact", name],
        (Runner::Nextest, Some(name)) => &[name, "--", "--exact"],
        (_, None) => &[],
    };
    match runner {
        Runner::Cargo => command
            .args([
                "test",
                "--package",
                PACKAGE,
                "--test",
                program,
                "--",
                "--ignored",
                "--test-threads",
                AT_ONCE,
            ])
            .args(exact),
        Runner::Nextest => command
            .args([
                "nextest",
                "run",
                "--package",
                PACKAGE,
                "--test",
                program,
                "--run-ignored",
                "all",
                "--test-threads",
                AT_ONCE,
            ])
            .args(["--status-level", "fail", "--color", "never"])
            .args(exact),
    };
    let output = command
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if !output.status.success() {
        bail!("the tests of {program} failed:\n{text}");
    }
    account(&text).with_context(|| format!("no account of the time in:\n{text}"))
}

/// The seconds in `finished in 1.23s` of cargo's runner, or in `Summary [   1.234s]` of nextest.
fn account(text: &str) -> Option<Duration> {
    let seconds = match text.split_once("Summary [") {
        Some((_, rest)) => rest.split_once("s]")?.0,
        None => text.rsplit_once("finished in ")?.1.split_once('s')?.0,
    };
    Some(Duration::from_secs_f64(seconds.trim().parse().ok()?))
}

/// A server of ours in a process of its own.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start() -> Result<Self> {
        let mut command: Command = suite::cargo();
        command.args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "pglite-oxide-bench",
            "--",
        ]);
        command.args(["serve", "--no-password", "--config", "max_connections=200"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting pglite-bench serve")?;
        let stdout = child
            .stdout
            .take()
            .context("the server has a standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let said: serde_json::Value =
            serde_json::from_str(&line).context("the server did not start")?;
        let url = said["tcp"]
            .as_str()
            .context("the server names its URL")?
            .to_owned();
        Ok(Self { child, url })
    }

    fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the server's process ended with {status}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod units {
    use super::*;

    #[test]
    fn times_are_read_from_both_runners() {
        let cargo = "test result: ok. 200 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.50s\n";
        assert_eq!(account(cargo), Some(Duration::from_millis(2500)));
        let nextest = "     Summary [   1.250s] 200 tests run: 200 passed, 0 skipped\n";
        assert_eq!(account(nextest), Some(Duration::from_millis(1250)));
        assert_eq!(account("nothing"), None);
    }
}
