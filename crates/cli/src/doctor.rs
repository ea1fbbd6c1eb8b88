//! `pglite doctor`: whether it works here, and what it is.

use std::process::ExitCode;
use std::time::Instant;

use pglite_oxide::{PgDumpOptions, Pglite};

use crate::outcome::Outcome;

/// Checks one thing after the other; fails if one does.
pub fn run() -> Outcome {
    println!(
        "pglite {} for {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH
    );
    let mut report = Report::default();
    report.limits();
    let begun = Instant::now();
    let database = Pglite::temporary();
    let took = begun.elapsed();
    match database {
        Err(error) => report.bad("start a database in memory", &chain(&error)),
        Ok(mut db) => {
            report.good(
                "start a database in memory",
                &format!("{:.1} ms", took.as_secs_f64() * 1e3),
            );
            let begun = Instant::now();
            match db.query("SELECT version() AS version", &[], None) {
                Ok(result) => {
                    let version = result.rows[0]["version"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned();
                    report.good(
                        "run a query",
                        &format!("{:.2} ms; {version}", begun.elapsed().as_secs_f64() * 1e3),
                    );
                }
                Err(error) => report.bad("run a query", &chain(&error)),
            }
            let begun = Instant::now();
            match db.dump_sql(PgDumpOptions::new()) {
                Ok(_) => report.good(
                    "run pg_dump",
                    &format!("{:.1} ms", begun.elapsed().as_secs_f64() * 1e3),
                ),
                Err(error) => report.bad("run pg_dump", &chain(&error)),
            }
            report.good(
                "client programs",
                &db.connector().cluster().programs().join(", "),
            );
        }
    }
    report.directory();
    Ok(if report.failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[derive(Default)]
struct Report {
    failed: bool,
}

/// Bytes of address space that one backend's memory and its guard take.
const SPACE: u64 = 8 << 30;

impl Report {
    fn good(&mut self, what: &str, detail: &str) {
        println!("ok      {what}: {detail}");
    }

    fn bad(&mut self, what: &str, detail: &str) {
        self.failed = true;
        println!("FAILED  {what}: {detail}");
    }

    /// Address space: every backend reserves 8 GiB of it, without using them.
    fn limits(&mut self) {
        let Ok(limits) = std::fs::read_to_string("/proc/self/limits") else {
            return;
        };
        let limit = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max address space"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        match limit {
            Some(limit) if limit < 16 * SPACE => self.bad(
                "address space",
                &format!("limited to {} GiB: each backend reserves 8 GiB; raise it with `ulimit -v unlimited`", limit >> 30),
            ),
            Some(limit) => self.good("address space", &format!("limited to {} GiB", limit >> 30)),
            None => self.good("address space", "unlimited"),
        }
    }

    /// A database in a directory: made, written to, opened again.
    fn directory(&mut self) {
        let root = std::env::temp_dir().join(format!("pglite-doctor-{}", std::process::id()));
        let begun = Instant::now();
        let outcome = (|| -> pglite_oxide::Result<()> {
            let mut db = Pglite::open(&root)?;
            db.exec("CREATE TABLE t AS SELECT 1 AS i", None)?;
            db.close()?;
            drop(db);
            let mut db = Pglite::open(&root)?;
            db.query("SELECT i FROM t", &[], None)?;
            Ok(())
        })();
        let _ = std::fs::remove_dir_all(&root);
        match outcome {
            Ok(()) => self.good(
                "keep a database in a directory",
                &format!(
                    "{:.0} ms in {}",
                    begun.elapsed().as_secs_f64() * 1e3,
                    std::env::temp_dir().display()
                ),
            ),
            Err(error) => self.bad("keep a database in a directory", &chain(&error)),
        }
    }
}
