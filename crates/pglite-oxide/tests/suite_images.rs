//! Images: a snapshot saved by one process opens in another one of the same program, and is there what a database started in full is.
#![cfg(target_os = "linux")]

mod common;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{PATIENCE, eventually, first, run, text};
use pglite_oxide::{ImageError, Pglite, PgliteServer, Snapshot};
use serde_json::{Value, json};

/// Where the image is, for a child.
const IMAGE: &str = "PGLITE_OXIDE_TEST_IMAGE";

/// A fresh default database, as the asset builder would save it.
fn image_of_fresh() -> Vec<u8> {
    let mut db = Pglite::builder().fresh_temporary().open().unwrap();
    run(&mut db, "SELECT 1");
    db.snapshot().unwrap().to_image().unwrap()
}

fn saved() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::write(&path, image_of_fresh()).unwrap();
    (dir, path)
}

fn in_another_process(test: &str, image: &Path) -> String {
    common::in_a_new_process(test, &[(IMAGE, image.as_os_str())])
}

fn given() -> Snapshot {
    let path = std::env::var_os(IMAGE).expect("run by another test");
    Snapshot::from_image(std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn an_image_opens_in_another_process() {
    let (_dir, path) = saved();
    for test in [
        "child::queries_and_identities",
        "child::sessions_and_background",
        "child::a_crash_restarts_one_database",
        "child::served_over_tcp",
        "child::a_copy_of_a_copy_is_an_image_again",
    ] {
        in_another_process(test, &path);
    }
}

#[test]
fn an_image_opens_where_it_was_saved() {
    let snapshot = Snapshot::from_image(image_of_fresh()).unwrap();
    let mut one = snapshot.open().unwrap();
    run(
        &mut one,
        "CREATE TABLE t AS SELECT generate_series(1, 1000) AS i",
    );
    assert_eq!(first(&mut one, "SELECT sum(i)::int FROM t"), json!(500_500));
    let mut two = snapshot.open().unwrap();
    assert_eq!(first(&mut two, "SELECT to_regclass('t')"), Value::Null);
}

#[test]
fn damaged_and_foreign_images_are_refused() {
    let image = image_of_fresh();
    let refused = |bytes: Vec<u8>, what: &str| match Snapshot::from_image(bytes) {
        Err(ImageError::Load(_)) => {}
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what}: it was taken"),
    };
    refused(Vec::new(), "nothing");
    refused(b"PGLIMG\0\x04".to_vec(), "only the beginning");
    refused(vec![0; 100_000], "zeros");
    for at in [0, 9, 20, image.len() / 3, image.len() / 2, image.len() - 1] {
        let mut bytes = image.clone();
        bytes[at] ^= 0x10;
        refused(bytes, &format!("byte {at}"));
        refused(image[..at].to_vec(), &format!("the first {at}"));
    }
    // What a checksum does not see: an image of another build.
    let fingerprint = image
        .windows(4)
        .position(|four| four == 64_u32.to_le_bytes());
    if let Some(at) = fingerprint.filter(|&at| at == 12) {
        let mut bytes = image;
        bytes[at + 4] ^= 1;
        let sum = crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        refused(bytes, "another fingerprint");
    }
}

/// Castagnoli's polynomial, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = !0_u32;
    for &byte in bytes {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

/// Which words of a default cluster's processes are addresses of the program, by the functions they lie in: what an image for other executables must name.
#[test]
#[ignore = "a report"]
fn words_of_a_default_cluster() {
    let seen = words::Seen::default();
    let image = tracing::subscriber::with_default(seen.clone(), image_of_fresh);
    let symbols = words::Symbols::of_this_program();
    println!("image: {} bytes", image.len());
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for word in seen.words() {
        let what = match word.offset {
            Some(offset) => symbols.name(offset),
            None => "-".to_owned(),
        };
        let line = format!("{:9} {:6} {what}", word.area, word.kind);
        *counts.entry(line).or_default() += 1;
    }
    for (line, count) in counts {
        println!("{count:5} {line}");
    }
}

/// What saving tells of the words it looks at, and the symbols of this program.
mod words {
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::{Event, Metadata, Subscriber, span};

    #[derive(Clone, Debug, Default)]
    pub(super) struct Word {
        pub(super) area: String,
        pub(super) kind: String,
        pub(super) offset: Option<u64>,
    }

    impl Visit for Word {
        fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

        fn record_str(&mut self, field: &Field, value: &str) {
            match field.name() {
                "area" => value.clone_into(&mut self.area),
                "kind" => value.clone_into(&mut self.kind),
                _ => {}
            }
        }

        fn record_u64(&mut self, field: &Field, value: u64) {
            if field.name() == "offset" {
                self.offset = Some(value);
            }
        }
    }

    #[derive(Clone, Default)]
    pub(super) struct Seen(Arc<Mutex<Vec<Word>>>);

    impl Seen {
        pub(super) fn words(&self) -> Vec<Word> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Subscriber for Seen {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "pglite_oxide::image"
        }

        fn event(&self, event: &Event<'_>) {
            let mut word = Word::default();
            event.record(&mut word);
            self.0.lock().unwrap().push(word);
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    /// Address, length, name; by address.
    pub(super) struct Symbols(Vec<(u64, u64, String)>);

    impl Symbols {
        /// From the symbol table of the running ELF file.
        pub(super) fn of_this_program() -> Self {
            let file = std::fs::read("/proc/self/exe").unwrap();
            let number = |at: usize, len: usize| {
                file[at..at + len]
                    .iter()
                    .rev()
                    .fold(0_u64, |all, &byte| all << 8 | u64::from(byte))
            };
            let place = |at: usize| usize::try_from(number(at, 8)).unwrap();
            let (sections, size, count) = (place(40), number(58, 2), number(60, 2));
            let section = |n: u64| sections + usize::try_from(n * size).unwrap();
            let mut symbols = Vec::new();
            for at in (0..count).map(section).filter(|&at| number(at + 4, 4) == 2) {
                let names = place(section(number(at + 40, 4)) + 24);
                let (start, len) = (place(at + 24), place(at + 32));
                for at in (start..start + len).step_by(24) {
                    let name = names + usize::try_from(number(at, 4)).unwrap();
                    let end = name + file[name..].iter().position(|&byte| byte == 0).unwrap();
                    let name = String::from_utf8_lossy(&file[name..end]).into_owned();
                    // Functions and objects.
                    if matches!(file[at + 4] & 0xf, 0..=2) && !name.is_empty() {
                        symbols.push((number(at + 8, 8), number(at + 16, 8), name));
                    }
                }
            }
            symbols.sort_unstable();
            Self(symbols)
        }

        pub(super) fn name(&self, address: u64) -> String {
            let after = self.0.partition_point(|(start, ..)| *start <= address);
            match after.checked_sub(1).map(|at| &self.0[at]) {
                Some((start, len, name)) if address - start <= *len => name.clone(),
                Some((start, _, name)) => format!("{name} + {:#x}, past its end", address - start),
                None => format!("{address:#x}"),
            }
        }
    }
}

/// Time to the first row, each in a process of its own.
#[test]
#[ignore = "a measurement"]
fn measure() {
    let (_dir, path) = saved();
    println!("image: {} bytes", std::fs::metadata(&path).unwrap().len());
    for _ in 0..5 {
        for test in ["child::times", "child::times_in_full"] {
            print!("{}", in_another_process(test, &path));
        }
    }
}

/// What runs in other processes, by the tests above.
mod child {
    use super::*;

    #[test]
    #[ignore = "run by an_image_opens_in_another_process"]
    fn queries_and_identities() {
        let snapshot = given();
        let mut open: Vec<_> = (0..4).map(|_| snapshot.open().unwrap()).collect();
        let mut values = HashSet::new();
        let mut count = 0;
        for db in &mut open {
            for sql in [
                "SELECT system_identifier FROM pg_control_system()",
                "SELECT random()",
                "SELECT gen_random_uuid()",
            ] {
                values.insert(text(db, sql));
                count += 1;
            }
            let age = "SELECT clock_timestamp() - pg_postmaster_start_time() < '30 s'";
            assert_eq!(first(db, age), json!(true));
        }
        assert_eq!(values.len(), count, "{values:?}");
        for (n, db) in open.iter_mut().enumerate() {
            run(
                db,
                &format!(
                    "CREATE TABLE t (i int PRIMARY KEY, s text); INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, {}) i",
                    1000 * (n + 1)
                ),
            );
            run(db, "CREATE EXTENSION vector");
            run(db, "CREATE DATABASE other");
            assert_eq!(
                first(db, "SELECT '[1,2,3]'::vector <-> '[1,2,4]'"),
                json!(1.0)
            );
        }
        for (n, db) in open.iter_mut().enumerate() {
            assert_eq!(
                first(db, "SELECT count(*)::int FROM t"),
                json!(1000 * (n + 1))
            );
            // An error is a jump over frames whose buffers came from the image.
            assert_eq!(
                db.exec("SELECT 1/0", None).unwrap_err().sqlstate(),
                Some("22012")
            );
            run(
                db,
                "DO $$ BEGIN PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END $$",
            );
        }
        for mut db in open {
            db.close().unwrap();
        }
    }

    #[test]
    #[ignore = "run by an_image_opens_in_another_process"]
    fn sessions_and_background() {
        let snapshot = given();
        let mut db = snapshot.open().unwrap();
        let mut other = db.connect().unwrap();
        let (sender, receiver) = mpsc::channel();
        other
            .listen("news", move |payload| {
                let _ = sender.send(payload.to_owned());
            })
            .unwrap();
        run(&mut db, "NOTIFY news, 'hello'");
        eventually("a notification", || {
            other
                .wait_for_notifications(Duration::from_millis(100))
                .unwrap();
            receiver.try_recv().is_ok_and(|payload| payload == "hello")
        });
        // The session of the image has a key of its own in this database.
        let token = db.cancel_token();
        let waiter = std::thread::spawn(move || {
            let begun = Instant::now();
            let error = db.exec("SELECT pg_sleep(60)", None).unwrap_err();
            assert_eq!(error.sqlstate(), Some("57014"));
            assert!(begun.elapsed() < Duration::from_secs(30));
            db
        });
        eventually("a sleeping session", || {
            first(
                &mut other,
                "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
            ) == json!(1)
        });
        token.cancel().unwrap();
        let mut db = waiter.join().unwrap();
        run(
            &mut db,
            "CREATE TABLE t AS SELECT generate_series(1, 5000) AS i",
        );
        run(&mut db, "CHECKPOINT");
        for kind in [
            "autovacuum launcher",
            "background writer",
            "checkpointer",
            "walwriter",
        ] {
            let sql =
                format!("SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = '{kind}'");
            assert_eq!(first(&mut db, &sql), json!(1), "{kind}");
        }
        run(&mut db, "ALTER SYSTEM SET autovacuum_naptime = 1");
        run(&mut db, "SELECT pg_reload_conf()");
        run(&mut db, "DELETE FROM t WHERE i % 2 = 0");
        eventually("autovacuum", || {
            first(
                &mut db,
                "SELECT coalesce(sum(autovacuum_count), 0)::int > 0 FROM pg_stat_user_tables",
            ) == json!(true)
        });
        run(
            &mut db,
            "SET max_parallel_workers_per_gather = 2; SET debug_parallel_query = on",
        );
        assert_eq!(first(&mut db, "SELECT count(*)::int FROM t"), json!(2500));
        let connector = db.connector();
        drop((db, other));
        connector
            .cluster()
            .shutdown(pglite_oxide::ShutdownMode::Fast, PATIENCE)
            .unwrap();
    }

    #[test]
    #[ignore = "run by an_image_opens_in_another_process"]
    fn a_crash_restarts_one_database() {
        let snapshot = given();
        let (mut db, mut other) = (snapshot.open().unwrap(), snapshot.open().unwrap());
        run(&mut db, "CREATE TABLE t AS SELECT 7 AS i");
        let connector = db.connector();
        connector.cluster().signal(db.process_id(), 9).unwrap();
        eventually("the end of the session", || {
            db.exec("SELECT 1", None).is_err()
        });
        let mut again = connector.connect().unwrap();
        assert_eq!(first(&mut again, "SELECT i FROM t"), json!(7));
        assert_eq!(first(&mut other, "SELECT 1"), json!(1));
    }

    #[test]
    #[ignore = "run by an_image_opens_in_another_process"]
    fn served_over_tcp() {
        let server = PgliteServer::builder()
            .snapshot(&given())
            .tcp(([127, 0, 0, 1], 0).into())
            .start()
            .unwrap();
        let url = server.database_url();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..3 {
                let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                    .await
                    .unwrap();
                tokio::spawn(connection);
                clients.push(client);
            }
            clients[0]
                .batch_execute("CREATE TABLE t (i int)")
                .await
                .unwrap();
            for client in &clients {
                client
                    .execute("INSERT INTO t VALUES (1)", &[])
                    .await
                    .unwrap();
            }
            let row = clients[1]
                .query_one("SELECT count(*) FROM t", &[])
                .await
                .unwrap();
            assert_eq!(row.get::<_, i64>(0), 3);
        });
        server.shutdown().unwrap();
    }

    #[test]
    #[ignore = "run by an_image_opens_in_another_process"]
    fn a_copy_of_a_copy_is_an_image_again() {
        let mut db = given().open().unwrap();
        run(
            &mut db,
            "CREATE TABLE t AS SELECT generate_series(1, 3000) AS i",
        );
        let image = db.snapshot().unwrap().to_image().unwrap();
        drop(db);
        let mut again = Snapshot::from_image(image).unwrap().open().unwrap();
        assert_eq!(
            first(&mut again, "SELECT count(*)::int FROM t"),
            json!(3000)
        );
        run(&mut again, "CHECKPOINT");
    }

    fn milliseconds(since: Instant) -> f64 {
        since.elapsed().as_secs_f64() * 1e3
    }

    #[test]
    #[ignore = "run by measure"]
    fn times() {
        let path = std::env::var_os(IMAGE).expect("run by another test");
        let bytes = std::fs::read(path).unwrap();
        let begun = Instant::now();
        let snapshot = Snapshot::from_image(bytes).unwrap();
        let loaded = milliseconds(begun);
        let mut db = snapshot.open().unwrap();
        let opened = milliseconds(begun);
        first(&mut db, "SELECT 1");
        let row = milliseconds(begun);
        let second = Instant::now();
        let mut next = snapshot.open().unwrap();
        first(&mut next, "SELECT 1");
        let second = milliseconds(second);
        println!(
            "image: loaded {loaded:.2} opened {opened:.2} first row {row:.2} ms; the second {second:.2} ms"
        );
    }

    #[test]
    #[ignore = "run by measure"]
    fn times_in_full() {
        let begun = Instant::now();
        let mut db = Pglite::temporary().unwrap();
        first(&mut db, "SELECT 1");
        println!("in full: first row {:.2} ms", milliseconds(begun));
    }
}
