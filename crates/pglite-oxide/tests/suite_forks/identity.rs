//! What no two databases share: identifiers, times, keys, random numbers.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use pglite_oxide::{Cluster, Pglite};
use serde_json::json;

use crate::{copies, eventually, first, run, text};

/// All of them, the original last.
fn family() -> Vec<(&'static str, Pglite)> {
    let mut db = Pglite::temporary().unwrap();
    // What a session has drawn before must not be what its copies draw after.
    run(
        &mut db,
        "SELECT random(), gen_random_uuid(), random_normal()",
    );
    let mut all = copies(&mut db);
    let grandchild = all[0].1.fork().unwrap();
    all.push(("fork of a copy", grandchild));
    all.push(("original", db));
    all
}

fn all_different(sql: &str) {
    let values: Vec<_> = family()
        .into_iter()
        .map(|(how, mut db)| (how, text(&mut db, sql)))
        .collect();
    let distinct: HashSet<_> = values.iter().map(|(_, value)| value).collect();
    assert_eq!(distinct.len(), values.len(), "{sql}: {values:?}");
}

#[test]
fn system_identifiers_differ() {
    all_different("SELECT system_identifier FROM pg_control_system()");
}

#[test]
fn random_numbers_differ() {
    all_different("SELECT random()");
    all_different("SELECT random_normal()");
    all_different("SELECT gen_random_uuid()");
    all_different("SELECT uuidv7()");
}

/// libcrypto has a generator of its own for ElGamal's secret exponents, and a copy has its state with all other memory.
/// What is sent of the exponent (g^k) shows whether two databases took the same.
#[test]
fn random_numbers_of_pgcrypto_differ() {
    let key = elgamal_key();
    let encrypt = format!("SELECT pgp_pub_encrypt_bytea('\\x00', '\\x{key}')");
    let mut db = Pglite::builder()
        .temporary()
        .extension(pglite_oxide::extensions::PGCRYPTO)
        .open()
        .unwrap();
    run(&mut db, &encrypt);
    run(&mut db, "SELECT gen_random_bytes(8), gen_salt('md5')");
    let mut all = copies(&mut db);
    let grandchild = all[0].1.fork().unwrap();
    all.push(("fork of a copy", grandchild));
    all.push(("original", db));
    let queries = [
        "SELECT gen_random_bytes(16)",
        "SELECT gen_salt('bf')",
        "SELECT gen_random_uuid()",
    ];
    let mut values = HashSet::new();
    let mut count = 0;
    for (_, db) in &mut all {
        for _ in 0..2 {
            values.insert(sent_of_exponent(&text(db, &encrypt)));
            values.extend(queries.map(|sql| text(db, sql)));
            count += 1 + queries.len();
        }
    }
    assert_eq!(values.len(), count, "{values:?}");
}

/// A public ElGamal key as OpenPGP packets, in hexadecimal: one to sign with, of which nothing is read, and a subkey of the prime 2^521 - 1.
fn elgamal_key() -> String {
    let subkey = format!("04 00000001 10 0209 01{} 0002 03 0003 05", "ff".repeat(65));
    let subkey = subkey.replace(' ', "");
    format!("c6 01 04 ce {:02x} {subkey}", subkey.len() / 2).replace(' ', "")
}

/// g^k of a message. Its first packet (0xc1, a length) is the session key: version 3, eight bytes of key id, algorithm 16, the number.
fn sent_of_exponent(bytea: &str) -> String {
    let hex = bytea.strip_prefix("\\x").unwrap();
    assert_eq!(
        (&hex[..2], &hex[4..6], &hex[22..24]),
        ("c1", "03", "10"),
        "{hex}"
    );
    let bits = usize::from_str_radix(&hex[24..28], 16).unwrap();
    assert!(bits > 256, "{hex}");
    hex[28..28 + bits.div_ceil(8) * 2].to_owned()
}

/// Like a process after `fork(2)`: who asks for a sequence gets it.
#[test]
fn a_seed_that_was_set_holds_in_copies() {
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "SELECT setseed(0.25)");
    let mut copy = db.fork().unwrap();
    assert_eq!(
        text(&mut copy, "SELECT random()"),
        text(&mut db, "SELECT random()")
    );
}

/// New backends of a copy seed themselves in the postmaster's child.
#[test]
fn random_numbers_of_new_sessions_differ() {
    let mut values = HashSet::new();
    let mut count = 0;
    for (_, db) in family() {
        for _ in 0..2 {
            values.insert(text(&mut db.connect().unwrap(), "SELECT random()"));
            count += 1;
        }
    }
    assert_eq!(values.len(), count);
}

#[test]
fn a_copy_has_started_when_it_was_made() {
    const STARTED: &str = "SELECT pg_postmaster_start_time()";
    const BACKEND: &str = "SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let mut db = Pglite::temporary().unwrap();
    let (started, backend) = (text(&mut db, STARTED), text(&mut db, BACKEND));
    std::thread::sleep(Duration::from_millis(20));
    let before = text(&mut db, "SELECT clock_timestamp()");
    for (how, mut copy) in copies(&mut db) {
        for sql in [STARTED, BACKEND] {
            let at = text(&mut copy, sql);
            assert_eq!(
                first(
                    &mut copy,
                    &format!("SELECT '{at}'::timestamptz BETWEEN '{before}' AND clock_timestamp()")
                ),
                json!(true),
                "{how}: {sql}: {at}, not after {before}"
            );
        }
        let mut other = copy.connect().unwrap();
        assert_eq!(
            first(
                &mut other,
                &format!("SELECT pg_postmaster_start_time() >= '{before}'")
            ),
            json!(true),
            "{how}: as other sessions see it"
        );
    }
    assert_eq!(text(&mut db, STARTED), started);
    assert_eq!(text(&mut db, BACKEND), backend);
}

/// A session by hand: its key is what the API keeps to itself.
struct Raw<'a> {
    cluster: &'a Cluster,
    stream: pglite_oxide_cluster::Stream,
    key: Option<(i32, u32)>,
}

impl<'a> Raw<'a> {
    fn log_in(cluster: &'a Cluster) -> Self {
        let mut raw = Raw {
            stream: cluster.connect().unwrap(),
            cluster,
            key: None,
        };
        let mut startup = vec![0, 3, 0, 0];
        startup.extend_from_slice(b"user\0postgres\0database\0postgres\0\0");
        raw.send(None, &startup);
        raw.until_ready();
        raw
    }

    fn send(&mut self, tag: Option<u8>, body: &[u8]) {
        let mut message = Vec::from_iter(tag);
        message.extend_from_slice(&(u32::try_from(body.len()).unwrap() + 4).to_be_bytes());
        message.extend_from_slice(body);
        self.stream.write_all(&message).unwrap();
    }

    /// The tags of the messages, until the backend waits for the next query.
    fn until_ready(&mut self) -> Vec<u8> {
        let mut tags = Vec::new();
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head).unwrap();
            let word = |at: &[u8]| u32::from_be_bytes(at.try_into().unwrap());
            let mut body = vec![0; word(&head[1..]) as usize - 4];
            self.stream.read_exact(&mut body).unwrap();
            tags.push(head[0]);
            match head[0] {
                b'K' => self.key = Some((word(&body[..4]).cast_signed(), word(&body[4..8]))),
                b'Z' => return tags,
                _ => {}
            }
        }
    }
}

fn cancel(cluster: &Cluster, pid: i32, key: u32) {
    let mut stream = cluster.connect().unwrap();
    let mut request = vec![0, 0, 0, 16, 4, 210, 22, 46];
    request.extend_from_slice(&pid.to_be_bytes());
    request.extend_from_slice(&key.to_be_bytes());
    stream.write_all(&request).unwrap();
    // The end of the stream says that it was seen to.
    let _ = stream.read(&mut [0; 1]);
}

#[test]
fn the_originals_key_does_not_cancel_a_copy() {
    let db = Pglite::temporary().unwrap();
    let connector = db.connector();
    let raw = Raw::log_in(connector.cluster());
    let (pid, key) = raw.key.unwrap();
    let (snapshot, streams) = connector.cluster().snapshot(&[&raw.stream]).unwrap();
    let mut copies: Vec<_> = (0..2)
        .map(|_| snapshot.open(&[&streams[0]], &[]).unwrap())
        .collect();
    let (one, two) = (copies[0].cancel_key, copies[1].cancel_key);
    assert!(key != one && key != two && one != two, "{key} {one} {two}");
    let stream = copies[1].streams.pop().unwrap();
    let mut copy = Raw {
        cluster: &copies[1].cluster,
        stream,
        key: None,
    };
    copy.send(Some(b'Q'), b"SELECT pg_sleep(0.5)\0");
    cancel(copy.cluster, pid, key);
    cancel(copy.cluster, pid, one);
    let tags = copy.until_ready();
    assert!(tags.contains(&b'D') && !tags.contains(&b'E'), "{tags:?}");
    copy.send(Some(b'Q'), b"SELECT pg_sleep(3600)\0");
    // It may come before the statement has begun, and then it does nothing.
    let begun = Instant::now();
    let tags = std::thread::scope(|scope| {
        let cluster = copy.cluster;
        let (done, over) = std::sync::mpsc::channel();
        scope.spawn(move || {
            while over.recv_timeout(Duration::from_millis(50)).is_err()
                && begun.elapsed() < crate::PATIENCE
            {
                cancel(cluster, pid, two);
            }
        });
        let tags = copy.until_ready();
        done.send(()).unwrap();
        tags
    });
    assert!(tags.contains(&b'E'), "{tags:?}");
}

#[test]
fn tokens_cancel_the_database_that_they_are_of() {
    let mut db = Pglite::temporary().unwrap();
    for (how, mut copy) in copies(&mut db) {
        let token = copy.cancel_token();
        let (done, over) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            while over.recv_timeout(Duration::from_millis(20)).is_err() {
                token.cancel().unwrap();
            }
        });
        let error = copy.exec("SELECT pg_sleep(3600)", None).unwrap_err();
        assert_eq!(error.sqlstate(), Some("57014"), "{how}");
        done.send(()).unwrap();
        thread.join().unwrap();
        // A late one may still meet the next statement.
        eventually("it goes on", || copy.exec("SELECT 1", None).is_ok());
    }
    assert_eq!(first(&mut db, "SELECT 1"), json!(1));
}
