//! What many databases leave behind. Alone in its program: other tests' threads and descriptors would be counted.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::time::{Duration, Instant};

use pglite_oxide::{Pglite, QueryOptions, RowMode};
use serde_json::json;

/// How often it goes round at least; the environment asks for more.
const ROUNDS: usize = 6;

fn rounds() -> usize {
    let asked = std::env::var("PGLITE_OXIDE_ROUNDS").ok();
    asked
        .and_then(|text| text.parse().ok())
        .unwrap_or(ROUNDS)
        .max(ROUNDS)
}

fn first(db: &mut Pglite, sql: &str) -> serde_json::Value {
    let options = QueryOptions {
        row_mode: Some(RowMode::Array),
        ..Default::default()
    };
    db.query(sql, &[], Some(&options)).unwrap().rows[0][0].clone()
}

fn count(directory: &str) -> usize {
    std::fs::read_dir(Path::new(directory))
        .map(Iterator::count)
        .unwrap_or(0)
}

/// Bytes of address space, and resident bytes, of this process.
fn memory() -> (usize, usize) {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: Vec<usize> = text
        .split(' ')
        .take(2)
        .map(|n| n.parse().unwrap())
        .collect();
    (pages[0] * 4096, pages[1] * 4096)
}

/// 20 temporary databases at once, from 8 threads, again and again: threads, descriptors and memory stay as they were.
#[test]
fn many_databases_leave_nothing_behind() {
    let round = || {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let sender = sender.clone();
                scope.spawn(move || {
                    for n in (0..20).filter(|n| n % 8 == thread) {
                        let mut db = Pglite::temporary().unwrap();
                        assert_eq!(first(&mut db, &format!("SELECT {n} + 1")), json!(n + 1));
                        sender.send(db).unwrap();
                    }
                });
            }
        });
        drop(sender);
        let databases: Vec<_> = receiver.iter().collect();
        assert_eq!(databases.len(), 20);
        std::thread::scope(|scope| {
            for db in databases {
                scope.spawn(move || drop(db));
            }
        });
    };
    let before = count("/proc/self/task");
    // Threads without work stay for some tenths of a second; then there are as many as before the first database.
    let settled = || {
        let deadline = Instant::now() + Duration::from_secs(10);
        while count("/proc/self/task") > before && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        (count("/proc/self/task"), count("/proc/self/fd"), memory())
    };
    round();
    let mut seen: Vec<_> = (0..rounds())
        .map(|_| {
            round();
            settled()
        })
        .collect();
    let (first, last) = (seen[0], seen[seen.len() - 1]);
    println!(
        "threads, descriptors, (address space, resident bytes): {first:?}, in the end {last:?}"
    );
    assert!(
        seen.iter().all(|at| at.0 == before),
        "threads: {before}, then {seen:?}"
    );
    assert_eq!(last.1, first.1, "descriptors");
    // One space that stayed would be 8 GiB.
    assert!(last.2.0 < first.2.0 + (4 << 30), "address space: {seen:?}");
    // What the allocator keeps goes up and down; what leaks only goes up.
    let end = seen.split_off(seen.len() - 3);
    let most = seen.iter().map(|at| at.2.1).max();
    let least = end.iter().map(|at| at.2.1).min();
    assert!(
        least < most.map(|bytes| bytes + (32 << 20)),
        "memory: {seen:?}, then {end:?}"
    );
}
