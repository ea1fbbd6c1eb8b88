//! How long it takes until the first row, and how long one round trip takes.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pglite_oxide::{ExecProtocolOptions, Pglite, PgliteServer};
use pglite_oxide_native::{Cluster, Install};
use pglite_oxide_wire::{Client, Config};

use crate::report::Report;
use crate::settings;

/// `Query` message of the frontend protocol: tag, length, `SELECT 1`.
const QUERY: &[u8] = b"Q\x00\x00\x00\x0dSELECT 1\x00";

/// What the child does.
#[derive(Args)]
pub(crate) struct First {
    /// Opens this directory [default: in memory]
    #[arg(long)]
    path: Option<PathBuf>,
    /// Asks this first
    #[arg(long, default_value = "SELECT 1")]
    sql: String,
}

/// The child of the rows "new process".
pub(crate) fn first(options: &First) -> Result<()> {
    let mut db = match &options.path {
        Some(path) => Pglite::open(path)?,
        None => Pglite::temporary()?,
    };
    db.exec(&options.sql, None)?;
    println!("ready");
    // The end of the process is not measured.
    std::process::exit(0);
}

/// Runs this program as a child that opens a database: the time until it has the first row.
fn until_ready(options: &[&OsStr]) -> Result<Duration> {
    let begun = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .arg("first-start")
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
    let took = begun.elapsed();
    let status = child.wait()?;
    if line != "ready\n" || !status.success() {
        bail!("the child did not start ({status}) and said {line:?}");
    }
    Ok(took)
}

/// Starts of all kinds.
pub(crate) fn starts(install: &Install, quick: bool, report: &mut Report) -> Result<()> {
    let rounds = if quick { 3 } else { 15 };
    let template = Cluster::init(install, &settings())?;
    let roots = tempfile::tempdir()?;
    let root = roots.path().join("db");
    Pglite::open(&root)?.close()?;
    for _ in 0..rounds {
        let took = until_ready(&[])?;
        report.time("new process: temporary database, first row", true, took);

        let begun = Instant::now();
        let mut native = template.copy()?;
        native.start()?;
        Client::connect(&Config::parse(&native.tcp_url())?)?.query("SELECT 1")?;
        let took = begun.elapsed();
        report.time("new process: temporary database, first row", false, took);
        report.time("next temporary database, first row", false, took);
        native.stop()?;

        let begun = Instant::now();
        let mut db = Pglite::temporary()?;
        db.exec("SELECT 1", None)?;
        report.time("next temporary database, first row", true, begun.elapsed());
        let begun = Instant::now();
        drop(db);
        report.time("temporary database, drop", true, begun.elapsed());

        let begun = Instant::now();
        let mut db = Pglite::open(&root)?;
        db.exec("SELECT 1", None)?;
        report.time("cleanly closed root, first row", true, begun.elapsed());
        let begun = Instant::now();
        drop(db);
        report.time("root, close", true, begun.elapsed());
    }
    Ok(())
}

/// Starts of databases that use pgvector, beside the same without. The first row is of a small table either way; with vectors it is a distance, so that the library is loaded.
pub(crate) fn with_vector(quick: bool, report: &mut Report) -> Result<()> {
    const PLAIN: &str = "SELECT sqrt(power(a - 1, 2) + power(b - 2, 2)) FROM item";
    const VECTOR: &str = "SELECT v <-> '[1,2]' FROM item";
    let rounds = if quick { 3 } else { 25 };
    let roots = tempfile::tempdir()?;
    let kinds = [
        (
            "without vector",
            "CREATE TABLE item (a float8, b float8); INSERT INTO item VALUES (3, 4)",
            PLAIN,
        ),
        (
            "with vector",
            "CREATE EXTENSION vector; CREATE TABLE item (v vector(2)); INSERT INTO item VALUES ('[3,4]')",
            VECTOR,
        ),
    ];
    let mut snapshots = Vec::new();
    for (kind, create, _) in kinds {
        let mut db = Pglite::open(roots.path().join(kind))?;
        db.exec(create, None)?;
        db.close()?;
        let mut db = Pglite::builder().fresh_temporary().open()?;
        db.exec(create, None)?;
        snapshots.push(db.snapshot()?);
    }
    for _ in 0..rounds {
        for ((kind, _, sql), snapshot) in kinds.iter().zip(&snapshots) {
            let root = roots.path().join(kind);
            let took = until_ready(&[
                "--sql".as_ref(),
                sql.as_ref(),
                "--path".as_ref(),
                root.as_os_str(),
            ])?;
            let name = |what: &str| format!("{what}, {kind}");
            report.time(&name("new process: root, first row"), true, took);
            // The child ended without closing it: what is measured next is no recovery.
            Pglite::open(&root)?.close()?;
            let begun = Instant::now();
            let mut db = Pglite::open(&root)?;
            db.exec(sql, None)?;
            report.time(&name("root, first row"), true, begun.elapsed());
            db.close()?;
            let begun = Instant::now();
            let mut db = snapshot.open()?;
            db.exec(sql, None)?;
            report.time(&name("snapshot: open, first row"), true, begun.elapsed());
        }
    }
    for what in [
        "new process: root, first row",
        "root, first row",
        "snapshot: open, first row",
    ] {
        let [without, with] = kinds
            .each_ref()
            .map(|(kind, _, _)| format!("{what}, {kind}"));
        report.compare(&format!("{what}: with vector / without"), &with, &without);
    }
    Ok(())
}

/// A server of ours with the common settings.
pub(crate) fn ours() -> Result<PgliteServer> {
    Ok(PgliteServer::builder()
        .temporary()
        .tcp("127.0.0.1:0".parse()?)
        .postgres_configs(settings())
        .start()?)
}

/// New connections and single statements.
pub(crate) fn round_trips(install: &Install, quick: bool, report: &mut Report) -> Result<()> {
    let (rounds, statements) = if quick { (5, 500) } else { (30, 5000) };
    let ours = ours()?;
    let native = Cluster::run(install, &settings())?;
    let sides = [
        (true, Config::parse(&ours.database_url())?),
        (false, Config::parse(&native.tcp_url())?),
    ];
    for _ in 0..rounds {
        for (is_ours, config) in &sides {
            let begun = Instant::now();
            Client::connect(config)?.query("SELECT 1")?;
            report.time(
                "new TCP connection (scram), first row",
                *is_ours,
                begun.elapsed(),
            );
        }
        let begun = Instant::now();
        ours.connector().connect()?.exec("SELECT 1", None)?;
        report.time("new direct session, first row", true, begun.elapsed());
    }
    let mut direct = ours.connector().connect()?;
    let mut clients = Vec::new();
    for (is_ours, config) in &sides {
        let mut client = Client::connect(config)?;
        client.prepare("one", "SELECT 1")?;
        clients.push((*is_ours, client));
    }
    let each = |took: Duration| took / statements;
    for _ in 0..5 {
        for (is_ours, client) in &mut clients {
            let begun = Instant::now();
            for _ in 0..statements {
                client.query("SELECT 1")?;
            }
            report.short_time("SELECT 1, TCP, simple", *is_ours, each(begun.elapsed()));
            let begun = Instant::now();
            for _ in 0..statements {
                client.execute("one")?;
            }
            report.short_time("SELECT 1, TCP, prepared", *is_ours, each(begun.elapsed()));
        }
        let begun = Instant::now();
        for _ in 0..statements {
            direct.exec("SELECT 1", None)?;
        }
        report.short_time("SELECT 1, direct exec", true, each(begun.elapsed()));
        let begun = Instant::now();
        for _ in 0..statements {
            direct.exec_protocol_raw(QUERY, ExecProtocolOptions::default())?;
        }
        report.short_time("SELECT 1, direct raw protocol", true, each(begun.elapsed()));
    }
    drop(clients);
    direct.close()?;
    ours.shutdown().context("stopping ours")?;
    Ok(())
}
