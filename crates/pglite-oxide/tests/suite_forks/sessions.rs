//! Locks, transactions and registrations: the session's own go along, those of others are as if their clients had gone away.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pglite_oxide::{ExecProtocolOptions, Pglite};
use serde_json::json;

use crate::{copies, eventually, first, refused, rows, run};

#[test]
fn advisory_locks_of_the_session_are_held_and_those_of_others_are_free() {
    let mut db = Pglite::temporary().unwrap();
    let mut other = db.connect().unwrap();
    run(&mut db, "SELECT pg_advisory_lock(1)");
    run(&mut other, "SELECT pg_advisory_lock(2)");
    for (how, mut copy) in copies(&mut db) {
        assert_eq!(
            rows(
                &mut copy,
                "SELECT objid FROM pg_locks WHERE locktype = 'advisory'"
            ),
            [json!([1])],
            "{how}"
        );
        let mut new = copy.connect().unwrap();
        assert_eq!(
            first(&mut new, "SELECT pg_try_advisory_lock(1)"),
            json!(false),
            "{how}"
        );
        assert_eq!(
            first(&mut new, "SELECT pg_try_advisory_lock(2)"),
            json!(true),
            "{how}"
        );
        assert_eq!(
            first(&mut copy, "SELECT pg_advisory_unlock(1)"),
            json!(true),
            "{how}"
        );
        assert_eq!(
            first(&mut new, "SELECT pg_try_advisory_lock(1)"),
            json!(true),
            "{how}"
        );
    }
    assert_eq!(
        first(&mut db, "SELECT pg_try_advisory_lock(2)"),
        json!(false)
    );
    assert_eq!(
        first(&mut other, "SELECT pg_try_advisory_lock(1)"),
        json!(false)
    );
}

#[test]
fn what_others_have_not_committed_is_rolled_back() {
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "CREATE TABLE t (i int)");
    let mut other = db.connect().unwrap();
    run(&mut other, "CREATE TEMP TABLE mine ()");
    run(&mut other, "BEGIN");
    run(&mut other, "INSERT INTO t VALUES (1)");
    run(&mut other, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    run(&mut db, "SET lock_timeout = '50ms'");
    assert_eq!(refused(&mut db, "SELECT FROM t"), "55P03");
    for (how, mut copy) in copies(&mut db) {
        assert_eq!(
            first(&mut copy, "SELECT count(*) FROM t"),
            json!(0),
            "{how}"
        );
        assert_eq!(
            first(
                &mut copy,
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            ),
            json!(1),
            "{how}"
        );
        assert_eq!(
            first(
                &mut copy,
                "SELECT count(*) FROM pg_class WHERE relname = 'mine'"
            ),
            json!(0),
            "{how}"
        );
        run(&mut copy, "DROP TABLE t");
    }
    run(&mut other, "COMMIT");
    assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(1));
}

#[test]
fn one_who_waits_for_a_lock_waits_on_in_the_original_only() {
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "CREATE TABLE t (i int)");
    run(&mut db, "BEGIN");
    run(&mut db, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    let mut other = db.connect().unwrap();
    let waiting = std::thread::spawn(move || {
        run(&mut other, "INSERT INTO t VALUES (1)");
        other
    });
    const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    eventually("it waits", || first(&mut db, WAITING) == json!(1));
    for (how, mut copy) in copies(&mut db) {
        assert_eq!(first(&mut copy, WAITING), json!(0), "{how}");
        run(&mut copy, "COMMIT");
        assert_eq!(
            first(&mut copy, "SELECT count(*) FROM t"),
            json!(0),
            "{how}"
        );
    }
    assert!(!waiting.is_finished());
    run(&mut db, "COMMIT");
    let mut other = waiting.join().unwrap();
    assert_eq!(first(&mut other, "SELECT count(*) FROM t"), json!(1));
}

#[test]
fn one_who_computes_is_not_in_the_copy_and_computes_on_in_the_original() {
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "CREATE TABLE t (i int)");
    let mut other = db.connect().unwrap();
    let pid = other.process_id();
    let token = other.cancel_token();
    let computing = std::thread::spawn(move || {
        run(&mut other, "BEGIN");
        run(&mut other, "INSERT INTO t VALUES (1)");
        let error = other
            .exec("DO $$ BEGIN LOOP END LOOP; END $$", None)
            .unwrap_err();
        assert_eq!(error.sqlstate(), Some("57014"));
        run(&mut other, "ROLLBACK");
    });
    let active =
        format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND query LIKE 'DO%'");
    eventually("it computes", || first(&mut db, &active) == json!(1));
    for (how, mut copy) in copies(&mut db) {
        assert_eq!(first(&mut copy, &active), json!(0), "{how}");
        // Its lock is gone.
        run(&mut copy, "SET lock_timeout = '10s'; DROP TABLE t");
    }
    assert!(!computing.is_finished());
    token.cancel().unwrap();
    computing.join().unwrap();
}

#[test]
fn one_in_the_middle_of_a_copy_goes_on_in_the_original() {
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "CREATE TABLE t (i int)");
    let mut other = db.connect().unwrap();
    let message = |tag: u8, body: &[u8]| {
        let mut message = vec![tag];
        message.extend_from_slice(&(u32::try_from(body.len()).unwrap() + 4).to_be_bytes());
        message.extend_from_slice(body);
        message
    };
    let mut raw = |bytes: Vec<u8>| {
        other
            .exec_protocol_raw(&bytes, ExecProtocolOptions::default())
            .unwrap()
    };
    raw(message(b'Q', b"COPY t FROM STDIN\0"));
    let mut text = String::new();
    for i in 0..20_000 {
        text.push_str(&format!("{i}\n"));
    }
    let in_copy = "SELECT count(*) FROM pg_stat_progress_copy";
    raw(message(b'd', text.as_bytes()));
    assert_eq!(first(&mut db, in_copy), json!(1));
    for (how, mut copy) in copies(&mut db) {
        assert_eq!(first(&mut copy, in_copy), json!(0), "{how}");
        assert_eq!(
            first(&mut copy, "SELECT count(*) FROM t"),
            json!(0),
            "{how}"
        );
        run(&mut copy, "DROP TABLE t");
    }
    raw(message(b'd', b"20000\n"));
    raw(message(b'c', b""));
    assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(20_001));
}

#[test]
fn a_session_amid_a_copy_of_its_own_refuses_to_be_copied() {
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "CREATE TABLE t (i int)");
    let mut query = vec![b'Q', 0, 0, 0, 22];
    query.extend_from_slice(b"COPY t FROM STDIN\0");
    db.exec_protocol_raw(&query, ExecProtocolOptions::default())
        .unwrap();
    assert!(matches!(db.fork(), Err(pglite_oxide::Error::Busy(_))));
    assert!(matches!(db.snapshot(), Err(pglite_oxide::Error::Busy(_))));
    db.exec_protocol_raw(&[b'c', 0, 0, 0, 4], ExecProtocolOptions::default())
        .unwrap();
    assert_eq!(
        first(&mut db.fork().unwrap(), "SELECT count(*) FROM t"),
        json!(0)
    );
}

#[test]
fn listening_goes_along_and_callbacks_stay_behind() {
    let mut db = Pglite::temporary().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let note = |whose: &str| {
        let (heard, whose) = (Arc::clone(&heard), whose.to_owned());
        move |payload: &str| heard.lock().unwrap().push(format!("{whose}: {payload}"))
    };
    let _handle = db.listen("news", note("original")).unwrap();
    let mut other = db.connect().unwrap();
    run(&mut other, "LISTEN gossip");
    for (how, mut copy) in copies(&mut db) {
        assert_eq!(
            rows(&mut copy, "SELECT pg_listening_channels()"),
            [json!(["news"])],
            "{how}"
        );
        let told = Arc::clone(&heard);
        let _all = copy.on_notification(move |channel, payload| {
            told.lock()
                .unwrap()
                .push(format!("copy: {channel} {payload}"));
        });
        let mut sender = copy.connect().unwrap();
        run(
            &mut sender,
            &format!("NOTIFY news, '{how}'; NOTIFY gossip, 'to nobody'"),
        );
        eventually("it is told", || {
            copy.wait_for_notifications(Duration::from_millis(100))
                .unwrap()
        });
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        assert_eq!(heard, [format!("copy: news {how}")], "{how}");
    }
    let mut sender = db.connect().unwrap();
    run(&mut sender, "NOTIFY news, 'at home'");
    eventually("it is told", || {
        db.wait_for_notifications(Duration::from_millis(100))
            .unwrap()
    });
    assert_eq!(*heard.lock().unwrap(), ["original: at home"]);
    run(&mut other, "SELECT 1");
}
