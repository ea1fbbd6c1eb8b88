//! `pglite bench`: pgbench inside the process.

use clap::Args;

use crate::database::Database;
use crate::outcome::Outcome;
use crate::tool::attach;

/// `pglite bench`.
#[derive(Args, Debug)]
pub struct Bench {
    #[command(flatten)]
    database: Database,
    /// Size of the tables: 100,000 accounts each
    #[arg(long, short = 's', value_name = "N", default_value_t = 1)]
    scale: u32,
    /// Concurrent sessions
    #[arg(long, short = 'C', value_name = "N", default_value_t = 1)]
    clients: u32,
    /// How long it runs
    #[arg(long, short = 'T', value_name = "SECONDS", default_value_t = 10)]
    seconds: u32,
    /// Only SELECTs
    #[arg(long, short = 'S')]
    select_only: bool,
    /// How statements are sent
    #[arg(long, short = 'M', value_name = "MODE", default_value = "prepared", value_parser = ["simple", "extended", "prepared"])]
    protocol: String,
    /// Uses the tables that are there
    #[arg(long)]
    no_init: bool,
    /// pgbench's own options
    #[arg(last = true, value_name = "PGBENCH OPTION")]
    args: Vec<String>,
}

/// Makes the tables and runs it.
pub fn run(options: Bench) -> Outcome {
    let open = options.database.open()?;
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|&w| w.to_owned()).collect() };
    let mut outcome = Ok(std::process::ExitCode::SUCCESS);
    if !options.no_init {
        let scale = options.scale.to_string();
        outcome = attach(&open, "pgbench", &words(&["-i", "-q", "-s", &scale]), false);
    }
    if matches!(&outcome, Ok(code) if *code == std::process::ExitCode::SUCCESS) {
        let (clients, seconds) = (options.clients.to_string(), options.seconds.to_string());
        let mut args = words(&["-c", &clients, "-T", &seconds, "-M", &options.protocol]);
        if options.select_only {
            args.push("-S".to_owned());
        }
        args.extend(options.args);
        outcome = attach(&open, "pgbench", &args, true);
    }
    open.close()?;
    outcome
}
