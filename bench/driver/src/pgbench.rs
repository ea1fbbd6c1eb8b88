//! PostgreSQL's own pgbench, of the native installation, against both.

use anyhow::{Context as _, Result, bail};
use pglite_oxide_native::{Cluster, Install};

use crate::report::Report;
use crate::settings;

/// What is run: name, arguments.
const RUNS: &[(&str, &[&str])] = &[
    ("pgbench -S, 1 client", &["-S", "-c", "1"]),
    (
        "pgbench -S -M prepared, 1 client",
        &["-S", "-M", "prepared", "-c", "1"],
    ),
    (
        "pgbench -S -M prepared, 4 clients",
        &["-S", "-M", "prepared", "-c", "4", "-j", "2"],
    ),
    ("pgbench TPC-B, 1 client", &["-c", "1"]),
    ("pgbench TPC-B, 4 clients", &["-c", "4", "-j", "2"]),
];

/// Runs it on both sides in turn.
pub(crate) fn run(install: &Install, quick: bool, report: &mut Report) -> Result<()> {
    let (rounds, seconds, scale) = if quick { (1, "1", "1") } else { (3, "4", "10") };
    let ours = crate::starts::ours()?;
    let native = Cluster::run(install, &settings())?;
    let sides = [(true, ours.database_url()), (false, native.tcp_url())];
    for (_, url) in &sides {
        pgbench(install, &["-i", "-q", "-s", scale, url])?;
    }
    for _ in 0..rounds {
        for (name, arguments) in RUNS {
            for (is_ours, url) in &sides {
                let mut all = vec!["-n", "-T", seconds];
                all.extend_from_slice(arguments);
                all.push(url);
                let said = pgbench(install, &all)?;
                report.rate(name, *is_ours, tps(&said)?);
            }
        }
    }
    ours.shutdown()?;
    Ok(())
}

fn pgbench(install: &Install, arguments: &[&str]) -> Result<String> {
    let output = install
        .client("pgbench")
        .args(arguments)
        .output()
        .context("starting pgbench")?;
    if !output.status.success() {
        bail!(
            "pgbench {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn tps(said: &str) -> Result<f64> {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .context("pgbench told no tps")?;
    Ok(line.split(' ').next().unwrap_or_default().parse()?)
}

#[cfg(test)]
mod tests {
    use super::tps;

    #[test]
    fn the_rate_is_read() {
        assert_eq!(
            tps("latency average = 0.1 ms\ntps = 1234.5 (without initial connection time)\n")
                .unwrap(),
            1234.5
        );
        assert!(tps("nothing").is_err());
    }
}
