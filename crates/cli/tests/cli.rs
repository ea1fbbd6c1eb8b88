//! The command line tools, run as a user runs them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PGLITE: &str = env!("CARGO_BIN_EXE_pglite");
const DUMP: &str = env!("CARGO_BIN_EXE_pglite-dump");
const PROXY: &str = env!("CARGO_BIN_EXE_pglite-proxy");

const SQL: &str = "CREATE TABLE t (i int, x text);\nCOPY t FROM stdin;\n1\tone\n2\t\\N\n\\.\n";

/// Runs a program in `dir` with this standard input.
fn run(dir: &Path, program: &str, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that wants no input may have ended.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The standard output of a run that must succeed.
fn good(dir: &Path, program: &str, args: &[&str], input: &str) -> String {
    let output = run(dir, program, args, input);
    assert!(
        output.status.success(),
        "{args:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout).to_owned()
}

/// The exit code and standard error of a run that must fail.
fn bad(dir: &Path, program: &str, args: &[&str]) -> (i32, String) {
    let output = run(dir, program, args, "");
    let code = output.status.code().unwrap();
    assert_ne!(code, 0, "{args:?}: {}", text(&output.stdout));
    (code, text(&output.stderr).to_owned())
}

#[test]
fn scripts_dumps_and_restores_of_directories() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("schema.sql"), SQL).unwrap();
    good(
        dir,
        PGLITE,
        &["psql", "-p", "data", "--", "-q", "-f", "schema.sql"],
        "",
    );
    good(
        dir,
        PGLITE,
        &[
            "psql",
            "-p",
            "data",
            "--",
            "-qc",
            "\\copy t TO 'out.csv' csv",
        ],
        "",
    );
    assert_eq!(
        std::fs::read_to_string(dir.join("out.csv")).unwrap(),
        "1,one\n2,\n"
    );
    let sql = good(dir, DUMP, &["--root", "data", "--", "--no-owner"], "");
    assert!(sql.contains("COPY public.t") && !sql.contains("OWNER TO"));
    good(
        dir,
        PGLITE,
        &["dump", "-p", "data", "-F", "custom", "-o", "t.dump"],
        "",
    );
    good(
        dir,
        PGLITE,
        &[
            "dump",
            "-p",
            "data",
            "-F",
            "directory",
            "-j",
            "2",
            "-o",
            "t.d",
        ],
        "",
    );
    assert!(!dir.join("t.dump.partial").exists());
    for (dump, input) in [("t.dump", ""), ("t.d", ""), ("-", sql.as_str())] {
        let root = format!("copy-of-{dump}");
        good(dir, PGLITE, &["restore", "-p", &root, dump], input);
        let query = ["psql", "-p", &root, "--", "-Atc", "SELECT sum(i) FROM t"];
        assert_eq!(good(dir, PGLITE, &query, ""), "3\n", "{dump}");
    }
}

#[test]
fn exit_codes_and_messages() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (code, _) = bad(
        dir,
        PGLITE,
        &["psql", "--", "-v", "ON_ERROR_STOP=1", "-c", "SELECT 1/0"],
    );
    assert_eq!(code, 1, "as psql -c");
    let script = run(
        dir,
        PGLITE,
        &["psql", "--", "-v", "ON_ERROR_STOP=1"],
        "SELECT 1/0;\n",
    );
    assert_eq!(script.status.code(), Some(3), "as psql in a script");
    let (code, message) = bad(dir, PGLITE, &["dump", "-p", "nowhere"]);
    assert_eq!(code, 1);
    assert!(message.contains("no database in nowhere"), "{message}");
    assert!(!dir.join("nowhere").exists(), "a dump makes no database");
    let (_, message) = bad(dir, PGLITE, &["restore", "-p", "new", "missing.dump"]);
    assert!(message.contains("missing.dump"), "{message}");
    assert!(
        !dir.join("new").exists(),
        "nothing is made for a dump that is not there"
    );
    let (code, _) = bad(dir, PGLITE, &["run", "--", "sh", "-c", "exit 7"]);
    assert_eq!(code, 7);
    let (code, message) = bad(dir, PGLITE, &["tool", "no_such_program"]);
    assert_eq!(code, 1);
    assert!(message.contains("pg_amcheck"), "{message}");
    let (code, _) = bad(dir, PGLITE, &["frobnicate"]);
    assert_eq!(code, 2, "as clap has it");
}

#[test]
fn programs_see_no_file_that_was_not_named() {
    let dir = tempfile::tempdir().unwrap();
    let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
    std::fs::create_dir(&inside).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret.sql"), "SELECT 'seen';\n").unwrap();
    std::fs::write(inside.join("own.sql"), "SELECT 'own';\n").unwrap();
    let secret = outside.join("secret.sql");
    let secret = secret.to_str().unwrap();
    let includes =
        format!("\\i {secret}\n\\i ../outside/secret.sql\n\\! cat {secret}\n\\i own.sql\n");
    let output = run(&inside, PGLITE, &["psql", "--", "-XAtq"], &includes);
    assert_eq!(text(&output.stdout), "own\n");
    // Named on the command line, it is there.
    for named in [secret, "../outside/secret.sql"] {
        let args = ["psql", "--", "-XAtq", "-f", named];
        assert_eq!(good(&inside, PGLITE, &args, ""), "seen\n");
    }
    let args = ["psql", "--no-files", "--", "-XAtq"];
    let output = run(&inside, PGLITE, &args, "\\i own.sql\n");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_proxy_prints_its_uri_and_stops_at_a_signal() {
    let mut child = Command::new(PROXY)
        .args([
            "--temporary",
            "--print-uri",
            "--postgres-config",
            "work_mem=5MB",
            "--extension",
            "pg_stat_statements",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("postgresql://postgres:"), "{line}");
    let unknown = Command::new(PROXY)
        .args(["--temporary", "--extension", "no_such"])
        .output()
        .unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("pg_trgm"), "{unknown:?}");
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Bug: `pglite run` set DATABASE_URL only, so that psql and whatever else reads libpq's variables went to another database, or to none.
#[test]
fn what_runs_with_a_database_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let print =
        "echo $DATABASE_URL $PGHOST $PGPORT $PGUSER $PGDATABASE $PGSSLMODE $PGPASSWORD$PGSERVICE";
    let said = Command::new(PGLITE)
        .args(["run", "--", "sh", "-c", print])
        .env("PGSERVICE", "elsewhere")
        .output()
        .unwrap();
    let words: Vec<&str> = text(&said.stdout).split_whitespace().collect();
    let [url, host, port, user, database, mode, password] = words[..] else {
        panic!("{said:?}");
    };
    assert_eq!(
        url,
        format!("postgresql://{user}:{password}@{host}:{port}/{database}?sslmode={mode}")
    );
    let args = ["run", "--unix", ".", "--", "sh", "-c", print];
    let host = dir.canonicalize().unwrap();
    let host = host.to_str().unwrap();
    let url = format!(
        "postgresql:///postgres?host={}&port=5432&user=postgres&sslmode=disable",
        host.replace('/', "%2F")
    );
    assert_eq!(
        good(dir, PGLITE, &args, ""),
        format!("{url} {host} 5432 postgres postgres disable\n")
    );
    let args = [
        "run",
        "--tcp",
        "localhost:0",
        "--",
        "sh",
        "-c",
        "echo $PGHOST",
    ];
    assert_eq!(good(dir, PGLITE, &args, ""), "127.0.0.1\n");
    let (_, said) = bad(dir, PGLITE, &["serve", "--tcp", "5432"]);
    assert!(said.contains("127.0.0.1:5432"), "{said}");
    let (code, said) = bad(dir, PGLITE, &["run", "--", "no-such-program"]);
    assert_eq!(code, 1);
    assert!(said.contains("cannot run no-such-program"), "{said}");
}

/// Bug: a SIGTERM ended `pglite run` at once: its command went on without a database, and a socket file and unfinished work of the database were left.
#[test]
fn a_signal_ends_the_command_and_then_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join(".s.PGSQL.5432");
    for (signal, number) in [("-TERM", 15), ("-INT", 2)] {
        let mut child = Command::new(PGLITE)
            .args(["run", "--unix", ".", "--path", "data", "--"])
            .args(["sh", "-c", "echo up; exec sleep 60"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line == "up\n" && socket.exists());
        let sent = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        assert_eq!(child.wait().unwrap().code(), Some(128 + number));
        assert!(!socket.exists(), "the socket file is left");
    }
    let pid_file = dir.path().join("data/data/postmaster.pid");
    assert!(!pid_file.exists(), "the database was not shut down");
}

#[test]
fn every_help_teaches_with_an_example() {
    let dir = tempfile::tempdir().unwrap();
    for command in [
        "serve", "run", "psql", "dump", "restore", "bench", "tool", "ext",
    ] {
        let help = good(dir.path(), PGLITE, &[command, "--help"], "");
        assert!(help.contains(&format!("pglite {command}")), "{command}");
        assert!(help.contains("Examples:"), "{command}");
        assert!(
            !help.contains('\u{1b}'),
            "no colours where there is no terminal"
        );
    }
    for program in [PROXY, DUMP] {
        assert!(good(dir.path(), program, &["--help"], "").contains("Examples:"));
    }
}

#[test]
fn doctor_and_bench_run() {
    let dir = tempfile::tempdir().unwrap();
    let report = good(dir.path(), PGLITE, &["doctor"], "");
    assert!(report.contains("ok      run pg_dump"), "{report}");
    let report = good(dir.path(), PGLITE, &["bench", "-T", "1", "-S"], "");
    assert!(report.contains("tps = "), "{report}");
}
