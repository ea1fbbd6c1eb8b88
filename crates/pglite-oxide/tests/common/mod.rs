//! What several suites ask of a database.
#![allow(dead_code, reason = "each suite uses some of it")]

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pglite_oxide::{Pglite, QueryOptions, RowMode};
use serde_json::Value;

/// How long what happens in the background may take, on a machine that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn rows(db: &mut Pglite, sql: &str) -> Vec<Value> {
    let options = QueryOptions {
        row_mode: Some(RowMode::Array),
        ..Default::default()
    };
    db.query(sql, &[], Some(&options))
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .rows
}

/// The first column of the first row.
pub(crate) fn first(db: &mut Pglite, sql: &str) -> Value {
    rows(db, sql)[0][0].clone()
}

/// The same, as PostgreSQL writes it.
pub(crate) fn text(db: &mut Pglite, sql: &str) -> String {
    match first(db, &format!("SELECT ({sql})::text")) {
        Value::String(text) => text,
        other => panic!("{sql}: {other}"),
    }
}

pub(crate) fn run(db: &mut Pglite, sql: &str) {
    db.exec(sql, None)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The SQLSTATE with which PostgreSQL refuses.
pub(crate) fn refused(db: &mut Pglite, sql: &str) -> String {
    let error = db.exec(sql, None).expect_err(sql);
    error
        .sqlstate()
        .unwrap_or_else(|| panic!("{sql}: {error}"))
        .to_owned()
}

/// Runs an ignored test of this program in a process of its own, with these variables; what it said.
pub(crate) fn in_a_new_process(test: &str, variables: &[(&str, &OsStr)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--quiet"])
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{test}: {said}\n{complaints}");
    assert!(said.contains("1 passed"), "{test} did not run: {said}");
    said
}

/// Waits until it is so, within [`PATIENCE`].
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
