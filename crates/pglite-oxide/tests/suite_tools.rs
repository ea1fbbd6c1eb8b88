//! PostgreSQL's own client programs, run in the cluster's kernel.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pglite_oxide::{
    Connector, DumpFormat, Error, ExitStatus, Input, Output, PgDumpOptions, PgRestoreOptions,
    Pglite, PgliteServer,
};

/// A few objects of many kinds, with rows that need every kind of quoting.
const SCHEMA: &str = r#"
CREATE TYPE mood AS ENUM ('ok', 'sad "very"');
CREATE TABLE author (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, feels mood);
CREATE TABLE book (id serial PRIMARY KEY, author int REFERENCES author, title text, body bytea, tags text[], n numeric(12, 3));
CREATE INDEX ON book (lower(title));
CREATE VIEW titles AS SELECT a.name, b.title FROM book b JOIN author a ON a.id = b.author;
CREATE FUNCTION shout(t text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN upper(t) || '!'; END $$;
CREATE SCHEMA "Odd Name";
CREATE TABLE "Odd Name"."select" (i int CHECK (i > 0));
INSERT INTO author (name, feels) VALUES ('O''Brien', 'ok'), (E'tab\tback\\slash', 'sad "very"'), ('größer', NULL);
INSERT INTO book (author, title, body, tags, n) SELECT 1 + i % 3, 'title ' || i, decode(md5(i::text), 'hex'), ARRAY['a', NULL, i::text], i * 1.5 FROM generate_series(1, 1000) i;
INSERT INTO "Odd Name"."select" VALUES (1);
SELECT lo_from_bytea(4242, 'large object');
CREATE EXTENSION hstore;
ALTER TABLE author ADD h hstore DEFAULT 'a=>1, b=>NULL';
"#;

fn filled() -> Pglite {
    let mut db = Pglite::temporary().unwrap();
    db.exec(SCHEMA, None).unwrap();
    db
}

/// A dump without the key of `\restrict`, which is random.
fn comparable(sql: &str) -> String {
    sql.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn count(connector: &Connector, sql: &str) -> i64 {
    let result = connector.connect().unwrap().query(sql, &[], None).unwrap();
    let row = &result.rows[0];
    row.as_object()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .as_i64()
        .unwrap()
}

/// Runs a program to its end and returns what it wrote to standard output.
fn run(
    connector: &Connector,
    name: &str,
    args: &[&str],
    input: Option<&str>,
) -> (ExitStatus, String) {
    let mut program = connector.program(name).args(args).stdout(Output::Piped);
    if input.is_some() {
        program = program.stdin(Input::Piped);
    }
    let mut running = connector.run_program(program).unwrap();
    if let (Some(mut stdin), Some(input)) = (running.stdin.take(), input) {
        stdin.write_all(input.as_bytes()).unwrap();
    }
    let mut text = String::new();
    running
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    (running.wait().unwrap(), text)
}

#[test]
fn a_dump_restored_and_dumped_again_is_the_same() {
    let db = filled();
    let dump = db.dump_sql(PgDumpOptions::new()).unwrap();
    assert!(dump.contains("COPY public.book") && dump.contains("größer"));
    let custom = db
        .dump_bytes(PgDumpOptions::new().format(DumpFormat::Custom))
        .unwrap();
    assert!(custom.starts_with(b"PGDMP"));
    let tar = db
        .dump_bytes(PgDumpOptions::new().format(DumpFormat::Tar))
        .unwrap();
    let compressed = |method: &str| {
        let options = PgDumpOptions::new().format(DumpFormat::Custom);
        db.dump_bytes(options.arg(format!("--compress={method}")))
            .unwrap()
    };
    let (none, lz4, zstd) = (compressed("none"), compressed("lz4"), compressed("zstd:3"));
    assert!(custom.len() < none.len() && lz4.len() < none.len() && zstd.len() < none.len());
    for (what, bytes) in [
        ("plain", dump.as_bytes()),
        ("custom", &custom[..]),
        ("uncompressed", &none[..]),
        ("lz4", &lz4[..]),
        ("zstd", &zstd[..]),
        ("tar", &tar[..]),
    ] {
        let other = Pglite::temporary().unwrap();
        let read = other
            .restore_dump(bytes)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(read, bytes.len() as u64, "{what}");
        let again = other.dump_sql(PgDumpOptions::new()).unwrap();
        assert_eq!(comparable(&again), comparable(&dump), "{what}");
    }
}

#[test]
fn a_dump_of_one_database_is_restored_into_another_of_the_cluster() {
    let mut db = filled();
    let awkward = r"a 'b\ c=d";
    db.exec(
        &format!(
            "CREATE DATABASE {}",
            pglite_oxide::quote_identifier(awkward)
        ),
        None,
    )
    .unwrap();
    let connector = db.connector();
    let dump = connector
        .dump_bytes(PgDumpOptions::new().format(DumpFormat::Custom))
        .unwrap();
    connector
        .restore_dump(&dump[..], &PgRestoreOptions::new().database(awkward))
        .unwrap();
    let other = connector.clone().database(awkward);
    assert_eq!(count(&other, "SELECT count(*) FROM titles"), 1000);
    // A second time it is in the way of itself, and --clean makes room.
    let error = other
        .restore_dump(&dump[..], &PgRestoreOptions::new())
        .unwrap_err();
    let Error::ProgramFailed {
        program, stderr, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(*program, "pg_restore");
    assert!(stderr.contains("already exists"), "{stderr}");
    other
        .restore_dump(
            &dump[..],
            &PgRestoreOptions::new().clean(true).single_transaction(true),
        )
        .unwrap();
    assert_eq!(count(&other, "SELECT count(*) FROM titles"), 1000);
    let sql = db
        .dump_sql(PgDumpOptions::new().database(awkward).arg("--schema-only"))
        .unwrap();
    assert!(sql.contains("CREATE VIEW public.titles") && !sql.contains("COPY"));
}

#[test]
fn a_restore_stops_at_the_first_error_and_can_be_all_or_nothing() {
    let db = Pglite::temporary().unwrap();
    let connector = db.connector();
    let sql = "CREATE TABLE one (i int);\nSELECT 1/0;\nCREATE TABLE two (i int);\n";
    let error = connector
        .restore_dump(
            sql.as_bytes(),
            &PgRestoreOptions::new().single_transaction(true),
        )
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("psql") && error.contains("division by zero"),
        "{error}"
    );
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(count(&connector, tables), 0);
    connector
        .restore_dump(sql.as_bytes(), &PgRestoreOptions::new())
        .unwrap_err();
    assert_eq!(count(&connector, tables), 1);
    connector
        .restore_dump(
            sql.replace("one", "three").as_bytes(),
            &PgRestoreOptions::new().ignore_errors(true),
        )
        .unwrap();
    assert_eq!(count(&connector, tables), 3);
    assert!(matches!(
        connector.restore_dump(&b""[..], &PgRestoreOptions::new()),
        Err(Error::InvalidArgument { .. })
    ));
}

#[test]
fn directories_are_dumped_and_restored_in_parallel() {
    let db = filled();
    let dir = tempfile::tempdir().unwrap();
    let dump = dir.path().join("dump");
    let connector = db.connector();
    connector
        .dump_directory(PgDumpOptions::new(), &dump, 3)
        .unwrap();
    assert!(dump.join("toc.dat").is_file());
    let other = Pglite::temporary().unwrap();
    other
        .connector()
        .restore_directory(&dump, &PgRestoreOptions::new(), 3)
        .unwrap();
    assert_eq!(
        comparable(&other.dump_sql(PgDumpOptions::new()).unwrap()),
        comparable(&db.dump_sql(PgDumpOptions::new()).unwrap())
    );
    let error = connector
        .dump_directory(PgDumpOptions::new(), &dump, 1)
        .unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
}

#[test]
fn a_dump_taken_while_writers_write_is_of_one_moment() {
    let mut db = Pglite::temporary().unwrap();
    // Money only moves, so every moment has the same sum.
    db.exec(
        "CREATE TABLE account (id int PRIMARY KEY, money int, filler text);
         INSERT INTO account SELECT i, 100, repeat('x', 200) FROM generate_series(1, 5000) i;
         CREATE TABLE other_account (LIKE account INCLUDING ALL);
         INSERT INTO other_account SELECT * FROM account",
        None,
    )
    .unwrap();
    let connector = db.connector();
    let stop = AtomicBool::new(false);
    let moved = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for n in 0..3 {
            let (connector, stop, moved) = (connector.clone(), &stop, &moved);
            scope.spawn(move || {
                let mut db = connector.connect().unwrap();
                let mut i = n;
                while !stop.load(Ordering::Relaxed) {
                    i += 7;
                    let sql = format!(
                        "BEGIN; UPDATE account SET money = money - 1 WHERE id = {0};
                         UPDATE other_account SET money = money + 1 WHERE id = {0}; COMMIT",
                        1 + i % 5000
                    );
                    match db.exec(&sql, None) {
                        Ok(_) => moved.fetch_add(1, Ordering::Relaxed),
                        Err(error) => panic!("{error}"),
                    };
                }
            });
        }
        let begun = Instant::now();
        while moved.load(Ordering::Relaxed) < 50 && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let before = moved.load(Ordering::Relaxed);
        let dump = connector
            .dump_bytes(PgDumpOptions::new().format(DumpFormat::Custom))
            .unwrap();
        let after = moved.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        assert!(after > before, "writers wrote during the dump");
        let copy = Pglite::temporary().unwrap();
        copy.restore_dump(&dump[..]).unwrap();
        let copy = copy.connector();
        assert_eq!(
            count(
                &copy,
                "SELECT (SELECT sum(money) FROM account) + (SELECT sum(money) FROM other_account)"
            ),
            1_000_000
        );
        assert!(count(&copy, "SELECT sum(money) FROM account") < 500_000);
    });
}

#[test]
fn a_dump_that_nobody_reads_to_the_end_is_stopped() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut db = filled();
    db.exec(
        "INSERT INTO book (title) SELECT repeat('y', 1000) FROM generate_series(1, 20000)",
        None,
    )
    .unwrap();
    let connector = db.connector();
    let error = connector
        .dump_to(PgDumpOptions::new(), &mut Full)
        .unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
    let names: Vec<String> = connector
        .cluster()
        .processes()
        .into_iter()
        .map(|process| process.name)
        .collect();
    assert!(!names.iter().any(|name| name == "pg_dump"), "{names:?}");
}

#[test]
fn arguments_that_pg_dump_refuses_and_roles_that_do_not_exist_are_told() {
    let db = Pglite::temporary().unwrap();
    let error = db
        .dump_sql(PgDumpOptions::new().arg("--no-such-option"))
        .unwrap_err();
    assert!(error.to_string().contains("no-such-option"), "{error}");
    let error = db
        .dump_sql(PgDumpOptions::new().username("nobody"))
        .unwrap_err();
    assert!(
        error.to_string().contains("role \"nobody\" does not exist"),
        "{error}"
    );
    let error = db
        .dump_sql(PgDumpOptions::new().args(["--file", "/data/x"]))
        .unwrap_err();
    assert!(matches!(error, Error::RefusedOption { .. }), "{error}");
}

#[test]
fn psql_reads_scripts_with_copy_and_sees_nothing_of_the_host() {
    let db = Pglite::temporary().unwrap();
    let connector = db.connector();
    let script = "CREATE TABLE t (i int, x text);\nCOPY t FROM stdin;\n1\tone\n2\t\\N\n\\.\n\
                  SELECT count(*), count(x) FROM t;\n\\getenv home USER\n\\echo user :home\n\\getenv h PGHOST\n\\echo :h\n";
    let (status, text) = run(&connector, "psql", &["-XAtq", "-f", "-"], Some(script));
    assert_eq!(status, ExitStatus::Exited(0));
    assert_eq!(text, "2|1\nuser :home\n/run/postgresql\n");
    let (status, _) = run(&connector, "psql", &["-XAtq", "-f", "/root/x.sql"], None);
    assert_eq!(status, ExitStatus::Exited(1), "no such file");
    let (status, text) = run(
        &connector,
        "psql",
        &["-XAtqc", "\\! cat /etc/hostname"],
        None,
    );
    assert_eq!((status, text.as_str()), (ExitStatus::Exited(0), ""));
    let (status, _) = run(&connector, "psql", &["-XAtqc", "SELEKT"], None);
    assert_eq!(status, ExitStatus::Exited(1));
}

#[test]
fn a_terminal_makes_psql_interactive_and_ctrl_c_cancels_the_statement() {
    let db = Pglite::temporary().unwrap();
    let connector = db.connector();
    let size: pglite_oxide::TerminalSize = std::sync::Arc::new(|| (24, 80));
    let mut running = connector
        .run_program(
            connector
                .program("psql")
                .arg("-X")
                .stdin(Input::Terminal(size.clone()))
                .stdout(Output::Terminal(size))
                .stderr(Output::AsStdout),
        )
        .unwrap();
    let mut stdin = running.stdin.take().unwrap();
    let mut stdout = running.stdout.take().unwrap();
    let mut seen = String::new();
    let mut until = |mark: &str| {
        let mut bytes = [0; 4096];
        while !seen.contains(mark) {
            let n = stdout.read(&mut bytes).unwrap();
            assert!(n > 0, "ended before {mark:?}: {seen}");
            seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
        std::mem::take(&mut seen)
    };
    assert!(until("postgres=# ").contains("psql (18.6)"));
    stdin.write_all(b"SELECT 6 * 7 AS answer;\n").unwrap();
    assert!(until("postgres=# ").contains("42"));
    stdin.write_all(b"SELECT pg_sleep(600);\n").unwrap();
    let signaller = running.signaller();
    let begun = Instant::now();
    let watcher = db.connector();
    while count(
        &watcher,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'",
    ) == 0
    {
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    signaller.interrupt();
    let text = until("postgres=# ");
    assert!(text.contains("Cancel request sent") && text.contains("canceling statement"));
    assert!(begun.elapsed() < Duration::from_secs(20));
    stdin.write_all(b"\\q\n").unwrap();
    assert_eq!(running.wait().unwrap(), ExitStatus::Exited(0));
}

#[test]
fn the_other_programs_run() {
    let db = filled();
    let connector = db.connector();
    let (status, text) = run(&connector, "pg_isready", &[], None);
    assert_eq!(status, ExitStatus::Exited(0), "{text}");
    let (status, text) = run(&connector, "pg_controldata", &["/data"], None);
    assert_eq!(status, ExitStatus::Exited(0), "{text}");
    assert!(text.contains("Catalog version number"), "{text}");
    for (name, args) in [
        ("vacuumdb", &["--all", "--analyze", "--jobs=2"][..]),
        ("reindexdb", &["--jobs=2"]),
        ("clusterdb", &[]),
        ("pg_amcheck", &["--install-missing", "--heapallindexed"]),
        ("createuser", &["worker"]),
        ("createdb", &["--owner=worker", "work"]),
        ("dropdb", &["work"]),
        ("dropuser", &["worker"]),
        ("initdb", &["--no-sync", "-D", "/tmp/another", "--locale=C"]),
        ("pgbench", &["-i", "-q", "-s", "1"]),
        ("pgbench", &["-n", "-c", "3", "-t", "20"]),
        ("pgbench", &["-n", "-S", "-M", "prepared", "-T", "1"]),
    ] {
        let (status, text) = run(&connector, name, args, None);
        assert_eq!(status, ExitStatus::Exited(0), "{name} {args:?}: {text}");
    }
    let mut all = Vec::new();
    connector
        .dump_all_to(PgDumpOptions::new(), &mut all)
        .unwrap();
    let all = String::from_utf8(all).unwrap();
    assert!(all.contains("CREATE ROLE postgres") && all.contains("COPY public.pgbench_accounts"));
    let error = connector
        .run_program(connector.program("no_such_program"))
        .unwrap_err();
    assert!(error.to_string().contains("pg_dump, "), "{error}");
}

#[test]
fn base_backups_are_taken_and_wal_is_read() {
    let db = filled();
    let connector = db.connector();
    let dir = tempfile::tempdir().unwrap();
    let granted = connector.cluster().grant(dir.path()).unwrap();
    for method in ["stream", "fetch"] {
        let mut running = connector
            .run_program(
                connector
                    .program("pg_basebackup")
                    .args([
                        "--pgdata",
                        &format!("{method}/data"),
                        "--wal-method",
                        method,
                    ])
                    .args(["--checkpoint=fast", "--no-sync"])
                    .current_dir(granted.clone()),
            )
            .unwrap();
        assert_eq!(running.wait().unwrap(), ExitStatus::Exited(0), "{method}");
        assert!(
            dir.path()
                .join(method)
                .join("data/backup_manifest")
                .is_file()
        );
    }
    let wal = std::fs::read_dir(dir.path().join("stream/data/pg_wal"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.len() == 24)
        .unwrap();
    let mut running = connector
        .run_program(
            connector
                .program("pg_waldump")
                .args(["--limit=5", &format!("stream/data/pg_wal/{wal}")])
                .current_dir(granted)
                .stdout(Output::Piped)
                .stderr(Output::Piped),
        )
        .unwrap();
    let (mut text, mut complaints) = (String::new(), String::new());
    let (mut stdout, mut stderr) = (
        running.stdout.take().unwrap(),
        running.stderr.take().unwrap(),
    );
    stdout.read_to_string(&mut text).unwrap();
    stderr.read_to_string(&mut complaints).unwrap();
    assert_eq!(
        running.wait().unwrap(),
        ExitStatus::Exited(0),
        "{complaints}"
    );
    assert!(text.contains("rmgr:"), "{text}");
    // A backup is a cluster: it recovers to its end when it is opened.
    for method in ["stream", "fetch"] {
        let copy = Pglite::builder()
            .path(dir.path().join(method))
            .postgres_config("fsync", "off")
            .open()
            .unwrap();
        assert_eq!(
            count(&copy.connector(), "SELECT count(*) FROM titles"),
            1000
        );
    }
}

#[test]
fn a_server_is_dumped_and_restored_like_a_session() {
    let server = PgliteServer::temporary_tcp().unwrap();
    server
        .connector()
        .connect()
        .unwrap()
        .exec(SCHEMA, None)
        .unwrap();
    let dump = server.dump_bytes(PgDumpOptions::new()).unwrap();
    let other = PgliteServer::temporary_tcp().unwrap();
    other.restore_dump(&dump[..]).unwrap();
    assert_eq!(
        comparable(&other.dump_sql(PgDumpOptions::new()).unwrap()),
        comparable(&String::from_utf8(dump).unwrap())
    );
}

#[test]
fn several_programs_run_at_once_and_dropping_one_kills_it() {
    let db = filled();
    let connector = db.connector();
    let dumps: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let connector = connector.clone();
                scope.spawn(move || connector.dump_sql(PgDumpOptions::new()).unwrap())
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| comparable(&thread.join().unwrap()))
            .collect()
    });
    assert!(dumps.iter().all(|dump| *dump == dumps[0]));
    let begun = Instant::now();
    let running = connector
        .run_program(
            connector
                .program("psql")
                .args(["-c", "SELECT pg_sleep(600)"]),
        )
        .unwrap();
    let pid = running.process_id();
    assert!(
        connector
            .cluster()
            .processes()
            .iter()
            .any(|process| process.pid.0 == pid)
    );
    drop(running);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(
        !connector
            .cluster()
            .processes()
            .iter()
            .any(|process| process.pid.0 == pid)
    );
}

#[test]
fn forks_are_dumped_for_themselves() {
    let mut db = filled();
    let connector = db.connector();
    let before = db.dump_sql(PgDumpOptions::new()).unwrap();
    let mut fork = db.fork().unwrap();
    fork.exec("CREATE TABLE only_here (i int)", None).unwrap();
    assert!(
        fork.dump_sql(PgDumpOptions::new())
            .unwrap()
            .contains("only_here")
    );
    let after = connector.dump_sql(PgDumpOptions::new()).unwrap();
    assert_eq!(comparable(&after), comparable(&before));
}
