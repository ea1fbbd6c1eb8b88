//! The clients, as data.

/// One client with its workload.
pub(super) struct Client {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What is run, in a few words.
    pub(super) what: &'static str,
    pub(super) kind: Kind,
    /// The packages whose versions the table shows, as the lock file of their kind names them.
    pub(super) packages: &'static [&'static str],
    /// Whether it can reach a server through a Unix socket.
    pub(super) unix: bool,
}

/// How a workload is run: by its language's own test runner, where that has one.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A test program of `clients/rust`.
    Rust(&'static str),
    /// A file of `clients/python`, by pytest.
    Python(&'static str),
    /// A file of `clients/node`, by Node's own test runner.
    Node(&'static str),
    /// The package of `clients/go`.
    Go,
    /// The program of `clients/java`.
    Java,
    /// The script of `clients/tools`, with native PostgreSQL's programs.
    Tools,
}

impl Kind {
    /// How many checks passed, by what the test runner printed.
    pub(super) fn passed(self, output: &str) -> usize {
        let lines = output.lines();
        match self {
            Self::Rust(_) => lines
                .filter(|line| line.starts_with("test ") && line.ends_with("... ok"))
                .count(),
            Self::Python(_) => lines
                .filter_map(|line| {
                    line.split_once(" passed")?
                        .0
                        .rsplit(' ')
                        .next()?
                        .parse::<usize>()
                        .ok()
                })
                .sum(),
            Self::Go => lines.filter(|line| line.starts_with("--- PASS")).count(),
            Self::Node(_) | Self::Java | Self::Tools => {
                lines.filter(|line| line.starts_with("ok ")).count()
            }
        }
    }
}

const fn client(
    name: &'static str,
    kind: Kind,
    packages: &'static [&'static str],
    what: &'static str,
) -> Client {
    Client {
        name,
        what,
        kind,
        packages,
        unix: true,
    }
}

/// All of them.
pub(super) const CLIENTS: &[Client] = &[
    client(
        "sqlx",
        Kind::Rust("sqlx"),
        &["sqlx"],
        "#[sqlx::test], migrate!, types, COPY, LISTEN, pool",
    ),
    client(
        "tokio-postgres",
        Kind::Rust("tokio_postgres"),
        &["tokio-postgres", "deadpool-postgres", "bb8-postgres"],
        "types, COPY, portals, LISTEN, cancel; in deadpool and bb8",
    ),
    client(
        "postgres",
        Kind::Rust("postgres"),
        &["postgres"],
        "the blocking client",
    ),
    client(
        "diesel",
        Kind::Rust("diesel"),
        &["diesel", "pq-sys"],
        "types, test_transaction, migrations, COPY, r2d2",
    ),
    client(
        "diesel-async",
        Kind::Rust("diesel_async"),
        &["diesel-async"],
        "test transaction, deadpool",
    ),
    client(
        "sea-orm",
        Kind::Rust("sea_orm"),
        &["sea-orm"],
        "entities, migrations there and back, transactions, pages",
    ),
    Client {
        unix: false,
        ..client(
            "forks",
            Kind::Rust("forks"),
            &["tokio-postgres"],
            "tokio-postgres on forks of a template, in the test's own process",
        )
    },
    client(
        "psycopg",
        Kind::Python("test_psycopg.py"),
        &["psycopg"],
        "types in text and binary, pipeline, COPY, LISTEN, cancel, pools",
    ),
    client(
        "psycopg2",
        Kind::Python("test_psycopg2.py"),
        &["psycopg2-binary"],
        "types, COPY, LISTEN, cancel, large objects, pool",
    ),
    client(
        "asyncpg",
        Kind::Python("test_asyncpg.py"),
        &["asyncpg"],
        "types in binary, COPY, LISTEN, cancel, cursor, pool",
    ),
    client(
        "pg8000",
        Kind::Python("test_pg8000.py"),
        &["pg8000"],
        "types, COPY, LISTEN",
    ),
    client(
        "sqlalchemy",
        Kind::Python("test_sqlalchemy.py"),
        &["SQLAlchemy"],
        "ORM and reflection on psycopg, psycopg2, asyncpg",
    ),
    client(
        "django",
        Kind::Python("test_django.py"),
        &["Django"],
        "migrations, its test runner in one and four processes",
    ),
    client(
        "node-pg",
        Kind::Node("pg.test.mjs"),
        &["pg"],
        "types, COPY, LISTEN, cancel, stream, pool",
    ),
    client(
        "postgres.js",
        Kind::Node("postgres.test.mjs"),
        &["postgres"],
        "types, COPY, LISTEN, cancel, cursor, pool",
    ),
    client(
        "knex",
        Kind::Node("knex.test.mjs"),
        &["knex"],
        "migrations there and back, transactions",
    ),
    client(
        "drizzle",
        Kind::Node("drizzle.test.mjs"),
        &["drizzle-orm"],
        "migrations, relations, on pg and postgres.js",
    ),
    client(
        "sequelize",
        Kind::Node("sequelize.test.mjs"),
        &["sequelize"],
        "models, sync, transactions",
    ),
    client(
        "typeorm",
        Kind::Node("typeorm.test.mjs"),
        &["typeorm"],
        "entities, migrations, transactions",
    ),
    client(
        "prisma",
        Kind::Node("prisma.test.mjs"),
        &["@prisma/client"],
        "Prisma Client on its adapter for pg; not its migrations",
    ),
    client("pgx", Kind::Go, &[], "pgx 4, pgxpool, database/sql; lib/pq"),
    Client {
        unix: false,
        ..client(
            "jdbc",
            Kind::Java,
            &[],
            "types, batches, COPY, LISTEN, cancel, metadata",
        )
    },
    client(
        "tools",
        Kind::Tools,
        &[],
        "native psql, pgbench, pg_dump, pg_restore, pg_basebackup and others",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_checks_are_counted() {
        let count = |kind: Kind, text| kind.passed(text);
        assert_eq!(
            count(Kind::Rust(""), "test a ... ok\ntest b ... FAILED\n"),
            1
        );
        assert_eq!(
            count(Kind::Python(""), "...\n1 failed, 11 passed in 2.3s\n"),
            11
        );
        assert_eq!(count(Kind::Node(""), "ok 1 - a\nnot ok 2 - b\n"), 1);
        assert_eq!(
            count(Kind::Go, "--- PASS: TestA (0.1s)\nok  \tclients\n"),
            1
        );
    }
}
