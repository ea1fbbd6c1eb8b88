//! The direct API against the real thing.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pglite_oxide::{Error, ExecProtocolOptions, Pglite, QueryOptions, RowMode};
use serde_json::json;

fn value(db: &mut Pglite, sql: &str) -> serde_json::Value {
    let result = db
        .query(
            sql,
            &[],
            Some(&QueryOptions {
                row_mode: Some(RowMode::Array),
                ..Default::default()
            }),
        )
        .unwrap();
    result.rows[0][0].clone()
}

#[test]
fn statements_parameters_types_and_errors() {
    let mut db = Pglite::temporary().unwrap();
    assert!(
        value(&mut db, "SELECT version()")
            .as_str()
            .unwrap()
            .starts_with("PostgreSQL 18.6")
    );
    let results = db.exec("CREATE TABLE t (i int PRIMARY KEY, x text); INSERT INTO t VALUES (1, 'a'), (2, NULL); SELECT * FROM t ORDER BY i", None).unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!(results[1].affected_rows, Some(2));
    assert_eq!(
        results[2].rows,
        [json!({"i": 1, "x": "a"}), json!({"i": 2, "x": null})]
    );
    let row = db
        .query(
            "SELECT $1::int8 AS big, $2::jsonb AS doc, $3::text[] AS list, $4::bool AS yes, $5::numeric AS n",
            &[json!(7), json!({"a": [1, 2]}), json!(["x", "y z"]), json!(true), json!("1.50")],
            None,
        )
        .unwrap();
    assert_eq!(row.rows[0]["doc"], json!({"a": [1, 2]}));
    assert_eq!(row.rows[0]["list"], json!(["x", "y z"]));
    assert_eq!(row.rows[0]["yes"], json!(true));

    let error = db
        .exec("INSERT INTO t VALUES (1, 'again')", None)
        .unwrap_err();
    assert_eq!(error.sqlstate(), Some("23505"));
    assert_eq!(
        db.exec("SELECT 1/0", None).unwrap_err().sqlstate(),
        Some("22012")
    );
    assert_eq!(
        db.exec("SELEKT", None).unwrap_err().sqlstate(),
        Some("42601")
    );
    assert_eq!(
        value(&mut db, "SELECT count(*)::int FROM t"),
        json!(2),
        "the session lives on"
    );

    db.exec("CREATE TYPE mood AS ENUM ('ok', 'sad')", None)
        .unwrap();
    assert_eq!(
        value(&mut db, "SELECT ARRAY['ok','sad']::mood[]"),
        json!(["ok", "sad"]),
        "arrays of users' types are read as arrays"
    );
    let described = db
        .describe_query("SELECT i, x FROM t WHERE i = $1", None)
        .unwrap();
    assert_eq!(
        described.query_params[0].data_type_id,
        pglite_oxide::types::INT4
    );
    assert_eq!(described.result_fields[1].name, "x");
}

#[test]
fn transactions_commit_roll_back_and_refuse_after_an_error() {
    let mut db = Pglite::temporary().unwrap();
    db.exec("CREATE TABLE t (i int)", None).unwrap();
    db.transaction(|tx| tx.exec("INSERT INTO t VALUES (1)", None).map(drop))
        .unwrap();
    let outcome: pglite_oxide::Result<()> = db.transaction(|tx| {
        tx.exec("INSERT INTO t VALUES (2)", None)?;
        Err(Error::other("changed my mind"))
    });
    assert!(outcome.unwrap_err().to_string().contains("changed my mind"));
    let outcome = db.transaction(|tx| {
        let _ = tx.exec("SELECT 1/0", None);
        Ok(())
    });
    assert_eq!(
        outcome.unwrap_err().sqlstate(),
        Some("25P02"),
        "a failed transaction does not commit in silence"
    );
    assert_eq!(value(&mut db, "SELECT array_agg(i) FROM t"), json!([1]));
}

#[test]
fn copy_moves_blobs_both_ways() {
    let mut db = Pglite::temporary().unwrap();
    db.exec("CREATE TABLE t (i int, x text)", None).unwrap();
    let blob: String = (0..1_000_000).map(|i| format!("{i}\trow {i}\n")).collect();
    let options = QueryOptions {
        blob: Some(blob.clone().into_bytes()),
        ..Default::default()
    };
    assert_eq!(
        db.query("COPY t FROM '/dev/blob'", &[], Some(&options))
            .unwrap()
            .affected_rows,
        Some(1_000_000)
    );
    let out = db
        .query(
            "COPY (SELECT * FROM t ORDER BY i) TO '/dev/blob'",
            &[],
            None,
        )
        .unwrap();
    assert_eq!(out.blob.unwrap(), blob.into_bytes());
    assert_eq!(
        db.query("COPY t FROM STDIN", &[], None)
            .unwrap_err()
            .sqlstate(),
        Some("57014"),
        "without data it says so"
    );
}

#[test]
fn sessions_share_a_cluster_and_notify_each_other() {
    let mut db = Pglite::temporary().unwrap();
    db.exec("CREATE TABLE t (i int); CREATE DATABASE other", None)
        .unwrap_err();
    db.exec("CREATE TABLE t (i int)", None).unwrap();
    db.exec("CREATE DATABASE other", None).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let copy = Arc::clone(&seen);
    db.listen("news", move |payload| {
        copy.lock().unwrap().push(payload.to_owned());
    })
    .unwrap();
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let connector = db.connector();
            std::thread::spawn(move || {
                let mut session = connector.connect().unwrap();
                session
                    .exec(
                        &format!("INSERT INTO t VALUES ({i}); NOTIFY news, '{i}'"),
                        None,
                    )
                    .unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while seen.lock().unwrap().len() < 8 && Instant::now() < deadline {
        db.wait_for_notifications(Duration::from_millis(100))
            .unwrap();
    }
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(value(&mut db, "SELECT count(*)::int FROM t"), json!(8));
    let mut other = db.connector().database("other").connect().unwrap();
    assert_eq!(
        value(&mut other, "SELECT current_database()"),
        json!("other")
    );
    assert_eq!(
        db.connector()
            .database("nowhere")
            .connect()
            .unwrap_err()
            .sqlstate(),
        Some("3D000")
    );
}

/// A cancelled statement ends within 50 ms, waiting or computing. The median of a few: the machine may be busy.
#[test]
fn cancel_stops_a_busy_query_quickly() {
    let mut db = Pglite::temporary().unwrap();
    // On a busy machine a cancel can come before its query has begun, and is lost then, as PostgreSQL has it. The second query went on for ever, and took all memory of the machine.
    db.exec("SET statement_timeout = '10s'", None).unwrap();
    for sql in [
        "SELECT pg_sleep(60)",
        "SELECT count(*) FROM generate_series(1, 1000000000000)",
    ] {
        let mut took = Vec::new();
        for _ in 0..7 {
            let token = db.cancel_token();
            let canceller = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                let asked = Instant::now();
                token.cancel().unwrap();
                asked
            });
            let error = db.exec(sql, None).unwrap_err();
            took.push(canceller.join().unwrap().elapsed());
            assert_eq!(error.sqlstate(), Some("57014"));
        }
        took.sort();
        println!("{sql}: {took:?}");
        assert!(took[3] < Duration::from_millis(50), "{sql}: {took:?}");
    }
    assert_eq!(value(&mut db, "SELECT 1"), json!(1));
}

#[test]
fn the_raw_protocol_passes_through() {
    let mut db = Pglite::temporary().unwrap();
    let mut message = vec![b'Q', 0, 0, 0, 14];
    message.extend_from_slice(b"SELECT 42\0");
    let result = db
        .exec_protocol(&message, ExecProtocolOptions::default())
        .unwrap();
    assert!(result.data.starts_with(b"T") && result.messages.len() == 4);
    assert!(matches!(
        db.exec_protocol_raw(&[b'Q', 0, 0], ExecProtocolOptions::default()),
        Err(Error::InvalidArgument { .. })
    ));
    assert_eq!(value(&mut db, "SELECT 1"), json!(1));
}

#[test]
fn endless_recursion_and_huge_values_are_errors() {
    let mut db = Pglite::temporary().unwrap();
    db.exec(
        "CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN f(i + 1); END $$",
        None,
    )
    .unwrap();
    assert_eq!(
        db.exec("SELECT f(1)", None).unwrap_err().sqlstate(),
        Some("54001")
    );
    assert_eq!(value(&mut db, "SELECT 1"), json!(1));
    let error = db.exec("SELECT repeat('x', 1100000000)", None).unwrap_err();
    assert_eq!(error.sqlstate(), Some("54000"));
    assert_eq!(
        value(&mut db, "SELECT length(repeat('x', 500000000))"),
        json!(500_000_000)
    );
    assert_eq!(value(&mut db, "SELECT 1"), json!(1));
}

/// A backend has 4 GiB of addresses, and less memory: what does not fit is an error of the statement, and the session lives on.
#[test]
fn running_out_of_memory_is_an_error() {
    let mut db = Pglite::temporary().unwrap();
    match db.query("SELECT repeat('x', 500000000) AS x", &[], None) {
        Ok(result) => assert_eq!(
            result.rows[0]["x"].as_str().map(str::len),
            Some(500_000_000)
        ),
        Err(error) => assert!(
            matches!(error.sqlstate(), Some("53200" | "54000")),
            "{error}"
        ),
    }
    assert_eq!(value(&mut db, "SELECT 1"), json!(1));
    let sql = "SELECT length(array_agg(repeat('x', 100000000))::text) FROM generate_series(1, 40)";
    let error = db.exec(sql, None).unwrap_err();
    assert_eq!(error.sqlstate(), Some("53200"), "{error}");
    assert_eq!(value(&mut db, "SELECT 1"), json!(1));
    assert!(
        !db.connector().cluster().log().contains("reinitializing"),
        "no backend crashed"
    );
}

#[test]
fn sql_sees_only_the_guests_world() {
    let mut db = Pglite::temporary().unwrap();
    let error = db.exec("COPY (SELECT 1) TO '/etc/x'", None);
    assert!(error.is_ok() || error.unwrap_err().sqlstate().is_some());
    assert!(
        !std::path::Path::new("/etc/x").exists(),
        "nothing was written to the host"
    );
    let passwd = value(&mut db, "SELECT pg_read_file('/etc/passwd')");
    assert_eq!(
        passwd,
        json!("postgres:x:1000:1000:PostgreSQL:/data:/bin/sh\n"),
        "the guest's own"
    );
    assert!(
        db.exec("SELECT pg_read_file('/proc/self/environ')", None)
            .is_err()
    );
    let error = db
        .exec(
            "COPY (SELECT 1) TO PROGRAM 'touch /tmp/pglite-escaped'",
            None,
        )
        .unwrap_err();
    assert!(error.sqlstate().is_some(), "{error}");
    assert!(!std::path::Path::new("/tmp/pglite-escaped").exists());
    let error = db
        .exec(
            "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=22 dbname=x' PUBLICATION p",
            None,
        )
        .unwrap_err();
    assert!(error.sqlstate().is_some(), "{error}");
}
