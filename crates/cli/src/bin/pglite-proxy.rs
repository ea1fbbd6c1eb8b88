//! `pglite-proxy`: serves a database to any PostgreSQL client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Parser};
use pglite_oxide::PgliteServer;
use pglite_oxide_cli::database::{Added, address, setting};
use pglite_oxide_cli::{outcome, serve};

/// Serves a database over TCP or a Unix socket until interrupted
#[derive(Parser)]
#[command(
    name = "pglite-proxy",
    version,
    group(ArgGroup::new("where").required(true)),
    after_help = "\
Examples:
  pglite-proxy --temporary --print-uri
  pglite-proxy --root ./data --tcp 127.0.0.1:5432 --postgres-config work_mem=64MB
  pglite-proxy --temporary --extension vector --extension pg_stat_statements --print-uri
  pglite-proxy --root ./data --unix /tmp/.s.PGSQL.5432"
)]
struct Cli {
    /// A database in memory
    #[arg(long, group = "where")]
    temporary: bool,
    /// The database in this directory; made if there is none
    #[arg(long, value_name = "DIR", group = "where")]
    root: Option<PathBuf>,
    /// Listens on this TCP address [default: a free port of 127.0.0.1, unless --unix is given]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    tcp: Option<SocketAddr>,
    /// Listens on this Unix socket
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Prints the URL for clients on standard output
    #[arg(long)]
    print_uri: bool,
    /// A setting of PostgreSQL; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    postgres_config: Vec<(String, String)>,
    #[command(flatten)]
    added: Added,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let print_uri = cli.print_uri;
    let start = move || {
        let builder = PgliteServer::builder()
            .postgres_configs(cli.postgres_config)
            .scram_iterations(serve::SCRAM_ITERATIONS);
        let mut builder = cli.added.add_to(builder);
        if let Some(root) = cli.root {
            builder = builder.path(root);
        }
        if let Some(address) = cli.tcp {
            builder = builder.tcp(address);
        }
        if let Some(path) = cli.unix {
            builder = builder.unix(path);
        }
        builder.start()
    };
    let tell = |server: &PgliteServer| {
        if print_uri {
            println!("{}", server.connection_uri());
        }
    };
    outcome::finish("pglite-proxy", serve::serve_until_interrupted(start, tell))
}
