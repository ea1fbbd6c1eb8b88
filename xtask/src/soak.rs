//! `cargo xtask soak`: tests that run for long, with the numbers that they are meant for.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{process, suite};

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Which
    what: What,
    /// A tenth of the numbers: to see that it runs
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// 10,000 copies one after the other, 100 at once, 1,000 idle connections: threads, descriptors, address space, memory
    Forks,
    /// 1,000 random histories of databases and their copies, compared with a model
    Model,
}

/// Runs it; figures go to standard output.
pub fn run(options: &Options) -> Result<()> {
    let (test, numbers): (&str, &[(&str, u32)]) = match options.what {
        What::Forks => (
            "suite_fork_soak",
            &[
                ("PGLITE_OXIDE_FORKS", 10_000),
                ("PGLITE_OXIDE_ALIVE", 100),
                ("PGLITE_OXIDE_CONNECTIONS", 1_000),
            ],
        ),
        What::Model => ("suite_fork_model", &[("PGLITE_OXIDE_CASES", 1_000)]),
    };
    let mut command = suite::cargo();
    command.args([
        "test",
        "--package",
        "pglite-oxide",
        "--test",
        test,
        "--",
        "--nocapture",
    ]);
    for &(name, number) in numbers {
        let number = if options.quick { number / 10 } else { number };
        command.env(name, number.to_string());
    }
    process::shown(&mut command)
}
