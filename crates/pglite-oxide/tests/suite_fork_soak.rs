//! What many copies and many idle connections cost. Alone in its program, and one test: others' threads, descriptors and memory would be counted.
//!
//! By itself it does little; `cargo xtask soak forks` asks for 10,000 copies one after the other, 100 at once and 1,000 connections, and shows the figures.
#![cfg(target_os = "linux")]

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use pglite_oxide::{Pglite, PgliteServer, QueryOptions, RowMode};
use serde_json::{Value, json};

/// How long threads without work, and sessions that have ended, may take to go.
const SETTLE: Duration = Duration::from_millis(500);
/// Threads that may come and go in between: a guest process that has just been woken.
const STRAY_THREADS: usize = 6;

fn asked(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number"))
    })
}

fn first(db: &mut Pglite, sql: &str) -> Value {
    let options = QueryOptions {
        row_mode: Some(RowMode::Array),
        ..Default::default()
    };
    db.query(sql, &[], Some(&options)).unwrap().rows[0][0].clone()
}

/// What this process has.
#[derive(Clone, Copy)]
struct Usage {
    threads: usize,
    descriptors: usize,
    /// Bytes of address space.
    address_space: usize,
    resident: usize,
    /// Bytes of memory, shared pages divided among those that map them.
    proportional: usize,
    mappings: usize,
}

impl Usage {
    fn now() -> Self {
        let count = |directory: &str| std::fs::read_dir(Path::new(directory)).unwrap().count();
        let read = |path: &str| std::fs::read_to_string(path).unwrap();
        let kilobytes = |text: &str, key: &str| -> usize {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .unwrap_or_else(|| panic!("no {key}"));
            let number = line.split_whitespace().next().unwrap();
            number.parse::<usize>().unwrap() << 10
        };
        let status = read("/proc/self/status");
        Self {
            threads: count("/proc/self/task"),
            descriptors: count("/proc/self/fd"),
            address_space: kilobytes(&status, "VmSize:"),
            resident: kilobytes(&status, "VmRSS:"),
            proportional: kilobytes(&read("/proc/self/smaps_rollup"), "Pss:"),
            mappings: read("/proc/self/maps").lines().count(),
        }
    }

    fn settled() -> Self {
        std::thread::sleep(SETTLE);
        Self::now()
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{} threads, {} descriptors, {} mappings, {:.1} GiB of addresses, {:.1} MiB resident, {:.1} MiB PSS",
            self.threads,
            self.descriptors,
            self.mappings,
            mib(self.address_space) / 1024.0,
            mib(self.resident),
            mib(self.proportional)
        )
    }
}

/// A database that tests could have: tables, rows, indexes. Started in full: in a copy, background processes are mapped when they first wake, some time after the first sample.
fn migrated() -> Pglite {
    let mut db = Pglite::builder().fresh_temporary().open().unwrap();
    for n in 0..10 {
        db.exec(
            &format!(
                "CREATE TABLE t{n} (id serial PRIMARY KEY, name text NOT NULL, at timestamptz DEFAULT now()); CREATE INDEX ON t{n} (name); \
                 INSERT INTO t{n} (name) SELECT md5(g::text) FROM generate_series(1, 100) g"
            ),
            None,
        )
        .unwrap();
    }
    db
}

#[test]
fn copies_and_idle_connections_cost_little_and_leave_nothing() {
    one_after_the_other(asked("PGLITE_OXIDE_FORKS", 100));
    at_once(asked("PGLITE_OXIDE_ALIVE", 10));
    let connections = asked("PGLITE_OXIDE_CONNECTIONS", 40);
    direct_sessions(connections);
    tcp_connections(connections);
}

/// Copies that are opened, asked and dropped: nothing stays.
fn one_after_the_other(count: usize) {
    const SAMPLES: usize = 10;
    let mut db = migrated();
    let snapshot = db.snapshot().unwrap();
    let mut samples = Vec::new();
    let begun = Instant::now();
    let mut slept = Duration::ZERO;
    for sample in 0..SAMPLES {
        for n in 0..count / SAMPLES {
            // One in ten of the live database, as `fork` does.
            let mut copy = if n % 10 == 9 {
                db.fork().unwrap()
            } else {
                snapshot.open().unwrap()
            };
            assert_eq!(first(&mut copy, "SELECT count(*) FROM t3"), json!(100));
        }
        samples.push(Usage::settled());
        slept += SETTLE;
        println!(
            "after {:>6} copies: {}",
            (sample + 1) * (count / SAMPLES),
            samples[sample]
        );
    }
    println!(
        "{:?} for each copy: open, one query, drop",
        (begun.elapsed() - slept) / u32::try_from(count).unwrap()
    );
    let (early, late) = (samples[0], samples[SAMPLES - 1]);
    assert!(
        late.threads <= early.threads + STRAY_THREADS,
        "threads: {early}, then {late}"
    );
    // The original's processes keep files of what they were last copied as, a few each.
    assert!(
        late.descriptors <= early.descriptors + 24,
        "descriptors: {early}, then {late}"
    );
    // A space is 8 GiB. Two are kept for the next ones, of each beginning that somebody still has: the snapshot's and the original's backend, and what else of them has run.
    assert!(
        late.address_space < early.address_space + ((6 * 8) << 30),
        "addresses: {early}, then {late}"
    );
    assert!(
        late.mappings < early.mappings + 200,
        "mappings: {early}, then {late}"
    );
    assert!(
        late.resident < early.resident + (48 << 20),
        "memory: {early}, then {late}"
    );
}

/// Copies that are all alive.
fn at_once(count: usize) {
    let mut db = migrated();
    let snapshot = db.snapshot().unwrap();
    // What the first one needs once is not counted for each.
    drop(
        snapshot
            .open()
            .map(|mut copy| first(&mut copy, "SELECT 1"))
            .unwrap(),
    );
    let before = Usage::settled();
    println!("before: {before}");
    let mut copies: Vec<_> = (0..count)
        .map(|n| {
            let mut copy = snapshot.open().unwrap();
            assert_eq!(
                first(&mut copy, "SELECT count(*) FROM t1"),
                json!(100),
                "{n}"
            );
            copy
        })
        .collect();
    let each = |what: &str, now: Usage| {
        let kib =
            now.proportional.saturating_sub(before.proportional) as f64 / 1024.0 / count as f64;
        println!("{count} copies {what}: {now}: {kib:.0} KiB PSS each");
        kib
    };
    let read = each("after one query each", Usage::now());
    for (n, copy) in copies.iter_mut().enumerate() {
        copy.exec(
            "INSERT INTO t1 (name) VALUES ('x'); UPDATE t2 SET name = 'y' WHERE id < 10",
            None,
        )
        .unwrap();
        assert_eq!(first(copy, "SELECT count(*) FROM t1"), json!(101), "{n}");
    }
    let written = each("after some writes each", Usage::now());
    // PostgreSQL's background processes sleep through the first seconds of a copy.
    std::thread::sleep(Duration::from_secs(5));
    let later = each("five seconds later", Usage::now());
    // DESIGN section 11: 15 MB for each further temporary database.
    for kib in [read, written, later] {
        assert!(kib < 15.0 * 1024.0, "{kib} KiB each");
    }
    drop(copies);
    let after = Usage::settled();
    println!("dropped: {after}");
    assert!(
        after.threads <= before.threads + STRAY_THREADS,
        "threads: {before}, then {after}"
    );
    // The original's background processes have run meanwhile, some with descriptors of their own.
    assert!(
        after.descriptors <= before.descriptors + 16,
        "descriptors: {before}, then {after}"
    );
    assert!(
        after.proportional < before.proportional + (64 << 20),
        "memory: {before}, then {after}"
    );
}

/// What idle connections keep.
fn idle(what: &str, count: usize, before: Usage) {
    // Those that have just answered go to rest.
    std::thread::sleep(Duration::from_secs(3));
    let now = Usage::now();
    println!(
        "{count} idle connections {what}: {now}: {} threads more, {:.0} KiB PSS each",
        now.threads.saturating_sub(before.threads),
        now.proportional.saturating_sub(before.proportional) as f64 / 1024.0 / count as f64
    );
    assert!(
        now.threads <= before.threads + STRAY_THREADS,
        "threads: {before}, then {now}"
    );
}

fn direct_sessions(count: usize) {
    let mut db = Pglite::builder()
        .postgres_config("max_connections", (count + 100).to_string())
        .open()
        .unwrap();
    first(&mut db, "SELECT 1");
    let before = Usage::settled();
    let mut sessions: Vec<_> = (0..count)
        .map(|_| {
            let mut session = db.connect().unwrap();
            first(&mut session, "SELECT 1");
            session
        })
        .collect();
    assert_eq!(
        first(
            &mut db,
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        ),
        json!(count + 1)
    );
    idle("within the process", count, before);
    for (n, session) in sessions.iter_mut().enumerate() {
        assert_eq!(first(session, &format!("SELECT {n}")), json!(n));
    }
}

fn tcp_connections(count: usize) {
    let server = PgliteServer::builder()
        .temporary()
        .postgres_config("max_connections", (count + 100).to_string())
        .without_password()
        .start()
        .unwrap();
    let address = server.tcp_addr().unwrap();
    let before = Usage::settled();
    let mut connections: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
            let mut startup = (u32::try_from(body.len()).unwrap() + 4)
                .to_be_bytes()
                .to_vec();
            startup.extend_from_slice(body);
            stream.write_all(&startup).unwrap();
            until_ready(&mut stream);
            stream
        })
        .collect();
    idle("over TCP", count, before);
    for stream in &mut connections {
        stream.write_all(b"Q\0\0\0\x0dSELECT 7\0").unwrap();
        assert!(until_ready(stream).contains(&b'D'));
    }
}

/// The tags of the messages, until the backend waits for the next query.
fn until_ready(stream: &mut TcpStream) -> Vec<u8> {
    let mut tags = Vec::new();
    while tags.last() != Some(&b'Z') {
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).unwrap();
        tags.push(head[0]);
    }
    tags
}
