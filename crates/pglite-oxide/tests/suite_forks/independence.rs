//! A copy is a whole cluster: everything works there, and nothing that happens there reaches the original or other copies.

use pglite_oxide::{Error, Pglite, SnapshotError};
use serde_json::json;

use crate::{copies, eventually, first, rows, run, text};

fn filled() -> Pglite {
    let mut db = Pglite::builder()
        .postgres_config("autovacuum_naptime", "1")
        .open()
        .unwrap();
    run(
        &mut db,
        "CREATE TABLE t (i int PRIMARY KEY, x text); INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 20000) g; ANALYZE t",
    );
    db
}

fn is_whole(db: &mut Pglite, how: &str) {
    assert_eq!(
        rows(db, "SELECT count(*), sum(i) FROM t WHERE x = md5(i::text)"),
        [json!([20_000, 200_010_000])],
        "{how}"
    );
}

#[test]
fn a_crash_restarts_one_copy_and_leaves_the_others_alone() {
    let mut db = filled();
    let mut all = copies(&mut db);
    all.push(("the original", db));
    let mut sessions: Vec<_> = all.iter().map(|(_, db)| db.connect().unwrap()).collect();
    for at in 0..all.len() {
        let (how, db) = &mut all[at];
        run(db, "INSERT INTO t VALUES (0, 'committed')");
        run(db, "BEGIN");
        run(db, "DELETE FROM t");
        let connector = db.connector();
        let victim = sessions[at].process_id();
        connector.cluster().signal(victim, 9).unwrap();
        eventually("the crash is noticed", || {
            matches!(
                db.exec("SELECT pg_sleep(0.01)", None),
                Err(Error::ConnectionLost { .. } | Error::Closed)
            ) || db.is_closed()
        });
        *db = connector.connect().unwrap();
        assert!(
            sessions[at].exec("SELECT 1", None).is_err(),
            "{how}: the victim is gone"
        );
        assert_eq!(
            text(db, "SELECT x FROM t WHERE i = 0"),
            "committed",
            "{how}"
        );
        run(db, "DELETE FROM t WHERE i = 0; CHECKPOINT");
        is_whole(db, how);
        for later in &mut sessions[at + 1..] {
            assert_eq!(first(later, "SELECT 1"), json!(1), "after {at}");
        }
        // The copies of the recovered are as good.
        let (how, db) = &mut all[at];
        is_whole(&mut db.fork().unwrap(), how);
    }
    for (how, db) in &mut all {
        is_whole(db, how);
    }
}

#[test]
fn the_background_works_in_a_copy() {
    let mut db = filled();
    let counted = "SELECT num_done FROM pg_stat_checkpointer";
    let original = first(&mut db, counted);
    let snapshot = db.snapshot().unwrap();
    let mut copy = snapshot.open().unwrap();
    let before = first(&mut copy, counted);
    run(&mut copy, "UPDATE t SET x = 'new'; CHECKPOINT");
    eventually("the checkpoint is counted", || {
        first(&mut copy, counted) != before
    });
    run(&mut copy, "SELECT pg_stat_force_next_flush()");
    eventually("autovacuum comes", || {
        first(
            &mut copy,
            "SELECT autovacuum_count > 0 AND autoanalyze_count > 0 FROM pg_stat_user_tables WHERE relname = 't'",
        ) == json!(true)
    });
    assert_eq!(first(&mut db, counted), original);
    is_whole(&mut db, "the original");
    is_whole(&mut snapshot.open().unwrap(), "another copy");
}

#[test]
fn queries_are_parallel_in_a_copy() {
    let mut db = filled();
    run(
        &mut db,
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2; \
         ALTER TABLE t SET (parallel_workers = 2)",
    );
    for (how, mut copy) in copies(&mut db) {
        let plan: Vec<_> = rows(
            &mut copy,
            "EXPLAIN (ANALYZE, COSTS OFF) SELECT count(*) FROM t WHERE x > ''",
        );
        assert!(
            plan.iter()
                .any(|line| line[0].as_str().unwrap().contains("Workers Launched: 2")),
            "{how}: {plan:?}"
        );
        assert_eq!(
            first(&mut copy, "SELECT count(*) FROM t WHERE x > ''"),
            json!(20_000),
            "{how}"
        );
        run(&mut copy, "CREATE INDEX ON t (x)");
    }
}

#[test]
fn databases_are_created_and_dropped_in_a_copy_for_itself() {
    let mut db = filled();
    run(&mut db, "CREATE DATABASE before TEMPLATE postgres");
    for strategy in ["WAL_LOG", "FILE_COPY"] {
        for (how, mut copy) in copies(&mut db) {
            run(
                &mut copy,
                &format!("CREATE DATABASE after TEMPLATE before STRATEGY {strategy}"),
            );
            let mut inside = copy.connector().database("after").connect().unwrap();
            is_whole(&mut inside, how);
            run(&mut inside, "DROP TABLE t");
            inside.close().unwrap();
            let mut inside = copy.connector().database("before").connect().unwrap();
            is_whole(&mut inside, how);
            inside.close().unwrap();
            run(&mut copy, "DROP DATABASE before; ");
            run(&mut copy, "DROP DATABASE after");
        }
    }
    let mut inside = db.connector().database("before").connect().unwrap();
    is_whole(&mut inside, "the original");
}

#[test]
fn roles_tablespaces_and_settings_of_a_copy_are_its_own() {
    let mut db = filled();
    for (how, mut copy) in copies(&mut db) {
        run(&mut copy, "CREATE ROLE someone LOGIN");
        run(&mut copy, "ALTER SYSTEM SET work_mem = '77kB'");
        run(&mut copy, "SELECT pg_reload_conf()");
        eventually("the setting is read", || {
            let mut new = copy.connector().username("someone").connect().unwrap();
            text(&mut new, "SELECT current_setting('work_mem')") == "77kB"
        });
        assert_eq!(
            first(
                &mut copy,
                "SELECT count(*) FROM pg_roles WHERE rolname = 'someone'"
            ),
            json!(1),
            "{how}"
        );
    }
    assert_eq!(
        first(
            &mut db,
            "SELECT count(*) FROM pg_roles WHERE rolname = 'someone'"
        ),
        json!(0)
    );
    run(&mut db, "SELECT pg_reload_conf()");
    assert_eq!(
        text(
            &mut db.connect().unwrap(),
            "SELECT current_setting('work_mem')"
        ),
        "4MB"
    );
}

#[test]
fn a_copy_can_be_shut_down_in_order() {
    let mut db = filled();
    for (how, copy) in copies(&mut db) {
        let connector = copy.connector();
        drop(copy);
        connector
            .cluster()
            .shutdown(pglite_oxide::ShutdownMode::Fast, crate::PATIENCE)
            .unwrap_or_else(|error| panic!("{how}: {error}"));
        assert!(!connector.cluster().is_running(), "{how}");
        assert!(
            connector
                .cluster()
                .log()
                .contains("database system is shut down"),
            "{how}: {}",
            connector.cluster().log()
        );
    }
    is_whole(&mut db, "the original");
}

#[test]
fn settings_of_durability_are_the_temporary_ones() {
    let mut db = Pglite::temporary().unwrap();
    for (how, mut copy) in copies(&mut db) {
        for (name, value) in [
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("synchronous_commit", "on"),
        ] {
            assert_eq!(
                text(&mut copy, &format!("SELECT current_setting('{name}')")),
                value,
                "{how}: {name}"
            );
        }
    }
}

#[test]
fn a_database_in_a_directory_says_that_it_cannot_be_forked() {
    let root = tempfile::tempdir().unwrap();
    let mut db = Pglite::open(root.path()).unwrap();
    for error in [
        db.fork().unwrap_err(),
        db.try_clone().unwrap_err(),
        db.snapshot().unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::Snapshot(SnapshotError::Persistent)),
            "{error:?}"
        );
    }
    assert_eq!(first(&mut db, "SELECT 1"), json!(1));
    // But it goes on from a copy of another one, as a temporary database.
    let snapshot = Pglite::temporary().unwrap().snapshot().unwrap();
    let mut restored = Pglite::temporary().unwrap();
    restored.restore(&snapshot).unwrap();
    assert_eq!(first(&mut restored, "SELECT 1"), json!(1));
}

#[test]
fn a_stopped_database_says_that_it_has_stopped() {
    let mut db = Pglite::temporary().unwrap();
    db.connector()
        .cluster()
        .shutdown(pglite_oxide::ShutdownMode::Fast, crate::PATIENCE)
        .unwrap();
    let error = db.fork().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Snapshot(SnapshotError::NotRunning) | Error::ClusterGone | Error::Closed
        ),
        "{error:?}"
    );
}
