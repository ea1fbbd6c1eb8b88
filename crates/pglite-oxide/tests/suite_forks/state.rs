//! What is in a copy: data, sequences, statistics, and the session that it was taken through, as they were.

use pglite_oxide::Pglite;
use serde_json::json;

use crate::{copies, first, refused, rows, run, text};

#[test]
fn a_snapshot_opens_as_it_was_again_and_again() {
    let mut db = Pglite::temporary().unwrap();
    run(
        &mut db,
        "CREATE TABLE t (i serial PRIMARY KEY, x text); INSERT INTO t (x) SELECT 'a' || g FROM generate_series(1, 1000) g",
    );
    let snapshot = db.snapshot().unwrap();
    run(&mut db, "DELETE FROM t");
    for n in 0..20 {
        let mut copy = snapshot.open().unwrap();
        assert_eq!(first(&mut copy, "SELECT count(*) FROM t"), json!(1000));
        assert_eq!(
            first(
                &mut copy,
                &format!("INSERT INTO t (x) VALUES ('{n}') RETURNING i")
            ),
            json!(1001)
        );
    }
    assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(0));
}

#[test]
fn a_fork_goes_its_own_way_and_so_do_forks_of_it() {
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "CREATE TABLE t (i int); INSERT INTO t VALUES (0)");
    let mut generations = vec![db];
    for n in 1..6 {
        let mut next = generations.last_mut().unwrap().fork().unwrap();
        run(
            &mut next,
            &format!("INSERT INTO t VALUES ({n}); CHECKPOINT"),
        );
        generations.push(next);
    }
    // The oldest goes away first.
    generations.remove(0);
    for (n, db) in generations.iter_mut().enumerate() {
        let expected: Vec<_> = (0..n + 2).map(|i| json!([i])).collect();
        assert_eq!(rows(db, "SELECT i FROM t ORDER BY i"), expected);
    }
}

#[test]
fn a_snapshot_outlives_the_original_and_is_shared_between_threads() {
    let snapshot = {
        let mut db = Pglite::temporary().unwrap();
        run(
            &mut db,
            "CREATE TABLE t AS SELECT generate_series(1, 100000) AS i",
        );
        db.snapshot().unwrap()
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut copy = snapshot.open().unwrap();
                assert_eq!(
                    first(&mut copy, "SELECT sum(i) FROM t"),
                    json!(5_000_050_000_i64)
                );
                run(&mut copy, "DELETE FROM t");
                run(&mut copy, "VACUUM t");
            });
        }
    });
    let copy = snapshot.clone();
    drop(snapshot);
    let mut db = copy.open().unwrap();
    assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(100_000));
}

#[test]
fn restore_goes_back_and_leaves_other_sessions_where_they_were() {
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "CREATE TABLE t (i int); INSERT INTO t VALUES (1)");
    let snapshot = db.snapshot().unwrap();
    let mut other = db.connect().unwrap();
    for _ in 0..3 {
        run(&mut db, "DROP TABLE t; CREATE TABLE u ()");
        db.restore(&snapshot).unwrap();
        assert_eq!(first(&mut db, "SELECT i FROM t"), json!(1));
        assert_eq!(refused(&mut db, "SELECT FROM u"), "42P01");
    }
    // It kept the first database alive, and is on it still.
    assert_eq!(refused(&mut other, "SELECT FROM t"), "42P01");
    assert!(rows(&mut other, "SELECT FROM u").is_empty());
}

#[test]
fn sequences_transaction_numbers_and_the_log_go_on() {
    let mut db = Pglite::temporary().unwrap();
    run(
        &mut db,
        "CREATE SEQUENCE plain; CREATE SEQUENCE cached CACHE 10; CREATE TABLE t (i int); SELECT nextval('plain'), nextval('cached')",
    );
    let xid: i64 = text(&mut db, "SELECT pg_current_xact_id()")
        .parse()
        .unwrap();
    let lsn = text(&mut db, "SELECT pg_current_wal_insert_lsn()");
    let timeline = text(&mut db, "SELECT timeline_id FROM pg_control_checkpoint()");
    for (how, mut copy) in copies(&mut db) {
        assert_eq!(first(&mut copy, "SELECT lastval()"), json!(1), "{how}");
        assert_eq!(
            first(&mut copy, "SELECT nextval('plain')"),
            json!(2),
            "{how}"
        );
        // The cache is the session's, which is in the copy.
        assert_eq!(
            first(&mut copy, "SELECT nextval('cached')"),
            json!(2),
            "{how}"
        );
        let mut other = copy.connect().unwrap();
        assert_eq!(
            first(&mut other, "SELECT nextval('cached')"),
            json!(11),
            "{how}"
        );
        run(&mut copy, "INSERT INTO t VALUES (1)");
        let next: i64 = text(&mut copy, "SELECT xmin FROM t").parse().unwrap();
        // The calls of nextval took some, one each at most.
        assert!(next > xid && next <= xid + 5, "{how}: {xid}, then {next}");
        assert_eq!(
            first(
                &mut copy,
                &format!(
                    "SELECT pg_current_wal_insert_lsn() > '{lsn}' AND pg_current_wal_insert_lsn() - '{lsn}' < 16 << 20"
                )
            ),
            json!(true),
            "{how}"
        );
        assert_eq!(
            text(&mut copy, "SELECT timeline_id FROM pg_control_checkpoint()"),
            timeline,
            "{how}"
        );
    }
    assert_eq!(first(&mut db, "SELECT nextval('plain')"), json!(2));
    assert_eq!(first(&mut db, "SELECT nextval('cached')"), json!(2));
    assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(0));
}

#[test]
fn statistics_are_in_a_copy_and_counted_apart_from_then_on() {
    const INSERTED: &str = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 't'";
    let mut db = Pglite::temporary().unwrap();
    run(
        &mut db,
        "CREATE TABLE t (i int); INSERT INTO t SELECT generate_series(1, 100); ANALYZE t; SELECT pg_stat_force_next_flush()",
    );
    assert_eq!(first(&mut db, INSERTED), json!(100));
    for (how, mut copy) in copies(&mut db) {
        assert_eq!(first(&mut copy, INSERTED), json!(100), "{how}");
        assert_eq!(
            first(
                &mut copy,
                "SELECT n_distinct::int FROM pg_stats WHERE tablename = 't'"
            ),
            json!(-1),
            "{how}"
        );
        run(
            &mut copy,
            "INSERT INTO t VALUES (1); SELECT pg_stat_force_next_flush()",
        );
        assert_eq!(first(&mut copy, INSERTED), json!(101), "{how}");
    }
    run(&mut db, "SELECT pg_stat_force_next_flush()");
    assert_eq!(first(&mut db, INSERTED), json!(100));
}

#[test]
fn prepared_transactions_are_finished_in_each_copy_on_its_own() {
    let mut db = Pglite::builder()
        .postgres_config("max_prepared_transactions", "4")
        .open()
        .unwrap();
    run(&mut db, "CREATE TABLE t (i int)");
    run(
        &mut db,
        "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'one'",
    );
    for (n, (how, mut copy)) in copies(&mut db).into_iter().enumerate() {
        assert_eq!(
            first(&mut copy, "SELECT gid FROM pg_prepared_xacts"),
            json!("one"),
            "{how}"
        );
        assert_eq!(
            first(&mut copy, "SELECT count(*) FROM t"),
            json!(0),
            "{how}"
        );
        // Its lock is there as well.
        assert_eq!(
            refused(&mut copy, "SET lock_timeout = '50ms'; DROP TABLE t"),
            "55P03",
            "{how}"
        );
        let end = if n % 2 == 0 { "COMMIT" } else { "ROLLBACK" };
        run(&mut copy, &format!("{end} PREPARED 'one'"));
        assert_eq!(
            first(&mut copy, "SELECT count(*) FROM t"),
            json!(1 - n % 2),
            "{how}"
        );
        run(&mut copy, "DROP TABLE t");
    }
    run(&mut db, "COMMIT PREPARED 'one'");
    assert_eq!(first(&mut db, "SELECT i FROM t"), json!(1));
}

#[test]
fn settings_temporary_tables_statements_and_cursors_go_along() {
    let mut db = Pglite::temporary().unwrap();
    run(
        &mut db,
        "SET work_mem = '123kB'; SET application_name = 'original'; CREATE TEMP TABLE mine AS SELECT 7 AS i; \
         PREPARE plan (int) AS SELECT $1 + i FROM mine",
    );
    run(&mut db, "BEGIN");
    run(
        &mut db,
        "DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 10)",
    );
    run(&mut db, "MOVE 3 IN held");
    run(&mut db, "COMMIT");
    for (how, mut copy) in copies(&mut db) {
        assert_eq!(
            text(&mut copy, "SELECT current_setting('work_mem')"),
            "123kB",
            "{how}"
        );
        assert_eq!(
            copy.parameter("application_name"),
            Some("original"),
            "{how}"
        );
        assert_eq!(copy.process_id(), db.process_id(), "{how}");
        assert_eq!(
            first(&mut copy, "SELECT pg_backend_pid()"),
            json!(db.process_id()),
            "{how}"
        );
        assert_eq!(first(&mut copy, "EXECUTE plan (1)"), json!(8), "{how}");
        run(&mut copy, "UPDATE mine SET i = 100");
        assert_eq!(first(&mut copy, "EXECUTE plan (1)"), json!(101), "{how}");
        assert_eq!(first(&mut copy, "FETCH held"), json!(4), "{how}");
        assert_eq!(rows(&mut copy, "FETCH ALL held").len(), 6, "{how}");
        // Others in the copy neither have nor see them.
        let mut other = copy.connect().unwrap();
        assert_eq!(refused(&mut other, "SELECT FROM mine"), "42P01", "{how}");
    }
    assert_eq!(first(&mut db, "EXECUTE plan (1)"), json!(8));
    assert_eq!(first(&mut db, "FETCH held"), json!(4));
}

#[test]
fn temporary_files_of_a_query_under_way_are_read_on_by_both() {
    const FILES: &str = "SELECT count(*) > 0 FROM pg_ls_tmpdir()";
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "SET work_mem = '64kB'");
    run(&mut db, "BEGIN");
    run(
        &mut db,
        "DECLARE sorted CURSOR FOR SELECT g FROM generate_series(1, 100000) g ORDER BY md5(g::text), g",
    );
    let begin = rows(&mut db, "FETCH 1000 FROM sorted");
    assert_eq!(first(&mut db, FILES), json!(true), "the sort has spilled");
    let mut all = copies(&mut db);
    all.push(("the original", db));
    let mut rest = None;
    for (how, mut copy) in all {
        let fetched = rows(&mut copy, "FETCH ALL FROM sorted");
        assert_eq!(fetched.len() + begin.len(), 100_000, "{how}");
        run(&mut copy, "COMMIT");
        assert_eq!(first(&mut copy, FILES), json!(false), "{how}");
        match &rest {
            None => rest = Some(fetched),
            Some(rest) => assert!(*rest == fetched, "{how}: other rows than the first copy"),
        }
    }
}

#[test]
fn large_objects_and_open_descriptors_of_them_go_along() {
    let mut db = Pglite::temporary().unwrap();
    let oid = text(&mut db, "SELECT lo_from_bytea(0, 'abcdefgh')");
    run(&mut db, "BEGIN");
    let fd = text(&mut db, &format!("SELECT lo_open({oid}, x'60000'::int)"));
    assert_eq!(
        text(
            &mut db,
            &format!("SELECT convert_from(loread({fd}, 3), 'UTF8')")
        ),
        "abc"
    );
    for (how, mut copy) in copies(&mut db) {
        assert_eq!(
            text(
                &mut copy,
                &format!("SELECT convert_from(loread({fd}, 2), 'UTF8')")
            ),
            "de",
            "{how}"
        );
        run(&mut copy, &format!("SELECT lowrite({fd}, 'XYZ')"));
        run(&mut copy, "COMMIT");
        assert_eq!(
            text(
                &mut copy,
                &format!("SELECT convert_from(lo_get({oid}), 'UTF8')")
            ),
            "abcdeXYZ",
            "{how}"
        );
    }
    run(&mut db, "COMMIT");
    assert_eq!(
        text(
            &mut db,
            &format!("SELECT convert_from(lo_get({oid}), 'UTF8')")
        ),
        "abcdefgh"
    );
}

#[test]
fn the_sessions_own_transaction_is_open_in_every_copy() {
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "CREATE TABLE t (i int)");
    run(&mut db, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    run(&mut db, "INSERT INTO t VALUES (1)");
    run(&mut db, "SAVEPOINT s");
    run(&mut db, "INSERT INTO t VALUES (2)");
    for (n, (how, mut copy)) in copies(&mut db).into_iter().enumerate() {
        assert!(copy.is_in_transaction(), "{how}");
        assert_eq!(first(&mut copy, "SELECT sum(i) FROM t"), json!(3), "{how}");
        assert_eq!(
            text(&mut copy, "SELECT current_setting('transaction_isolation')"),
            "repeatable read",
            "{how}"
        );
        let mut other = copy.connect().unwrap();
        assert_eq!(
            first(&mut other, "SELECT count(*) FROM t"),
            json!(0),
            "{how}"
        );
        run(&mut copy, "ROLLBACK TO s");
        run(&mut copy, if n % 2 == 0 { "COMMIT" } else { "ROLLBACK" });
        assert!(!copy.is_in_transaction(), "{how}");
        assert_eq!(
            first(&mut other, "SELECT count(*) FROM t"),
            json!(1 - n % 2),
            "{how}"
        );
    }
    // A failed one is failed there too.
    assert_eq!(refused(&mut db, "SELECT 1 / 0"), "22012");
    for (how, mut copy) in copies(&mut db) {
        assert_eq!(refused(&mut copy, "SELECT 1"), "25P02", "{how}");
        run(&mut copy, "ROLLBACK TO s; COMMIT");
        assert_eq!(first(&mut copy, "SELECT i FROM t"), json!(1), "{how}");
    }
    run(&mut db, "ROLLBACK");
    assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(0));
}
