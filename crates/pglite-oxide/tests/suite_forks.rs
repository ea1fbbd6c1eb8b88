//! Snapshots and forks: what a copy has, what it has not, and that it is independent.

use std::time::Instant;

use pglite_oxide::{Pglite, QueryOptions, RowMode};
use serde_json::{Value, json};

fn rows(db: &mut Pglite, sql: &str) -> Vec<Value> {
    let options = QueryOptions {
        row_mode: Some(RowMode::Array),
        ..Default::default()
    };
    db.query(sql, &[], Some(&options))
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .rows
}

fn first(db: &mut Pglite, sql: &str) -> Value {
    rows(db, sql)[0][0].clone()
}

#[test]
fn a_snapshot_opens_as_it_was_again_and_again() {
    let mut db = Pglite::temporary().unwrap();
    db.exec("CREATE TABLE t (i serial PRIMARY KEY, x text); INSERT INTO t (x) SELECT 'a' || g FROM generate_series(1, 1000) g", None)
        .unwrap();
    let begun = Instant::now();
    let snapshot = db.snapshot().unwrap();
    println!("snapshot: {:?}", begun.elapsed());
    db.exec("DELETE FROM t", None).unwrap();
    for n in 0..20 {
        let begun = Instant::now();
        let mut copy = snapshot.open().unwrap();
        let opened = begun.elapsed();
        assert_eq!(first(&mut copy, "SELECT 1"), json!(1));
        let answered = begun.elapsed();
        assert_eq!(first(&mut copy, "SELECT count(*) FROM t"), json!(1000));
        assert_eq!(
            first(
                &mut copy,
                &format!("INSERT INTO t (x) VALUES ('{n}') RETURNING i")
            ),
            json!(1001)
        );
        let written = begun.elapsed();
        drop(copy);
        println!(
            "open {opened:?}, first row {answered:?}, written {written:?}, dropped {:?}",
            begun.elapsed()
        );
    }
    assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(0));
}

#[test]
fn a_fork_goes_its_own_way() {
    let mut db = Pglite::temporary().unwrap();
    db.exec("CREATE TABLE t (i int); INSERT INTO t VALUES (1)", None)
        .unwrap();
    for _ in 0..5 {
        let begun = Instant::now();
        let mut fork = db.fork().unwrap();
        let forked = begun.elapsed();
        assert_eq!(first(&mut fork, "SELECT count(*) FROM t"), json!(1));
        println!("fork {forked:?}, first row {:?}", begun.elapsed());
        fork.exec("INSERT INTO t VALUES (2); CHECKPOINT", None)
            .unwrap();
        assert_eq!(first(&mut fork, "SELECT count(*) FROM t"), json!(2));
        assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(1));
        // A fork of a fork.
        let mut second = fork.fork().unwrap();
        second.exec("DELETE FROM t", None).unwrap();
        assert_eq!(first(&mut fork, "SELECT count(*) FROM t"), json!(2));
    }
}

/// A template migrates once, in this process and for others, and its forks do not know of each other.
#[test]
fn a_template_migrates_once_and_is_kept() {
    let kept = tempfile::tempdir().unwrap();
    // SAFETY: no other test of this program reads or writes the environment meanwhile that depends on this variable.
    unsafe { std::env::set_var("PGLITE_OXIDE_TEMPLATES", kept.path()) };
    let migrations = std::cell::Cell::new(0);
    let migrate = |db: &mut Pglite| {
        migrations.set(migrations.get() + 1);
        db.exec(
            "CREATE TABLE t (i int PRIMARY KEY, x text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g",
            None,
        )
        .map(drop)
    };
    let template = Pglite::template("one", migrate).unwrap();
    for _ in 0..4 {
        let begun = Instant::now();
        let mut db = template.fork().unwrap();
        assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(100));
        println!("template fork, first row {:?}", begun.elapsed());
        db.exec("DELETE FROM t", None).unwrap();
    }
    Pglite::template("one", migrate).unwrap();
    assert_eq!(migrations.get(), 1);
    assert!(Pglite::template("two", |db| db.exec("SELECT 1/0", None).map(drop)).is_err());
    Pglite::template("two", migrate).unwrap();
    assert_eq!(migrations.get(), 2);
    let files: Vec<_> = std::fs::read_dir(kept.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|end| end == "template")
        })
        .collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let size = file.metadata().unwrap().len();
        assert!(size < 12 << 20, "only differences are kept: {size}");
    }
}
