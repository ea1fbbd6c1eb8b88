//! Data directories as archives.

use std::sync::atomic::{AtomicBool, Ordering};

use pglite_oxide::{DataDirArchiveFormat, Error, Pglite};
use serde_json::json;

use crate::busy::{balances, bank, transfer};
use crate::{first, run, text};

#[test]
fn the_archive_of_a_busy_database_is_consistent() {
    let mut db = bank();
    let stop = AtomicBool::new(false);
    let archives = std::thread::scope(|scope| {
        for n in 0..2 {
            let mut writer = db.connect().unwrap();
            let stop = &stop;
            scope.spawn(move || transfer(&mut writer, n + 1, stop));
        }
        let mut archives = Vec::new();
        for format in [DataDirArchiveFormat::Tar, DataDirArchiveFormat::TarGz] {
            let least = text(&mut db, "SELECT count(*) FROM transfer");
            let least: i64 = least.parse().unwrap();
            archives.push((least, db.dump_data_dir_with_format(format).unwrap()));
        }
        stop.store(true, Ordering::Relaxed);
        archives
    });
    let most = balances(&mut db);
    let identifier = "SELECT system_identifier FROM pg_control_system()";
    for (least, archive) in archives {
        let mut copy = Pglite::builder()
            .load_data_dir_archive(&archive)
            .open()
            .unwrap();
        let found = balances(&mut copy);
        assert!(
            found >= least && found <= most,
            "{least} <= {found} <= {most}"
        );
        run(
            &mut copy,
            "INSERT INTO transfer (amount) VALUES (1); CHECKPOINT",
        );
        assert_ne!(text(&mut copy, identifier), "0");
        // From an archive into a directory, and from there on as always.
        let root = tempfile::tempdir().unwrap();
        {
            let mut kept = Pglite::builder()
                .path(root.path().join("db"))
                .load_data_dir_archive(&archive)
                .open()
                .unwrap();
            assert_eq!(balances(&mut kept), found);
            run(&mut kept, "CREATE TABLE more ()");
            kept.close().unwrap();
        }
        let mut kept = Pglite::open(root.path().join("db")).unwrap();
        assert_eq!(balances(&mut kept), found);
        run(&mut kept, "DROP TABLE more");
    }
    assert_eq!(balances(&mut db), most);
}

#[test]
fn an_archive_is_of_what_is_committed_only() {
    let mut db = Pglite::temporary().unwrap();
    run(&mut db, "CREATE TABLE t (i int); INSERT INTO t VALUES (1)");
    run(&mut db, "BEGIN");
    run(&mut db, "INSERT INTO t VALUES (2)");
    let archive = db.dump_data_dir().unwrap();
    run(&mut db, "COMMIT");
    let mut copy = Pglite::builder()
        .load_data_dir_archive(&archive)
        .open()
        .unwrap();
    assert_eq!(first(&mut copy, "SELECT array_agg(i) FROM t"), json!([1]));
    let mut again = Pglite::builder()
        .load_data_dir_archive(copy.dump_data_dir().unwrap())
        .open()
        .unwrap();
    assert_eq!(first(&mut again, "SELECT array_agg(i) FROM t"), json!([1]));
    let mut fork = copy.fork().unwrap();
    assert_eq!(first(&mut fork, "SELECT array_agg(i) FROM t"), json!([1]));
}

#[test]
fn bad_archives_and_full_directories_are_refused() {
    let mut db = Pglite::temporary().unwrap();
    let tar = db
        .dump_data_dir_with_format(DataDirArchiveFormat::Tar)
        .unwrap();
    let packed = db.dump_data_dir().unwrap();
    let mut flipped = packed.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x55;
    for (what, bad) in [
        ("empty", &b""[..]),
        (
            "text",
            b"this is no archive, but it is long enough to be looked at",
        ),
        ("half a gzip", &packed[..packed.len() / 2]),
        ("a damaged gzip", &flipped),
        ("half a tar", &tar[..tar.len() / 2 + 100]),
    ] {
        let error = Pglite::builder()
            .load_data_dir_archive(bad)
            .open()
            .unwrap_err();
        assert!(
            matches!(error, Error::InvalidArgument { .. }),
            "{what}: {error:?}"
        );
    }
    let root = tempfile::tempdir().unwrap();
    Pglite::open(root.path()).unwrap().close().unwrap();
    let error = Pglite::builder()
        .path(root.path())
        .load_data_dir_archive(&packed)
        .open()
        .unwrap_err();
    assert!(matches!(error, Error::Start(_)), "{error:?}");
    // It is as it was.
    assert_eq!(
        first(&mut Pglite::open(root.path()).unwrap(), "SELECT 1"),
        json!(1)
    );
}
