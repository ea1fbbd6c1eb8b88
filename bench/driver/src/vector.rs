//! pgvector: building and asking HNSW and IVFFlat indexes, beside native PostgreSQL with the same version of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use pglite_oxide::PgliteServer;
use pglite_oxide_native::{Cluster, Install, Scratch};
use pglite_oxide_wire::{Client, Config};

use crate::report::Report;
use crate::settings;

/// Dimensions of each vector.
const DIMENSIONS: u32 = 384;
/// Queries; recall is over all of them.
const PROBES: u32 = 100;
/// Neighbours asked for.
const NEIGHBOURS: u32 = 10;
/// Rounds of all the queries that are measured.
const ROUNDS: u32 = 5;
/// Clusters that the vectors lie in: without any, all are as far from each other, and no index finds much.
const CLUSTERS: u32 = 500;

/// An index and what it is asked with.
struct Index {
    name: &'static str,
    create: &'static str,
    set: &'static str,
}

const INDEXES: &[Index] = &[
    Index {
        name: "HNSW",
        create: "CREATE INDEX item_index ON item USING hnsw (embedding vector_l2_ops)",
        set: "SET hnsw.ef_search = 40",
    },
    Index {
        name: "IVFFlat, 100 lists, 10 probes",
        create: "CREATE INDEX item_index ON item USING ivfflat (embedding vector_l2_ops) WITH (lists = 100)",
        set: "SET ivfflat.probes = 10",
    },
];

/// Settings besides those of all groups: the graph and the index fit, and one process does the work.
const SETTINGS: &[(&str, &str)] = &[
    ("maintenance_work_mem", "512MB"),
    ("shared_buffers", "512MB"),
    ("max_parallel_maintenance_workers", "0"),
    ("max_parallel_workers_per_gather", "0"),
];

struct Side {
    ours: bool,
    client: Client,
    /// The true neighbours of each probe.
    exact: Vec<BTreeSet<String>>,
}

/// Measures both sides in turn.
pub(crate) fn run(
    install: &Install,
    pgvector: &Path,
    rows: u32,
    report: &mut Report,
) -> Result<()> {
    let mut all = settings();
    all.retain(|(name, _)| !SETTINGS.iter().any(|(ours, _)| name == ours));
    all.extend(
        SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    let server = PgliteServer::builder()
        .temporary()
        .tcp("127.0.0.1:0".parse()?)
        .postgres_configs(all.clone())
        .start()?;
    let scratch = installed(pgvector)?;
    let place = scratch.path().display();
    all.push((
        "extension_control_path".to_owned(),
        format!("{place}/share:$system"),
    ));
    all.push((
        "dynamic_library_path".to_owned(),
        format!("{place}/lib:$libdir"),
    ));
    let native = Cluster::run(install, &all)?;
    let mut sides = Vec::new();
    for (ours, url) in [(true, server.database_url()), (false, native.tcp_url())] {
        let client = Client::connect(&Config::parse(&url)?)?;
        sides.push(Side {
            ours,
            client,
            exact: Vec::new(),
        });
    }
    let mut sums = Vec::new();
    for side in &mut sides {
        side.load(rows)?;
        sums.push(side.checksum()?);
        side.exact(report)?;
    }
    ensure!(
        sums.windows(2).all(|pair| pair[0] == pair[1]),
        "the sides have different vectors, or another version of pgvector: {sums:?}"
    );
    for index in INDEXES {
        for side in &mut sides {
            side.build(index, report)?;
        }
        for round in 0..ROUNDS {
            for side in &mut sides {
                side.ask(index, round == 0, report)?;
            }
        }
        for side in &mut sides {
            side.client.run("DROP INDEX item_index")?;
        }
    }
    drop(sides);
    server.shutdown()?;
    Ok(())
}

/// A copy of native pgvector where the server's user can read it.
fn installed(pgvector: &Path) -> Result<Scratch> {
    let scratch = Scratch::new("pgvector")?;
    for dir in ["lib", "share/extension"] {
        let to = scratch.path().join(dir);
        std::fs::create_dir_all(&to)?;
        let from = pgvector.join(dir);
        for entry in
            std::fs::read_dir(&from).with_context(|| format!("listing {}", from.display()))?
        {
            let entry = entry?;
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(scratch)
}

impl Side {
    /// Makes the same vectors on each side: PostgreSQL's random numbers follow from their seed.
    fn load(&mut self, rows: u32) -> Result<()> {
        let client = &mut self.client;
        client.run("CREATE EXTENSION vector")?;
        client.run(&format!(
            "CREATE TABLE center (id int PRIMARY KEY, v float8[]);
             CREATE TABLE item (id int PRIMARY KEY, embedding vector({DIMENSIONS}));
             CREATE TABLE probe (id int PRIMARY KEY, v vector({DIMENSIONS}));
             SELECT setseed(0.25);
             INSERT INTO center SELECT n, (SELECT array_agg(random() - 0.5) FROM generate_series(1, {DIMENSIONS}) AS d WHERE n > 0)
             FROM generate_series(1, {CLUSTERS}) AS n"
        ))?;
        for (table, count) in [("item", rows), ("probe", PROBES)] {
            client.run(&format!(
                "INSERT INTO {table} SELECT n, (SELECT array_agg(x + (random() - 0.5) * 2) FROM unnest(c.v) AS x WHERE n > 0)::vector
                 FROM generate_series(1, {count}) AS n JOIN center AS c ON c.id = n % {CLUSTERS} + 1 ORDER BY n"
            ))?;
        }
        client.run("VACUUM ANALYZE")?;
        Ok(())
    }

    fn checksum(&mut self) -> Result<String> {
        let sql = "SELECT extversion || ' ' || (SELECT sum(hashtext(embedding::text)::int8) FROM item WHERE id % 50 = 0) FROM pg_extension WHERE extname = 'vector'";
        Ok(self.client.query(sql)?.first().to_owned())
    }

    /// What the server's process has used so far: ours is this one, native's is the backend. On a busy machine it says more than the clock.
    fn processor_time(&self) -> Result<Duration> {
        let process = if self.ours {
            "self".to_owned()
        } else {
            self.client.backend_pid().to_string()
        };
        let path = format!("/proc/{process}/stat");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        // Behind the name, which may hold anything: the 12th and 13th are ticks of 10 ms in user and system mode.
        let fields = text.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Ok(Duration::from_millis(10 * ticks))
    }

    fn neighbours(&mut self, probe: u32) -> Result<BTreeSet<String>> {
        let rows = self.client.query(&format!(
            "SELECT id FROM item ORDER BY embedding <-> (SELECT v FROM probe WHERE id = {probe}) LIMIT {NEIGHBOURS}"
        ))?;
        let found: BTreeSet<String> = rows
            .rows
            .into_iter()
            .filter_map(|row| row.into_iter().next().flatten())
            .collect();
        if found.len() != NEIGHBOURS as usize {
            bail!("{} neighbours of probe {probe}", found.len());
        }
        Ok(found)
    }

    /// The truth, without an index.
    fn exact(&mut self, report: &mut Report) -> Result<()> {
        for probe in 1..=PROBES {
            let begun = Instant::now();
            let found = self.neighbours(probe)?;
            report.time("vector, no index: 10 nearest", self.ours, begun.elapsed());
            self.exact.push(found);
        }
        Ok(())
    }

    fn build(&mut self, index: &Index, report: &mut Report) -> Result<()> {
        let (begun, used) = (Instant::now(), self.processor_time()?);
        self.client.run(index.create)?;
        report.time(
            &format!("vector, {}: build", index.name),
            self.ours,
            begun.elapsed(),
        );
        report.time(
            &format!("vector, {}: build, processor time", index.name),
            self.ours,
            self.processor_time()?.saturating_sub(used),
        );
        self.client.run(index.set)?;
        let plan = self.client.query(
            "EXPLAIN SELECT id FROM item ORDER BY embedding <-> (SELECT v FROM probe WHERE id = 1) LIMIT 10",
        )?;
        ensure!(
            format!("{:?}", plan.rows).contains("item_index"),
            "the index is not used: {:?}",
            plan.rows
        );
        Ok(())
    }

    fn ask(&mut self, index: &Index, tell_recall: bool, report: &mut Report) -> Result<()> {
        let mut hits = 0;
        for probe in 1..=PROBES {
            let begun = Instant::now();
            let found = self.neighbours(probe)?;
            report.time(
                &format!("vector, {}: 10 nearest", index.name),
                self.ours,
                begun.elapsed(),
            );
            hits += found.intersection(&self.exact[probe as usize - 1]).count();
        }
        if tell_recall {
            let all = f64::from(PROBES * NEIGHBOURS);
            let hits = f64::from(u32::try_from(hits)?);
            report.share(
                &format!("vector, {}: recall at 10", index.name),
                self.ours,
                hits / all,
            );
        }
        Ok(())
    }
}
