//! `cargo xtask regress` and `cargo xtask isolation`: PostgreSQL's own suites, driven by its own `pg_regress` and `psql`.
//!
//! The suites' files come from the pinned release tarball, the programs from the native installation of the same version. The server under test is
//! ours, in a process of its own (`pglite-bench serve`); with `--native` it is the native one, which proves the driver; with `--url` any other.

mod adjust;
mod beside;
mod dumps;
mod expected;
pub(crate) mod installcheck;
mod outcome;
mod source;
mod target;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;

pub(crate) use dumps::{DumpsOptions, run as dumps};
use expected::{Expected, Verdict};
use outcome::Outcome;
use source::Files;
use target::{Target, Which};

/// What to run.
#[derive(Args, Debug, Default)]
pub(crate) struct Options {
    /// Against native PostgreSQL of the same version instead of ours
    #[arg(long)]
    native: bool,
    /// Against a running server that can read and write the files of this machine (postgres://...)
    #[arg(long, conflicts_with = "native")]
    url: Option<String>,
    /// Against ours opened from a snapshot: what its suites pass, its copies must pass
    #[arg(long, conflicts_with_all = ["native", "url"])]
    forked: bool,
    /// Only these tests, in this order (the core suite runs `test_setup` first)
    #[arg(long, value_delimiter = ',')]
    tests: Vec<String>,
    /// The schedule [default: parallel_schedule, or isolation_schedule]
    #[arg(long)]
    schedule: Option<String>,
    /// At most so many concurrent sessions
    #[arg(long)]
    max_connections: Option<u32>,
    /// A configuration parameter of the server, NAME=VALUE; may be given several times
    #[arg(long = "config", short = 'c', value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// A test that takes longer than this many seconds is cut
    #[arg(long, default_value_t = 300)]
    test_limit: u32,
    /// Lines shown of every unexpected difference
    #[arg(long, default_value_t = 12)]
    diff_lines: usize,
    /// Keeps the working directory, and says where it is, even if all is well
    #[arg(long)]
    keep: bool,
    /// Where the working directory is made [default: the temporary directory]
    #[arg(long)]
    work: Option<PathBuf>,
}

/// Which of PostgreSQL's suites.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Suite {
    /// `src/test/regress`
    Core,
    /// `src/test/isolation`
    Isolation,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Core => "regress",
            Self::Isolation => "isolation",
        }
    }

    fn runner(self) -> &'static str {
        match self {
            Self::Core => "src/test/regress/pg_regress",
            Self::Isolation => "src/test/isolation/pg_isolation_regress",
        }
    }

    fn schedule(self) -> &'static str {
        match self {
            Self::Core => "parallel_schedule",
            Self::Isolation => "isolation_schedule",
        }
    }

    /// The list of failures that are known and explained, relative to the checkout.
    fn expected_failures(self) -> &'static str {
        match self {
            Self::Core => "regress/expected-failures.txt",
            Self::Isolation => "regress/expected-failures-isolation.txt",
        }
    }
}

/// Runs a suite; success if every test did what the expected-failure list says.
pub(crate) fn run(suite: Suite, options: &Options) -> Result<ExitCode> {
    let files = Files::find(suite)?;
    let work = WorkDir::new(suite, options)?;
    files.lay_out(suite, &work.path)?;
    let which = match (&options.url, options.native) {
        (Some(url), _) => Which::Url(url.clone()),
        (None, true) => Which::Native,
        (None, false) if options.forked => Which::Forked,
        (None, false) => Which::Embedded,
    };
    let target = Target::start(&which, &files, &work.path, &options.config)?;
    let wanted = wanted(suite, options, &work.path)?;
    let begun = Instant::now();
    let outcome = drive(suite, options, &files, &target, &work.path, wanted.len())?;
    let took = begun.elapsed();
    target.stop()?;

    // Native PostgreSQL and foreign servers must pass everything: the list explains what *our* platform does not do.
    let expected = match which {
        Which::Embedded | Which::EmbeddedWith(_) | Which::Forked => {
            Expected::read(&crate::suite::workspace()?.join(suite.expected_failures()))?
        }
        Which::Native | Which::Url(_) => Expected::default(),
    };
    let verdict = expected.judge(&wanted, &outcome);
    report(
        suite, &outcome, &verdict, &wanted, took, options, &work.path,
    )?;
    work.finish(options.keep || !verdict.is_good());
    Ok(if verdict.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The names of the tests that are to run, in order.
fn wanted(suite: Suite, options: &Options, work: &Path) -> Result<Vec<String>> {
    if !options.tests.is_empty() {
        let mut tests = options.tests.clone();
        if suite == Suite::Core && !tests.iter().any(|test| test == "test_setup") {
            tests.insert(0, "test_setup".to_owned());
        }
        return Ok(tests);
    }
    let schedule = schedule_path(suite, options, work);
    let text = std::fs::read_to_string(&schedule)
        .with_context(|| format!("reading {}", schedule.display()))?;
    Ok(text
        .lines()
        .filter_map(|line| line.strip_prefix("test:"))
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect())
}

fn schedule_path(suite: Suite, options: &Options, work: &Path) -> PathBuf {
    work.join("input")
        .join(options.schedule.as_deref().unwrap_or(suite.schedule()))
}

/// Runs `pg_regress` and reads what it says.
fn drive(
    suite: Suite,
    options: &Options,
    files: &Files,
    target: &Target,
    work: &Path,
    total: usize,
) -> Result<Outcome> {
    let (input, output) = (work.join("input"), work.join("output"));
    let mut runner = runner(files, target, &input, &output, suite)?;
    if suite == Suite::Isolation {
        runner.arg("--dbname=isolation_regression");
    }
    // A test that hangs must not take the whole run with it.
    if crate::process::which("timeout").is_some() {
        runner.arg(format!("--launcher=timeout -k 5 {}", options.test_limit));
    }
    if let Some(count) = options.max_connections {
        runner.arg(format!("--max-connections={count}"));
    }
    if options.tests.is_empty() {
        runner.arg(format!(
            "--schedule={}",
            schedule_path(suite, options, work).display()
        ));
    } else {
        runner.args(wanted(suite, options, work)?);
    }
    follow(runner, total)
}

/// `pg_regress` with what every run tells it.
fn runner(
    files: &Files,
    target: &Target,
    input: &Path,
    output: &Path,
    suite: Suite,
) -> Result<std::process::Command> {
    let mut runner = std::process::Command::new(files.install().built(suite.runner())?);
    runner
        .arg(format!(
            "--bindir={}",
            files.install().dir().join("bin").display()
        ))
        .arg(format!("--inputdir={}", input.display()))
        .arg(format!("--expecteddir={}", input.display()))
        .arg(format!("--outputdir={}", output.display()))
        .arg(format!("--dlpath={}", target.library_dir().display()))
        .arg(format!("--host={}", target.config().host_argument()))
        .arg(format!("--port={}", target.config().port))
        .arg(format!("--user={}", target.config().user))
        .env("PGPASSWORD", &target.config().password)
        .current_dir(output)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Ok(runner)
}

/// Runs it and reads what it says.
fn follow(mut runner: std::process::Command, total: usize) -> Result<Outcome> {
    let mut child = runner.spawn().context("starting pg_regress")?;
    let stdout = child
        .stdout
        .take()
        .context("pg_regress has a standard output")?;
    let mut outcome = Outcome::default();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        match outcome.take(&line) {
            Some(test) if !test.passed => {
                println!(
                    "  failed: {:<32} {:>6} ms  ({} of {total} run)",
                    test.name,
                    test.millis,
                    outcome.tests().len()
                );
            }
            Some(_) => {}
            None if line.starts_with("Bail out!") => println!("  {line}"),
            None => {}
        }
    }
    child.wait()?;
    Ok(outcome)
}

/// What a list of expected failures says of a run.
fn suite_lines(verdict: &Verdict, list: &str) {
    for (name, reason) in &verdict.expected {
        println!("expected to fail: {name}: {reason}");
    }
    for name in &verdict.passed_after_all {
        println!("{name} passed: take it off {list}");
    }
}

fn report(
    suite: Suite,
    outcome: &Outcome,
    verdict: &Verdict,
    wanted: &[String],
    took: std::time::Duration,
    options: &Options,
    work: &Path,
) -> Result<()> {
    let diffs = outcome::diffs(&work.join("output/regression.diffs"));
    for name in &verdict.unexpected {
        println!("\n==== {name}: failed, and is not on the list of expected failures");
        match diffs.get(name) {
            Some(diff) => diff
                .iter()
                .take(options.diff_lines)
                .for_each(|line| println!("{line}")),
            None => println!("(no difference recorded: not run, or cut)"),
        }
    }
    suite_lines(verdict, suite.expected_failures());
    let passed = outcome.passed(wanted);
    println!(
        "\n{}: {passed} of {} passed ({:.1} %), {} expected failures, {} unexpected, {:.0} s",
        suite.name(),
        wanted.len(),
        100.0 * passed as f64 / wanted.len().max(1) as f64,
        verdict.expected.len(),
        verdict.unexpected.len(),
        took.as_secs_f64()
    );
    Ok(())
}

/// Where the suite's files, its results and the server's log are.
struct WorkDir {
    path: PathBuf,
}

impl WorkDir {
    fn new(suite: Suite, options: &Options) -> Result<Self> {
        let parent = options.work.clone().unwrap_or_else(std::env::temp_dir);
        let path = parent.join(format!(
            "pglite-oxide-{}-{}",
            suite.name(),
            std::process::id()
        ));
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self {
            path: path.canonicalize()?,
        })
    }

    fn finish(self, keep: bool) {
        if keep {
            println!(
                "kept: {} (output/regression.diffs, output/results, server.log)",
                self.path.display()
            );
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
