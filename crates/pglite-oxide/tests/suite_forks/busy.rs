//! Copies of databases that are at work.

use std::sync::atomic::{AtomicBool, Ordering};

use pglite_oxide::Pglite;
use serde_json::json;

use crate::{first, rows, run, text};

const ACCOUNTS: i64 = 200;
const SUM: i64 = ACCOUNTS * 1000;

/// Accounts whose sum never changes, and a log of transfers that agrees with them.
pub(crate) fn bank() -> Pglite {
    let mut db = Pglite::builder()
        .postgres_config("deadlock_timeout", "100ms")
        .open()
        .unwrap();
    run(
        &mut db,
        &format!(
            "CREATE TABLE account (id int PRIMARY KEY, amount bigint NOT NULL); INSERT INTO account SELECT g, 1000 FROM generate_series(1, {ACCOUNTS}) g; \
             CREATE TABLE transfer (id bigserial PRIMARY KEY, debit int, credit int, amount bigint)"
        ),
    );
    db
}

/// Moves money until told to stop; returns how often.
pub(crate) fn transfer(db: &mut Pglite, seed: i64, stop: &AtomicBool) -> u64 {
    let mut moved = 0;
    let mut state = seed;
    while !stop.load(Ordering::Relaxed) {
        let mut next = |below: i64| {
            state = (state * 1_103_515_245 + 12_345) & 0x7fff_ffff;
            (state >> 8) % below
        };
        let (one, two, amount) = (next(ACCOUNTS) + 1, next(ACCOUNTS) + 1, next(50));
        let sql = format!(
            "BEGIN; UPDATE account SET amount = amount - {amount} WHERE id = {one}; UPDATE account SET amount = amount + {amount} WHERE id = {two}; \
             INSERT INTO transfer (debit, credit, amount) VALUES ({one}, {two}, {amount}); COMMIT"
        );
        match db.exec(&sql, None) {
            Ok(_) => moved += 1,
            Err(error) if error.sqlstate() == Some("40P01") => run(db, "ROLLBACK"),
            Err(error) => panic!("{error}"),
        }
    }
    moved
}

/// Fails if money came or went, or the index and the table or the two tables do not agree.
pub(crate) fn balances(db: &mut Pglite) -> i64 {
    assert_eq!(first(db, "SELECT sum(amount) FROM account"), json!(SUM));
    run(db, "SET enable_seqscan = off; SET enable_bitmapscan = off");
    assert_eq!(
        first(db, "SELECT count(*) FROM account WHERE id > 0"),
        json!(ACCOUNTS)
    );
    run(db, "RESET enable_seqscan; RESET enable_bitmapscan");
    assert!(
        rows(
            db,
            "SELECT id FROM account LEFT JOIN (SELECT id, sum(amount) AS change FROM (SELECT debit AS id, -amount AS amount FROM transfer UNION ALL \
             SELECT credit, amount FROM transfer) a GROUP BY id) b USING (id) WHERE amount <> 1000 + coalesce(change, 0)"
        )
        .is_empty()
    );
    text(db, "SELECT count(*) FROM transfer").parse().unwrap()
}

#[test]
fn many_threads_fork_one_database_while_others_write() {
    const FORKERS: usize = 4;
    const FORKS: usize = 6;
    let db = bank();
    let connector = db.connector();
    let stop = AtomicBool::new(false);
    let (moved, seen) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|n| {
                let connector = connector.clone();
                let stop = &stop;
                scope.spawn(move || transfer(&mut connector.connect().unwrap(), n + 1, stop))
            })
            .collect();
        let forkers: Vec<_> = (0..FORKERS)
            .map(|_| {
                let connector = connector.clone();
                scope.spawn(move || {
                    let mut session = connector.connect().unwrap();
                    let mut seen = Vec::new();
                    for n in 0..FORKS {
                        let mut copy = if n % 2 == 0 {
                            session.fork().unwrap()
                        } else {
                            session.snapshot().unwrap().open().unwrap()
                        };
                        seen.push(balances(&mut copy));
                        // It can be written to as well.
                        let stop = AtomicBool::new(false);
                        let more = std::thread::scope(|scope| {
                            let mut other = copy.connect().unwrap();
                            let writer = scope.spawn({
                                let stop = &stop;
                                move || transfer(&mut other, 7, stop)
                            });
                            balances(&mut copy);
                            stop.store(true, Ordering::Relaxed);
                            writer.join().unwrap()
                        });
                        let last = *seen.last().unwrap();
                        assert_eq!(balances(&mut copy), last + i64::try_from(more).unwrap());
                    }
                    seen
                })
            })
            .collect();
        let seen: Vec<_> = forkers.into_iter().map(|thread| thread.join()).collect();
        stop.store(true, Ordering::Relaxed);
        let moved: u64 = writers
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        (moved, seen)
    });
    for seen in seen {
        // Later copies have all that earlier ones had.
        assert!(seen.unwrap().is_sorted());
    }
    let mut db = connector.connect().unwrap();
    assert_eq!(balances(&mut db), i64::try_from(moved).unwrap());
    assert!(moved > 0);
}

/// What a client was told is committed is in every copy made after that.
#[test]
fn a_fork_has_every_commit_that_was_acknowledged() {
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "CREATE TABLE t (i int)");
    let mut other = db.connect().unwrap();
    for n in 0..30 {
        run(&mut other, &format!("INSERT INTO t VALUES ({n})"));
        let mut copy = db.fork().unwrap();
        assert_eq!(first(&mut copy, "SELECT max(i) FROM t"), json!(n));
    }
}

#[test]
fn one_snapshot_is_opened_by_many_threads_at_once() {
    let mut db = bank();
    let snapshot = db.snapshot().unwrap();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let snapshot = &snapshot;
            scope.spawn(move || {
                for _ in 0..4 {
                    let mut copy = snapshot.open().unwrap();
                    run(
                        &mut copy,
                        &format!("INSERT INTO transfer (amount) VALUES ({n})"),
                    );
                    assert_eq!(
                        rows(&mut copy, "SELECT id, amount FROM transfer"),
                        [json!([1, n])]
                    );
                }
            });
        }
    });
    assert_eq!(balances(&mut db), 0);
}
