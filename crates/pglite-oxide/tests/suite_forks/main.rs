//! Snapshots and forks: what a copy has, what it has not, and that it is independent.

mod archives;
mod busy;
mod identity;
mod independence;
mod sessions;
mod state;

use std::time::{Duration, Instant};

use pglite_oxide::{Pglite, QueryOptions, RowMode};
use serde_json::Value;

/// How long what happens in the background may take, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

fn rows(db: &mut Pglite, sql: &str) -> Vec<Value> {
    let options = QueryOptions {
        row_mode: Some(RowMode::Array),
        ..Default::default()
    };
    db.query(sql, &[], Some(&options))
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .rows
}

/// The first column of the first row.
fn first(db: &mut Pglite, sql: &str) -> Value {
    rows(db, sql)[0][0].clone()
}

/// The same, as PostgreSQL writes it.
fn text(db: &mut Pglite, sql: &str) -> String {
    match first(db, &format!("SELECT ({sql})::text")) {
        Value::String(text) => text,
        other => panic!("{sql}: {other}"),
    }
}

fn run(db: &mut Pglite, sql: &str) {
    db.exec(sql, None)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The SQLSTATE with which PostgreSQL refuses.
fn refused(db: &mut Pglite, sql: &str) -> String {
    let error = db.exec(sql, None).expect_err(sql);
    error
        .sqlstate()
        .unwrap_or_else(|| panic!("{sql}: {error}"))
        .to_owned()
}

/// Asks until it is so; fails when it has not become so in a long while.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The ways to a copy, so that what must hold for all is tested for all.
fn copies(db: &mut Pglite) -> Vec<(&'static str, Pglite)> {
    let snapshot = db.snapshot().unwrap();
    let mut restored = Pglite::temporary().unwrap();
    restored.restore(&snapshot).unwrap();
    vec![
        ("snapshot", snapshot.open().unwrap()),
        ("second of a snapshot", snapshot.open().unwrap()),
        ("fork", db.fork().unwrap()),
        ("restored", restored),
    ]
}
