//! Databases made from others: snapshots, forks, `CREATE DATABASE`.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;
use pglite_oxide::Pglite;
use pglite_oxide_native::{Cluster, Install};
use pglite_oxide_wire::{Client, Config};

use crate::report::Report;
use crate::settings;
use crate::starts::ours;

/// Tables of the migrated database.
const TABLES: u32 = 60;

/// A schema of the size that applications have, with some rows.
pub(crate) fn migration() -> String {
    let mut sql = String::new();
    for n in 0..TABLES {
        let _ = write!(
            sql,
            "CREATE TABLE t{n} (id bigserial PRIMARY KEY, parent bigint, name text NOT NULL, at timestamptz DEFAULT now(), data jsonb);
             CREATE INDEX ON t{n} (parent); CREATE INDEX ON t{n} (name);
             INSERT INTO t{n} (parent, name, data) SELECT g, 'name ' || g, '{{}}' FROM generate_series(1, 20) g;"
        );
    }
    sql
}

/// What a test does first.
const FIRST: &str = "SELECT count(*) FROM t7 WHERE name = 'name 7'";

/// Copies of a migrated database.
pub(crate) fn run(install: &Install, quick: bool, report: &mut Report) -> Result<()> {
    let rounds = if quick { 5 } else { 50 };
    let mut db = Pglite::temporary()?;
    db.exec(&migration(), None)?;
    let snapshot = db.snapshot()?;
    for _ in 0..rounds {
        let begun = Instant::now();
        let mut copy = snapshot.open()?;
        copy.exec(FIRST, None)?;
        report.time(
            "snapshot of a migrated database: open, first row",
            true,
            begun.elapsed(),
        );
        let begun = Instant::now();
        copy.exec("INSERT INTO t7 (name) VALUES ('one')", None)?;
        report.time("... first row written", true, begun.elapsed());
        let begun = Instant::now();
        drop(copy);
        report.time("... drop", true, begun.elapsed());

        let begun = Instant::now();
        let mut fork = db.fork()?;
        fork.exec(FIRST, None)?;
        report.time(
            "fork of a running migrated database, first row",
            true,
            begun.elapsed(),
        );
        drop(fork);
        // The original has written since.
        db.exec("INSERT INTO t8 (name) VALUES ('one')", None)?;
        let begun = Instant::now();
        let mut fork = db.fork()?;
        fork.exec(FIRST, None)?;
        report.time(
            "... that has written since the last, first row",
            true,
            begun.elapsed(),
        );
    }
    drop((db, snapshot));

    let served = ours()?;
    let native = Cluster::run(install, &settings())?;
    for (is_ours, url) in [(true, served.database_url()), (false, native.tcp_url())] {
        let config = Config::parse(&url)?;
        let mut admin = Client::connect(&config)?;
        admin.query("CREATE DATABASE migrated")?;
        Client::connect(&config.clone().database("migrated"))?.query(&migration())?;
        for n in 0..rounds {
            let name = format!("copy{n}");
            let begun = Instant::now();
            admin.query(&format!("CREATE DATABASE {name} TEMPLATE migrated"))?;
            let mut client = Client::connect(&config.clone().database(&name))?;
            client.query(FIRST)?;
            report.time(
                "CREATE DATABASE ... TEMPLATE, connect over TCP, first row",
                is_ours,
                begun.elapsed(),
            );
            drop(client);
        }
    }
    served.shutdown()?;
    Ok(())
}
