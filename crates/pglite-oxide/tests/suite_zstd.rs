//! Zstandard in the server: what it does where the feature `zstd` is on, and what is said where it is not. `cargo xtask test` runs both, first the one that has it.

mod common;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use common::{run, text};
use pglite_oxide::{ExitStatus, Output, Pglite};

/// A root that crashed with a log compressed by Zstandard: `cargo xtask test` names a place for it to both programs.
fn crashed_root() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("PGLITE_OXIDE_ZSTD_ROOT")?).join("crashed"))
}

/// Runs a program in a directory of the host's: how it ended, and what it complained of.
fn program(db: &Pglite, name: &str, args: &[&str], dir: &Path) -> (ExitStatus, String) {
    let connector = db.connector();
    let granted = connector.cluster().grant(dir).unwrap();
    let program = connector.program(name).args(args).current_dir(granted);
    let mut running = connector
        .run_program(program.stderr(Output::Piped))
        .unwrap();
    let mut said = String::new();
    let mut stderr = running.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    (running.wait().unwrap(), said)
}

/// Takes a base backup.
fn backup(db: &Pglite, compress: &str, format: &str, dir: &Path) -> (ExitStatus, String) {
    let compress = format!("--compress={compress}");
    let format = format!("--format={format}");
    let args = [
        "--pgdata=copy",
        "--wal-method=fetch",
        "--checkpoint=fast",
        "--no-sync",
    ];
    let args = [&args[..], &[&compress, &format]].concat();
    program(db, "pg_basebackup", &args, dir)
}

/// Images of pages were compressed in a critical section, where an error is a panic of the whole server: so the setting is refused, and nothing else ever needs to be.
#[cfg(not(feature = "zstd"))]
mod without {
    use super::*;
    use pglite_oxide::Error;

    const MESSAGE: &str = "Zstandard is not linked into this program";
    const HINT: &str = "cargo feature \"zstd\"";

    #[test]
    fn its_use_is_an_error_that_names_the_feature() {
        let mut db = Pglite::temporary().unwrap();
        for sql in [
            "SET wal_compression = zstd",
            "ALTER SYSTEM SET wal_compression = zstd",
            "ALTER DATABASE postgres SET wal_compression = zstd",
        ] {
            let error = db.exec(sql, None).expect_err(sql);
            let error = error.database_error().unwrap_or_else(|| panic!("{sql}"));
            assert_eq!(error.code.as_deref(), Some("0A000"), "{sql}");
            assert_eq!(error.message, MESSAGE);
            let hint = error.hint.as_deref().unwrap_or_default();
            assert!(hint.contains(HINT), "{sql}: {hint}");
        }
        let dir = tempfile::tempdir().unwrap();
        let (status, said) = backup(&db, "server-zstd", "plain", dir.path());
        assert_ne!(status, ExitStatus::Exited(0));
        assert!(said.contains(MESSAGE) && said.contains(HINT), "{said}");
        run(&mut db, "SET wal_compression = lz4");
        assert_eq!(text(&mut db, "6 * 7"), "42");
    }

    #[test]
    fn a_setting_at_start_names_it_too() {
        let error = Pglite::builder()
            .postgres_config("wal_compression", "zstd")
            .open()
            .unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, Error::Start(_)), "{said}");
        assert!(said.contains(MESSAGE) && said.contains(HINT), "{said}");
    }

    /// What a program with the feature has written is left as it is, and what is missing is named.
    #[test]
    fn a_root_with_such_a_log_says_what_to_turn_on() {
        let Some(root) = crashed_root() else {
            return;
        };
        assert!(root.is_dir(), "the program with the feature runs first");
        let error = Pglite::open(&root).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, Error::Start(_)), "{said}");
        assert!(said.contains(MESSAGE) && said.contains(HINT), "{said}");
    }
}

#[cfg(feature = "zstd")]
mod with {
    use std::process::{Command, Stdio};

    use super::*;

    const ROWS: u32 = 20_000;

    /// The child of [`a_log_compressed_by_it_is_recovered_from`]: writes whole pages to the log, and dies without a checkpoint.
    #[test]
    #[ignore = "a child process of another test"]
    fn writer_that_crashes() {
        let Some(root) = std::env::var_os("PGLITE_OXIDE_WRITER_ROOT") else {
            return;
        };
        let mut db = Pglite::builder()
            .path(root)
            .postgres_config("full_page_writes", "on")
            .postgres_config("checkpoint_timeout", "1h")
            .postgres_config("autovacuum", "off")
            .open()
            .unwrap();
        run(
            &mut db,
            &format!(
                "CREATE EXTENSION pg_walinspect;
                 CREATE TABLE t (i int PRIMARY KEY, filler text);
                 INSERT INTO t SELECT i, repeat('filler ', 20) FROM generate_series(1, {ROWS}) i;
                 CHECKPOINT;
                 SET wal_compression = zstd"
            ),
        );
        let begin = text(&mut db, "pg_current_wal_lsn()");
        run(&mut db, "UPDATE t SET i = -i WHERE i % 7 = 0");
        let images = text(
            &mut db,
            &format!(
                "SELECT count(*) FILTER (WHERE 'COMPRESS_ZSTD' = ANY (block_fpi_info)) || ' of ' || count(*)
                 FROM pg_get_wal_block_info('{begin}', pg_current_wal_lsn()) WHERE block_fpi_length > 0"
            ),
        );
        println!("images {images}");
        std::process::abort();
    }

    fn crash(root: &Path) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "with::writer_that_crashes", "--ignored"])
            .args(["--nocapture", "--quiet"])
            .env("PGLITE_OXIDE_WRITER_ROOT", root)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let images = said.lines().find_map(|line| line.strip_prefix("images "));
        let (compressed, all) = images
            .unwrap_or_else(|| panic!("{said}"))
            .split_once(" of ")
            .unwrap();
        let (compressed, all): (u32, u32) = (compressed.parse().unwrap(), all.parse().unwrap());
        // Some have so little in them that they are stored as they are.
        assert!(
            compressed > 100 && compressed * 10 > all * 9,
            "{compressed} of {all} images"
        );
    }

    #[test]
    fn a_log_compressed_by_it_is_recovered_from() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("db");
        crash(&root);
        let mut db = Pglite::open(&root).unwrap();
        assert!(db.connector().cluster().log().contains("redo done at"));
        let sums = "SELECT count(*) || ' ' || sum(i) || ' ' || count(*) FILTER (WHERE i < 0) || ' ' || sum(length(filler)) FROM t";
        let rows = i64::from(ROWS);
        let sevenths = (1..=rows).filter(|i| i % 7 == 0);
        let sum = rows * (rows + 1) / 2 - 2 * sevenths.clone().sum::<i64>();
        let wanted = format!("{rows} {sum} {} {}", sevenths.count(), rows * 140);
        assert_eq!(text(&mut db, sums), wanted);
        db.close().unwrap();
    }

    /// For the program without the feature, which cannot make one.
    #[test]
    fn a_root_is_left_for_the_program_without_it() {
        if let Some(root) = crashed_root() {
            crash(&root);
        }
    }

    #[test]
    fn base_backups_are_compressed_by_the_server_and_read_by_its_programs() {
        let mut db = Pglite::temporary().unwrap();
        run(
            &mut db,
            "CREATE TABLE t AS SELECT generate_series(1, 50000) AS i",
        );
        let plain = [
            "server-zstd",
            "server-zstd:level=9,long",
            "server-zstd:level=-3",
        ];
        let plain = plain.map(|compress| (compress, "plain"));
        let tar = [("server-zstd", "tar"), ("client-zstd:1", "tar")];
        for (compress, format) in plain.into_iter().chain(tar) {
            let dir = tempfile::tempdir().unwrap();
            let (status, said) = backup(&db, compress, format, dir.path());
            assert_eq!(status, ExitStatus::Exited(0), "{compress}: {said}");
            let copy = dir.path().join("copy");
            assert_eq!(copy.join("base.tar.zst").is_file(), format == "tar");
            // Logs are not looked for in archives.
            let args: &[&str] = match format {
                "tar" => &["--no-parse-wal", "copy"],
                _ => &["copy"],
            };
            let (status, said) = program(&db, "pg_verifybackup", args, dir.path());
            assert_eq!(status, ExitStatus::Exited(0), "{compress}: {said}");
            let manifest = std::fs::read_to_string(copy.join("backup_manifest")).unwrap();
            std::fs::write(
                copy.join("backup_manifest"),
                manifest.replacen("global/pg_control", "global/pg_contro1", 1),
            )
            .unwrap();
            let (status, _) = program(&db, "pg_verifybackup", args, dir.path());
            assert_ne!(status, ExitStatus::Exited(0), "{compress}");
        }
        // Levels are checked by the library itself.
        let dir = tempfile::tempdir().unwrap();
        let (status, said) = backup(&db, "server-zstd:23", "plain", dir.path());
        assert_ne!(status, ExitStatus::Exited(0));
        assert!(said.contains("between"), "{said}");
    }

    #[test]
    fn pg_waldump_unpacks_images() {
        let mut db = Pglite::builder()
            .postgres_config("full_page_writes", "on")
            .postgres_config("wal_compression", "zstd")
            .open()
            .unwrap();
        run(
            &mut db,
            "CREATE TABLE t AS SELECT i, repeat('x', 100) AS x FROM generate_series(1, 5000) i; CHECKPOINT",
        );
        let begin = text(&mut db, "pg_current_wal_lsn()");
        run(&mut db, "UPDATE t SET i = -i");
        let end = text(&mut db, "pg_current_wal_flush_lsn()");
        let dir = tempfile::tempdir().unwrap();
        let (start, end) = (format!("--start={begin}"), format!("--end={end}"));
        let args = [
            "--path=/data/pg_wal",
            "--save-fullpage=images",
            "--quiet",
            &start,
            &end,
        ];
        let (status, said) = program(&db, "pg_waldump", &args, dir.path());
        assert_eq!(status, ExitStatus::Exited(0), "{said}");
        let images = std::fs::read_dir(dir.path().join("images")).unwrap();
        let sizes: Vec<u64> = images
            .map(|image| image.unwrap().metadata().unwrap().len())
            .collect();
        assert!(sizes.len() > 50, "{sizes:?}");
        assert!(sizes.iter().all(|&size| size == 8192), "{sizes:?}");
    }
}
