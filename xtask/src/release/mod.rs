//! `cargo xtask release`: the crates as they would be published, and a check of them as a user meets them.

mod check;
mod package;
mod stage;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::suite;

/// What is published; everything else in the workspace is for development.
const CRATES: [&str; 14] = [
    "asset-locator",
    "kernel",
    "machine",
    "aot",
    "aot-extensions",
    "aot-tools",
    "assets",
    "extensions-gpl",
    "extensions-postgis",
    "pack",
    "cluster",
    "pglite-oxide",
    "toolchain",
    "cli",
];

/// What to do.
#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lays the crates out, packages them as cargo would publish them, and checks their sizes
    Stage {
        /// Where [default: target/stage]
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Stages, then builds and runs programs that have nothing but the packages: minutes
    Check {
        /// Works in this directory and keeps it, instead of a temporary one. It must not be inside of a checkout
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// Carries the command out.
pub fn run(options: &Options) -> Result<()> {
    let default = suite::workspace()?.join("target/stage");
    match &options.command {
        Command::Stage { output } => {
            let stage = output.clone().unwrap_or(default);
            package::run(&stage::run(&stage)?)?;
            println!(
                "staged in {}: `cargo publish --workspace` there would upload this",
                stage.display()
            );
            Ok(())
        }
        Command::Check { dir } => {
            let packages = package::run(&stage::run(&default)?)?;
            check::run(&packages, dir.as_deref())
        }
    }
}
