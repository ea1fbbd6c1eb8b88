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
            first(&mut copy, &format!("INSERT INTO t (x) VALUES ('{n}') RETURNING i")),
            json!(1001)
        );
        let written = begun.elapsed();
        drop(copy);
        println!("open {opened:?}, first row {answered:?}, written {written:?}, dropped {:?}", begun.elapsed());
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
        fork.exec("INSERT INTO t VALUES (2); CHECKPOINT", None).unwrap();
        assert_eq!(first(&mut fork, "SELECT count(*) FROM t"), json!(2));
        assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(1));
        // A fork of a fork.
        let mut second = fork.fork().unwrap();
        second.exec("DELETE FROM t", None).unwrap();
        assert_eq!(first(&mut fork, "SELECT count(*) FROM t"), json!(2));
    }
}
