//! The blocking client `postgres`.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use clients::LABEL;
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator as _;
use postgres::{Client, NoTls};

fn connect() -> Client {
    Client::connect(&clients::url(), NoTls).unwrap()
}

#[test]
fn statements_transactions_and_copies() {
    let mut db = connect();
    db.batch_execute("CREATE TEMP TABLE t (i int PRIMARY KEY, label text)")
        .unwrap();
    let mut outer = db.transaction().unwrap();
    outer
        .execute("INSERT INTO t VALUES ($1, $2)", &[&1, &LABEL])
        .unwrap();
    let mut inner = outer.transaction().unwrap();
    let refused = inner
        .execute("INSERT INTO t VALUES ($1, $2)", &[&1, &None::<&str>])
        .unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::UNIQUE_VIOLATION));
    inner.rollback().unwrap();
    outer.commit().unwrap();
    let mut writer = db.copy_in("COPY t FROM STDIN").unwrap();
    for i in 2..=10_000 {
        writeln!(writer, "{i}\trow {i}").unwrap();
    }
    assert_eq!(writer.finish().unwrap(), 9_999);
    let mut out = String::new();
    db.copy_out("COPY (SELECT label FROM t ORDER BY i) TO STDOUT")
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    assert_eq!(out.lines().count(), 10_000);
    let rows = db.query_raw("SELECT i FROM t", [""; 0]).unwrap();
    assert_eq!(
        rows.fold(0_i64, |sum, row| Ok(sum + i64::from(row.get::<_, i32>(0))))
            .unwrap(),
        50_005_000
    );
}

#[test]
fn notifications_and_cancel() {
    let (mut db, mut other) = (connect(), connect());
    db.batch_execute("LISTEN events").unwrap();
    other.batch_execute("NOTIFY events, 'hello'").unwrap();
    let note = db
        .notifications()
        .timeout_iter(Duration::from_secs(10))
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(note.payload(), "hello");
    let token = db.cancel_token();
    let waiting = std::thread::spawn(move || db.batch_execute("SELECT pg_sleep(60)").unwrap_err());
    std::thread::sleep(Duration::from_millis(200));
    token.cancel_query(NoTls).unwrap();
    assert_eq!(
        waiting.join().unwrap().code(),
        Some(&SqlState::QUERY_CANCELED)
    );
}

#[test]
fn sixteen_threads() {
    let threads: Vec<_> = (0..16)
        .map(|i| {
            std::thread::spawn(move || {
                let mut db = connect();
                (0..50).all(|j| {
                    db.query_one("SELECT $1::int + $2::int", &[&i, &j])
                        .unwrap()
                        .get::<_, i32>(0)
                        == i + j
                })
            })
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
}
