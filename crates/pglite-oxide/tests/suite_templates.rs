//! Templates. Alone in its program: it sets an environment variable.

mod common;

use common::first;
use pglite_oxide::Pglite;
use serde_json::json;

/// A template migrates once, in this process and for others, and its forks do not know of each other.
#[test]
fn a_template_migrates_once_and_is_kept() {
    let kept = tempfile::tempdir().unwrap();
    // SAFETY: no other test of this program reads or writes the environment meanwhile that depends on this variable.
    unsafe { std::env::set_var("PGLITE_OXIDE_TEMPLATES", kept.path()) };
    let migrations = std::cell::Cell::new(0);
    let migrate = |db: &mut Pglite| {
        migrations.set(migrations.get() + 1);
        db.exec(
            "CREATE TABLE t (i int PRIMARY KEY, x text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g",
            None,
        )
        .map(drop)
    };
    let template = Pglite::template("one", migrate).unwrap();
    for _ in 0..4 {
        let mut db = template.fork().unwrap();
        assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(100));
        db.exec("DELETE FROM t", None).unwrap();
    }
    Pglite::template("one", migrate).unwrap();
    assert_eq!(migrations.get(), 1);
    assert!(Pglite::template("two", |db| db.exec("SELECT 1/0", None).map(drop)).is_err());
    Pglite::template("two", migrate).unwrap();
    assert_eq!(migrations.get(), 2);
    let files: Vec<_> = std::fs::read_dir(kept.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|end| end == "template")
        })
        .collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let size = file.metadata().unwrap().len();
        assert!(size < 12 << 20, "only differences are kept: {size}");
    }
}

/// What the processes of the next test do: one forks a template that the other may have made.
#[test]
#[ignore = "run by the_next_process_opens_from_an_image"]
fn forks_a_template_of_others() {
    let template = Pglite::template("of others", |db| {
        println!("migrates");
        db.exec(
            "CREATE TABLE t AS SELECT g FROM generate_series(1, 100) g",
            None,
        )
        .map(drop)
    })
    .unwrap();
    let mut db = template.fork().unwrap();
    assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(100));
    for sql in [
        "SELECT system_identifier::text FROM pg_control_system()",
        "SELECT gen_random_uuid()::text",
    ] {
        println!("unique {}", first(&mut db, sql));
    }
    // A second session, and another fork, which know nothing of it.
    let mut other = db.connector().connect().unwrap();
    other.exec("INSERT INTO t VALUES (101)", None).unwrap();
    assert_eq!(first(&mut db, "SELECT count(*) FROM t"), json!(101));
    let mut fork = template.fork().unwrap();
    assert_eq!(first(&mut fork, "SELECT count(*) FROM t"), json!(100));
    db.exec("CHECKPOINT", None).unwrap();
}

/// Each process that ran one test of many (nextest) started the migrated database in full: 25 ms and more.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn the_next_process_opens_from_an_image() {
    let kept = tempfile::tempdir().unwrap();
    let run = || {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "forks_a_template_of_others",
                "--ignored",
                "--nocapture",
            ])
            .env("PGLITE_OXIDE_TEMPLATES", kept.path())
            .env("PGLITE_STRACE", "1")
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let calls = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{out}");
        // A postmaster that starts writes this file.
        (calls.contains("postmaster.opts"), out)
    };
    let (starts, out) = run();
    assert!(starts && out.contains("migrates"), "{out}");
    let mut seen = std::collections::HashSet::new();
    for _ in 0..3 {
        let (starts, out) = run();
        assert!(!starts, "it was started in full");
        assert!(!out.contains("migrates"));
        let unique: Vec<_> = out
            .lines()
            .filter(|line| line.contains("unique "))
            .collect();
        assert_eq!(unique.len(), 2, "{out}");
        for line in unique {
            assert!(seen.insert(line.to_owned()), "twice: {line}");
        }
    }
    // What is damaged is made anew.
    for file in std::fs::read_dir(kept.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "image") {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    assert!(run().0);
    assert!(!run().0);
}
