//! `pglite`: an embedded PostgreSQL from the command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pglite_oxide_cli::{bench, doctor, dump, outcome, restore, serve, tool};

/// A whole PostgreSQL 18 in this process: nothing to install, nothing left behind.
#[derive(Parser)]
#[command(
    name = "pglite",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  pglite psql                               a database in memory, for as long as psql runs
  pglite psql --path ./data                 the one in ./data, made if there is none
  pglite run -- cargo test                  tests with DATABASE_URL set to a fresh database
  pglite serve --path ./data                serves ./data; the first line is its URL
  pglite dump --path ./data -F custom -o backup.dump
  pglite restore --path ./copy backup.dump

Exit code: 0 when all went well, 1 for an error; psql, run and tool exit as their program does."
)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Serves a database until interrupted; prints its URL on standard output
    #[command(after_help = "\
Examples:
  pglite serve                              in memory, on a free port
  pglite serve --path ./data --tcp 127.0.0.1:5432 -c log_statement=all")]
    Serve(serve::Served),
    /// Runs a command with DATABASE_URL and PGHOST, PGPORT, ... set to a database of its own; exits as the command does
    #[command(after_help = "\
Examples:
  pglite run -- cargo test
  pglite run -- pytest
  pglite run --path ./data -- psql -c 'SELECT 1'")]
    Run {
        #[command(flatten)]
        database: serve::Served,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
    /// PostgreSQL's interactive terminal, on a database of this process
    #[command(after_help = "\
Examples:
  pglite psql
  pglite psql --path ./data -d shop -- -c 'SELECT count(*) FROM orders'
  pglite psql --path ./data -- -f schema.sql -v ON_ERROR_STOP=1
  pglite psql --path ./data < schema.sql

psql runs in the sandbox. It sees the working directory (\\i, \\copy and \\o work there) and the files that -f, -o and
-L name; no other file, no ~/.psqlrc, no environment variable, and no program of the host (\\!).")]
    Psql(tool::Psql),
    /// Dumps a database to standard output or a file
    #[command(after_help = "\
Examples:
  pglite dump --path ./data > data.sql
  pglite dump --path ./data -F custom -o data.dump -- --schema=app
  pglite dump --path ./data -F directory -j 4 -o data.d
  pglite dump --path ./data --all -o everything.sql

The directory is locked meanwhile: a database that is being served is dumped with pg_dump and its URL.")]
    Dump(dump::Dump),
    /// Restores a dump: SQL, custom, tar or directory format, told apart by themselves
    #[command(after_help = "\
Examples:
  pglite restore --path ./new data.sql
  pglite restore --path ./new data.dump -- --no-owner
  pglite restore --path ./new -j 4 data.d
  zcat data.sql.gz | pglite restore --path ./new --single-transaction -")]
    Restore(restore::Restore),
    /// Measures a database with pgbench
    #[command(after_help = "\
Examples:
  pglite bench
  pglite bench --path ./bench -s 10 -C 4 -T 30 --select-only")]
    Bench(bench::Bench),
    /// Runs another of PostgreSQL's programs; lists them without a name
    #[command(after_help = "\
Examples:
  pglite tool
  pglite tool --path ./data vacuumdb -- --all --analyze
  pglite tool --path ./data pg_amcheck -- --install-missing
  pglite tool --path ./data pg_basebackup -- -D backup -X fetch")]
    Tool(tool::Tool),
    /// Builds extensions of your own, and looks into packs
    #[cfg(feature = "ext")]
    #[command(after_help = "\
Examples:
  pglite ext build ./my_extension
  pglite psql --extension-pack my_extension-1.0.pgpack -- -c 'CREATE EXTENSION my_extension'
  pglite ext info my_extension-1.0.pgpack")]
    Ext {
        #[command(subcommand)]
        task: pglite_oxide_cli::ext::Task,
    },
    /// Checks that everything works here
    Doctor,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Task::Serve(database) => serve::serve(database),
        Task::Run { database, command } => serve::run(database, &command),
        Task::Psql(options) => tool::psql(options),
        Task::Dump(options) => dump::run(options),
        Task::Restore(options) => restore::run(options),
        Task::Bench(options) => bench::run(options),
        Task::Tool(options) => tool::tool(options),
        #[cfg(feature = "ext")]
        Task::Ext { task } => pglite_oxide_cli::ext::run(task),
        Task::Doctor => doctor::run(),
    };
    outcome::finish("pglite", outcome)
}
