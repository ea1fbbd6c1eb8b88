//! Crashes: of a backend, and of the whole host process.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pglite_oxide::{Error, Pglite, QueryOptions, RowMode, StartError};
use serde_json::json;

/// How often a soak test goes round; the environment asks for more.
fn rounds(variable: &str, default: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn column(db: &mut Pglite, sql: &str) -> Vec<serde_json::Value> {
    let options = QueryOptions {
        row_mode: Some(RowMode::Array),
        ..Default::default()
    };
    let result = db.query(sql, &[], Some(&options)).unwrap();
    result.rows.into_iter().map(|row| row[0].clone()).collect()
}

/// A backend that dies of a signal takes shared memory for suspect: the postmaster ends the others and restarts, and this process lives on.
#[test]
fn a_killed_backend_restarts_the_cluster() {
    const SIGKILL: u8 = 9;
    const SIGSEGV: u8 = 11;
    let mut db = Pglite::temporary().unwrap();
    db.exec(
        "CREATE TABLE t (i int); INSERT INTO t VALUES (1); CHECKPOINT",
        None,
    )
    .unwrap();
    let connector = db.connector();
    for signo in [SIGKILL, SIGSEGV] {
        let mut victim = connector.connect().unwrap();
        let mut bystander = connector.connect().unwrap();
        connector
            .cluster()
            .signal(victim.process_id(), signo)
            .unwrap();
        assert!(victim.exec("SELECT 1", None).is_err());
        let deadline = Instant::now() + Duration::from_secs(10);
        while bystander.exec("SELECT pg_sleep(0.01)", None).is_ok() {
            assert!(Instant::now() < deadline, "the others were not ended");
        }
        let mut again = connector.connect().unwrap();
        assert_eq!(column(&mut again, "SELECT i FROM t"), [json!(1)]);
        assert!(connector.cluster().is_running());
    }
    assert!(
        connector
            .cluster()
            .log()
            .contains("all server processes terminated; reinitializing")
    );
}

/// The child of [`nothing_acknowledged_is_lost_when_the_host_is_killed`]: commits rows and prints each once it is acknowledged.
#[test]
#[ignore = "a child process of another test"]
fn writer_until_killed() {
    let Some(root) = std::env::var_os("PGLITE_OXIDE_WRITER_ROOT") else {
        return;
    };
    let first: u64 = std::env::var("PGLITE_OXIDE_WRITER_FIRST")
        .unwrap()
        .parse()
        .unwrap();
    let mut db = Pglite::open(root).unwrap();
    db.exec("CREATE TABLE IF NOT EXISTS t (i bigint PRIMARY KEY)", None)
        .unwrap();
    let mut out = std::io::stdout();
    for i in first.. {
        db.query("INSERT INTO t VALUES ($1)", &[json!(i)], None)
            .unwrap();
        writeln!(out, "row {i}").unwrap();
        out.flush().unwrap();
    }
}

/// `kill -9` of the host while rows are being committed: every row that was acknowledged is there afterwards, and the database opens.
#[test]
fn nothing_acknowledged_is_lost_when_the_host_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("db");
    let mut acknowledged = BTreeSet::new();
    let mut seed = u64::from(std::process::id());
    for round in 0..rounds("PGLITE_OXIDE_KILLS", 5) {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let patience = Duration::from_millis((seed >> 33) % 500);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "writer_until_killed",
                "--ignored",
                "--nocapture",
                "--quiet",
            ])
            .env("PGLITE_OXIDE_WRITER_ROOT", &root)
            .env(
                "PGLITE_OXIDE_WRITER_FIRST",
                (1 + round * 1_000_000).to_string(),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (first, begun) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let mut rows = Vec::new();
            for line in lines {
                if let Some(row) = line.rsplit_once("row ").and_then(|(_, n)| n.parse().ok()) {
                    rows.push(row);
                    let _ = first.send(());
                }
            }
            rows
        });
        begun.recv_timeout(Duration::from_secs(60)).unwrap();
        std::thread::sleep(patience);
        child.kill().unwrap();
        child.wait().unwrap();
        let rows: Vec<u64> = reader.join().unwrap();
        acknowledged.extend(rows);
        let mut db = Pglite::open(&root).unwrap();
        let found: BTreeSet<u64> = column(&mut db, "SELECT i FROM t")
            .iter()
            .map(|i| i.as_u64().unwrap())
            .collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
    }
}

#[test]
fn a_root_has_one_opener_and_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("db");
    let mut db = Pglite::open(&root).unwrap();
    db.exec("CREATE TABLE t AS SELECT 7 AS i", None).unwrap();
    let identifier = column(
        &mut db,
        "SELECT system_identifier::text FROM pg_control_system()",
    );
    match Pglite::open(&root).unwrap_err() {
        Error::Start(StartError::InUse { holder, .. }) => {
            assert_eq!(holder, Some(std::process::id()));
        }
        other => panic!("{other}"),
    }
    db.close().unwrap();
    drop(db);
    let mut db = Pglite::open(&root).unwrap();
    assert_eq!(column(&mut db, "SELECT i FROM t"), [json!(7)]);
    assert_eq!(
        column(
            &mut db,
            "SELECT system_identifier::text FROM pg_control_system()"
        ),
        identifier
    );
    let mut other = Pglite::temporary().unwrap();
    assert_ne!(
        column(
            &mut other,
            "SELECT system_identifier::text FROM pg_control_system()"
        ),
        identifier
    );
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(
        Pglite::open(file.join("db")),
        Err(Error::Start(StartError::Root { .. }))
    ));
}

/// A backup of a busy database opens and has every row that was acknowledged before it, whole transactions only; the original goes on.
#[test]
fn backups_of_busy_databases_open() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("original");
    for (name, mut db) in [
        ("persistent", Pglite::open(&root).unwrap()),
        ("temporary", Pglite::temporary().unwrap()),
    ] {
        db.exec("CREATE TABLE t (i int PRIMARY KEY, pair int)", None)
            .unwrap();
        let connector = db.connector();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let written = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = connector.connect().unwrap();
                let mut n = 0;
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    writer
                        .exec(&format!("BEGIN; INSERT INTO t VALUES ({n}, 1); INSERT INTO t VALUES (-{n} - 1, 2); COMMIT"), None)
                        .unwrap();
                    n += 1;
                    written.store(n, std::sync::atomic::Ordering::SeqCst);
                }
            });
            for round in 0..3 {
                while written.load(std::sync::atomic::Ordering::SeqCst) < 20 * (round + 1) {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                let before = written.load(std::sync::atomic::Ordering::SeqCst);
                let to = dir.path().join(format!("{name}-{round}"));
                db.backup(&to).unwrap();
                assert!(db.backup(&to).is_err(), "a backup does not go over another");
                let mut copy = Pglite::open(&to).unwrap();
                let count = |db: &mut Pglite, pair: i32| {
                    let sql = format!("SELECT count(*) AS n FROM t WHERE pair = {pair}");
                    db.query(&sql, &[], None).unwrap().rows[0]["n"]
                        .as_u64()
                        .unwrap()
                };
                let (ones, twos) = (count(&mut copy, 1), count(&mut copy, 2));
                assert_eq!(ones, twos, "whole transactions");
                assert!(ones >= u64::from(before), "{ones} of {before}");
                copy.exec("INSERT INTO t VALUES (1000000, 1)", None)
                    .unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::SeqCst);
        });
    }
}

/// The files of PostgreSQL's relation cache stay from a shutdown in order to the next start, and are made again after a crash, in which they may be from before what the log has to tell.
#[test]
fn what_was_closed_in_order_keeps_the_relation_cache() {
    let dir = tempfile::tempdir().unwrap();
    let note = dir.path().join("closed");
    let made = || -> u64 {
        let data = dir.path().join("data");
        let directory = std::fs::read_dir(data.join("base")).unwrap();
        let mut files = directory.map(|entry| entry.unwrap().path().join("pg_internal.init"));
        let newest = files.find_map(|path| {
            let database = path.parent()?.file_name()?;
            (database == "5").then(|| path.metadata().map_or(0, |found| found.ino()))
        });
        newest.unwrap()
    };
    let mut db = Pglite::open(dir.path()).unwrap();
    db.exec("CREATE TABLE t (i int); INSERT INTO t VALUES (1)", None)
        .unwrap();
    // The catalogs get other files, and the cache with them.
    db.exec("VACUUM FULL pg_class", None).unwrap();
    drop(db);
    let first = made();
    assert!(note.exists());

    let mut db = Pglite::open(dir.path()).unwrap();
    assert!(!note.exists(), "it is about the last shutdown only");
    assert_eq!(column(&mut db, "SELECT i FROM t"), [json!(1)]);
    assert_eq!(made(), first, "nobody made it again");
    db.exec("VACUUM FULL pg_class; VACUUM FULL pg_attribute", None)
        .unwrap();
    assert_eq!(column(&mut db, "SELECT i FROM t"), [json!(1)]);
    db.connector()
        .cluster()
        .shutdown(
            pglite_oxide::ShutdownMode::Immediate,
            Duration::from_secs(60),
        )
        .unwrap();
    drop(db);
    assert!(!note.exists(), "that was no shutdown in order");

    let mut db = Pglite::open(dir.path()).unwrap();
    assert_eq!(column(&mut db, "SELECT i FROM t"), [json!(1)]);
    drop(db);
    assert_ne!(made(), first);
    assert!(note.exists());

    // A note about other data is none.
    let control = dir.path().join("data/global/pg_control");
    let mut bytes = std::fs::read(&control).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&control, bytes).unwrap();
    let second = made();
    let mut db = Pglite::open(dir.path()).unwrap();
    assert_eq!(column(&mut db, "SELECT i FROM t"), [json!(1)]);
    assert_ne!(made(), second);
}
