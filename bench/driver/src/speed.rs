//! A speed suite of 18 tests of the kind that PGlite publishes (after SQLite's speedtest): single statements, transactions, indexes, joins, text.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;
use pglite_oxide_native::{Cluster, Install};
use pglite_oxide_wire::{Client, Config};

use crate::report::Report;
use crate::settings;

/// A fixed sequence, the same for both sides and in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = [
    "", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

/// A number in words: text of some length that differs from row to row.
fn words(n: u64) -> String {
    let mut out = String::new();
    let (thousands, hundreds, rest) = (n / 1000, n / 100 % 10, n % 100);
    if thousands > 0 {
        let _ = write!(out, "{} thousand ", words(thousands));
    }
    if hundreds > 0 {
        let _ = write!(out, "{} hundred ", ONES[hundreds as usize]);
    }
    match rest {
        0 if n > 0 => {}
        0..20 => out.push_str(ONES[rest as usize]),
        _ => {
            let _ = write!(
                out,
                "{} {}",
                TENS[(rest / 10) as usize],
                if rest % 10 == 0 {
                    ""
                } else {
                    ONES[(rest % 10) as usize]
                }
            );
        }
    }
    out.trim().to_owned()
}

fn inserts(table: &str, count: u64, numbers: &mut Numbers) -> Vec<String> {
    (1..=count)
        .map(|i| {
            let r = numbers.next(100_000);
            format!("INSERT INTO {table} VALUES({i},{r},'{}');", words(r))
        })
        .collect()
}

fn transaction(statements: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut text = String::from("BEGIN;");
    text.extend(statements);
    text.push_str("COMMIT;");
    vec![text]
}

/// Name and strings to send, one after the other; each string may hold many statements.
fn tests(scale: u64) -> Vec<(&'static str, Vec<String>)> {
    let mut numbers = Numbers(7);
    let n = |count: u64| count / scale;
    let range = |i: u64, step: u64| (i * step, i * step + step);
    vec![
        ("1: 1,000 INSERTs", {
            let mut all = vec!["CREATE TABLE t1(a INTEGER, b INTEGER, c VARCHAR(100));".to_owned()];
            all.extend(inserts("t1", n(1000), &mut numbers));
            all
        }),
        ("2: 25,000 INSERTs in a transaction", {
            let mut all = vec!["CREATE TABLE t2(a INTEGER, b INTEGER, c VARCHAR(100));".to_owned()];
            all.extend(inserts("t2", n(25_000), &mut numbers));
            transaction(all)
        }),
        ("3: 25,000 INSERTs into an indexed table", {
            let mut all = vec![
                "CREATE TABLE t3(a INTEGER, b INTEGER, c VARCHAR(100)); CREATE INDEX i3 ON t3(c);"
                    .to_owned(),
            ];
            all.extend(inserts("t3", n(25_000), &mut numbers));
            transaction(all)
        }),
        ("4: 100 SELECTs without an index", {
            transaction((0..n(100)).map(|i| {
                format!(
                    "SELECT count(*), avg(b) FROM t2 WHERE b>={} AND b<{};",
                    i * 100,
                    i * 100 + 1000
                )
            }))
        }),
        ("5: 100 SELECTs on a string comparison", {
            transaction((0..n(100)).map(|i| {
                format!(
                    "SELECT count(*), avg(b) FROM t2 WHERE c LIKE '%{}%';",
                    words(i)
                )
            }))
        }),
        (
            "6: creating indexes",
            vec!["CREATE INDEX i2a ON t2(a); CREATE INDEX i2b ON t2(b);".to_owned()],
        ),
        ("7: 5,000 SELECTs with an index", {
            (0..n(5000))
                .map(|i| {
                    let (from, to) = range(i, 100);
                    format!("SELECT count(*), avg(b) FROM t2 WHERE b>={from} AND b<{to};")
                })
                .collect()
        }),
        ("8: 1,000 UPDATEs without an index", {
            transaction((0..n(1000)).map(|i| {
                let (from, to) = range(i, 10);
                format!("UPDATE t1 SET b=b*2 WHERE a>={from} AND a<{to};")
            }))
        }),
        ("9: 25,000 UPDATEs with an index", {
            transaction(
                (1..=n(25_000))
                    .map(|i| format!("UPDATE t2 SET b={} WHERE a={i};", numbers.next(100_000))),
            )
        }),
        ("10: 25,000 text UPDATEs with an index", {
            transaction((1..=n(25_000)).map(|i| {
                format!(
                    "UPDATE t2 SET c='{}' WHERE a={i};",
                    words(numbers.next(100_000))
                )
            }))
        }),
        ("11: INSERTs from a SELECT", {
            transaction([
                "INSERT INTO t1 SELECT b,a,c FROM t2;".to_owned(),
                "INSERT INTO t2 SELECT b,a,c FROM t1;".to_owned(),
            ])
        }),
        (
            "12: DELETE without an index",
            vec!["DELETE FROM t2 WHERE c LIKE '%fifty%';".to_owned()],
        ),
        (
            "13: DELETE with an index",
            vec!["DELETE FROM t2 WHERE a>10 AND a<20000;".to_owned()],
        ),
        (
            "14: a big INSERT after a big DELETE",
            vec!["INSERT INTO t2 SELECT * FROM t1;".to_owned()],
        ),
        ("15: a big DELETE, many small INSERTs", {
            let mut all = vec!["DELETE FROM t1;".to_owned()];
            all.extend(inserts("t1", n(12_000), &mut numbers));
            transaction(all)
        }),
        ("16: joins, sorts and aggregates", {
            vec![
                "SELECT count(*) FROM t1 JOIN t3 USING (a) WHERE t1.b < t3.b;".to_owned(),
                "SELECT c, count(*), sum(b), avg(a) FROM t3 GROUP BY c ORDER BY 2 DESC, 1 LIMIT 100;".to_owned(),
                "SELECT * FROM t2 ORDER BY c, b DESC OFFSET 20000 LIMIT 10;".to_owned(),
                "SELECT sum(x) FROM (SELECT row_number() OVER (PARTITION BY b % 100 ORDER BY c) AS x FROM t3) q;".to_owned(),
            ]
        }),
        ("17: 1,000,000 rows computed", {
            vec![format!(
                "SELECT sum(i % 7 * 3), max(md5(i::text)), count(*) FILTER (WHERE i::numeric * 1.5 > 1000) FROM generate_series(1, {}) i;",
                n(1_000_000)
            )]
        }),
        (
            "18: DROP TABLEs",
            vec!["DROP TABLE t1; DROP TABLE t2; DROP TABLE t3;".to_owned()],
        ),
    ]
}

/// Runs it on both sides in turn.
pub(crate) fn run(install: &Install, quick: bool, report: &mut Report) -> Result<()> {
    let (rounds, scale) = if quick { (1, 10) } else { (5, 1) };
    let tests = tests(scale);
    let ours = crate::starts::ours()?;
    let native = Cluster::run(install, &settings())?;
    let mut clients = [
        (
            true,
            Client::connect(&Config::parse(&ours.database_url())?)?,
        ),
        (false, Client::connect(&Config::parse(&native.tcp_url())?)?),
    ];
    // The first round warms caches up and is not counted.
    for round in 0..=rounds {
        for (is_ours, client) in &mut clients {
            for (name, strings) in &tests {
                let begun = Instant::now();
                for sql in strings {
                    client.run(sql)?;
                }
                if round > 0 || quick {
                    report.time(&format!("speed {name}"), *is_ours, begun.elapsed());
                }
            }
        }
    }
    drop(clients);
    ours.shutdown()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn numbers_in_words() {
        assert_eq!(words(0), "zero");
        assert_eq!(words(40), "forty");
        assert_eq!(words(12_345), "twelve thousand three hundred forty five");
    }
}
