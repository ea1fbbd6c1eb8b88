//! The built-in cluster: what programs open first is a cluster that was started when the assets were built, and nothing may tell it from one that was started here.
#![cfg(target_os = "linux")]

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{first, run, text};
use pglite_oxide::{Pglite, PgliteServer, extensions};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// How many postmasters have said that they are ready: copies of one that is do not.
static STARTED: AtomicUsize = AtomicUsize::new(0);

struct Log;

impl Visit for Log {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        if format!("{value:?}").contains("ready to accept connections") {
            STARTED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "pglite_oxide::postgres"
    }
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Self);
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The line that an ignored test marks, run in a process of its own.
fn in_a_new_process(test: &str) -> String {
    let said = common::in_a_new_process(test, &[]);
    let line = said.lines().find_map(|line| line.strip_prefix("found: "));
    line.unwrap_or_else(|| panic!("{test} found nothing: {said}"))
        .to_owned()
}

/// With assets of which there is no built-in cluster (another host's, or without a profile), or sources that have changed since `cargo xtask assets`, everything here starts in full.
#[test]
fn the_first_database_of_a_process_starts_nothing() {
    assert_eq!(in_a_new_process("child::defaults"), "0");
}

/// Two programs must not share what was random when the cluster was frozen.
#[test]
fn every_process_has_identities_of_its_own() {
    let found: Vec<String> = (0..3)
        .map(|_| in_a_new_process("child::identities"))
        .collect();
    let values: Vec<&str> = found.iter().flat_map(|line| line.split(' ')).collect();
    assert_eq!(values.len(), 3 * 5, "{found:?}");
    let distinct: HashSet<&&str> = values.iter().collect();
    assert_eq!(distinct.len(), values.len(), "{found:?}");
}

#[test]
fn what_sql_can_make_is_made_and_what_it_cannot_starts_in_full() {
    assert_eq!(in_a_new_process("child::extension"), "0 0");
    assert_eq!(in_a_new_process("child::setting"), "1");
    assert_eq!(in_a_new_process("child::preloaded"), "1");
    assert_eq!(in_a_new_process("child::fresh"), "1");
}

#[test]
fn a_server_starts_nothing_either() {
    assert_eq!(in_a_new_process("child::server"), "0");
}

/// A snapshot of a database that was migrated a moment before had its postmaster with a signal to handle, so each copy ran two processes at once, which must share 14 MB of memory first: 10 ms
/// to the first row instead of 3.
#[test]
fn copies_of_what_was_just_migrated_run_one_process_each() {
    assert_eq!(in_a_new_process("child::migrated"), "5");
}

/// What runs in other processes, by the tests above.
mod child {
    use super::*;

    fn watched() {
        tracing::subscriber::set_global_default(Log).unwrap();
    }

    fn started() -> usize {
        STARTED.load(Ordering::Relaxed)
    }

    #[test]
    #[ignore = "run by the_first_database_of_a_process_starts_nothing"]
    fn defaults() {
        watched();
        let mut db = Pglite::temporary().unwrap();
        assert_eq!(first(&mut db, "SELECT 1"), json!(1));
        for kind in ["background writer", "checkpointer", "walwriter"] {
            let sql =
                format!("SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = '{kind}'");
            assert_eq!(first(&mut db, &sql), json!(1), "{kind}");
        }
        // Nobody else is there, and the session is as new.
        let others = "SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        assert_eq!(first(&mut db, others), json!(0));
        for nothing in [
            "SELECT count(*)::int FROM pg_prepared_statements",
            "SELECT count(*)::int FROM pg_class WHERE relnamespace = 'public'::regnamespace",
        ] {
            assert_eq!(first(&mut db, nothing), json!(0), "{nothing}");
        }
        db.close().unwrap();
        println!("found: {}", started());
    }

    #[test]
    #[ignore = "run by every_process_has_identities_of_its_own"]
    fn identities() {
        let mut db = Pglite::temporary().unwrap();
        let age = "SELECT clock_timestamp() - pg_postmaster_start_time() BETWEEN '0 s' AND '30 s'";
        assert_eq!(first(&mut db, age), json!(true));
        let age = "SELECT now() - backend_start BETWEEN '0 s' AND '30 s' FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        assert_eq!(first(&mut db, age), json!(true));
        let mut other = db.connect().unwrap();
        let values = [
            text(&mut db, "SELECT system_identifier FROM pg_control_system()"),
            text(&mut db, "SELECT random()"),
            text(&mut db, "SELECT gen_random_uuid()"),
            text(&mut other, "SELECT random()"),
            text(&mut other, "SELECT gen_random_uuid()"),
        ];
        println!("found: {}", values.join(" "));
    }

    /// Processes that are mapped: each has 8 GiB of addresses.
    fn spaces() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
        let kilobytes: usize = size
            .unwrap()
            .trim()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        kilobytes >> 23
    }

    #[test]
    #[ignore = "run by copies_of_what_was_just_migrated_run_one_process_each"]
    fn migrated() {
        let mut db = Pglite::temporary().unwrap();
        let tables: Vec<String> = (0..60)
            .map(|n| format!("CREATE TABLE t{n} (id bigserial PRIMARY KEY, name text); INSERT INTO t{n} (name) SELECT g FROM generate_series(1, 20) g"))
            .collect();
        run(&mut db, &tables.join(";"));
        let snapshot = db.snapshot().unwrap();
        drop(db);
        std::thread::sleep(std::time::Duration::from_millis(300));
        let before = spaces();
        let copies: Vec<Pglite> = (0..5)
            .map(|_| {
                let mut copy = snapshot.open().unwrap();
                assert_eq!(first(&mut copy, "SELECT count(*)::int FROM t7"), json!(20));
                copy
            })
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(100));
        println!("found: {}", spaces() - before);
        drop(copies);
    }

    #[test]
    #[ignore = "run by what_sql_can_make_is_made_and_what_it_cannot_starts_in_full"]
    fn extension() {
        watched();
        let open = || {
            let mut db = Pglite::builder()
                .extension(extensions::VECTOR)
                .open()
                .unwrap();
            let sql = "SELECT '[1,2,3]'::vector <-> '[1,2,4]'";
            assert_eq!(first(&mut db, sql), json!(1.0));
            db
        };
        let _first = open();
        let after_first = started();
        let mut second = open();
        run(&mut second, "CREATE TABLE t (v vector(3))");
        let mut third = open();
        let table = "SELECT to_regclass('t')";
        assert_eq!(first(&mut third, table), json!(null));
        println!("found: {after_first} {}", started());
    }

    #[test]
    #[ignore = "run by what_sql_can_make_is_made_and_what_it_cannot_starts_in_full"]
    fn setting() {
        watched();
        let mut db = Pglite::builder()
            .postgres_config("max_connections", "7")
            .open()
            .unwrap();
        assert_eq!(first(&mut db, "SHOW max_connections"), json!("7"));
        println!("found: {}", started());
    }

    #[test]
    #[ignore = "run by what_sql_can_make_is_made_and_what_it_cannot_starts_in_full"]
    fn preloaded() {
        watched();
        let mut db = Pglite::builder()
            .extension(extensions::PG_STAT_STATEMENTS)
            .open()
            .unwrap();
        let sql = "SELECT count(*) > 0 FROM pg_stat_statements";
        assert_eq!(first(&mut db, sql), json!(true));
        println!("found: {}", started());
    }

    #[test]
    #[ignore = "run by what_sql_can_make_is_made_and_what_it_cannot_starts_in_full"]
    fn fresh() {
        watched();
        let mut db = Pglite::builder().fresh_temporary().open().unwrap();
        assert_eq!(first(&mut db, "SELECT 1"), json!(1));
        println!("found: {}", started());
    }

    #[test]
    #[ignore = "run by a_server_starts_nothing_either"]
    fn server() {
        watched();
        let server = PgliteServer::temporary_tcp().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let url = server.database_url();
            let mut clients = Vec::new();
            for _ in 0..4 {
                let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                    .await
                    .unwrap();
                tokio::spawn(connection);
                clients.push(client);
            }
            for client in &clients {
                let row = client.query_one("SELECT 41 + 1", &[]).await.unwrap();
                assert_eq!(row.get::<_, i32>(0), 42);
            }
        });
        server.shutdown().unwrap();
        println!("found: {}", started());
    }
}
