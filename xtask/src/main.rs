//! `cargo xtask`: builds the assets, checks the machine, runs the suites. See `cargo xtask --help`.

#![allow(
    unreachable_pub,
    reason = "a program has no public items: `pub` says here what a module offers the others"
)]

mod assets;
mod bench;
mod clients;
mod demo;
mod doctor;
mod extensions;
mod pgo;
mod regress;
mod release;
mod sizes;
mod soak;
mod suite;

use std::process::ExitCode;

// As if they were modules of this program.
use pglite_oxide_toolchain::{cache, fetch, fingerprint, guest, process, progress, tools, unpack};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds and checks pglite-oxide.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetches sources and tools, builds PostgreSQL to native objects, makes the template cluster
    Assets(assets::Options),
    /// Says what is here, what is missing and where it will come from
    Doctor,
    /// Everything the README's commands need: the assets and the tools of the tests
    Setup,
    /// Sets up what is missing, then runs the quick start: direct API and SQLx
    Demo,
    /// Sets up what is missing, then runs every test
    Test(suite::Options),
    /// Lays a directory out as a tree image
    Image {
        /// The directory
        dir: std::path::PathBuf,
        /// The image to write
        file: std::path::PathBuf,
    },
    /// PostgreSQL's own core regression suite against the embedded server
    Regress(regress::Options),
    /// PostgreSQL's own isolation suite against the embedded server
    Isolation(regress::Options),
    /// The extensions' own regression tests against the embedded server
    Installcheck(regress::installcheck::Options),
    /// Dumps of the regression database, restored into ours and native PostgreSQL and dumped again: all equal
    Dumps(regress::DumpsOptions),
    /// Other people's clients, of Rust, Python, Node, Go and Java, against the server. Fetches them; no part of `test`
    Clients(clients::Options),
    /// Measures the embedded server beside native PostgreSQL
    Bench(bench::Options),
    /// What each extension adds to a stripped binary
    Sizes(sizes::Options),
    /// Tests that run for long, with the numbers that they are meant for
    Soak(soak::Options),
    /// Trains the profile that the optimiser uses and stores it as an input of the build
    Pgo(pgo::Options),
    /// Writes what follows from the catalogue of extensions: cargo features, constants, documentation
    Extensions(extensions::Options),
    /// Lays out what would be published
    Release(release::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Assets(options) => assets::run(&options)?,
        Command::Doctor => return doctor::run(),
        Command::Setup => suite::setup()?,
        Command::Demo => demo::run()?,
        Command::Test(options) => suite::run(&options)?,
        Command::Image { dir, file } => std::fs::write(file, assets::image(&dir)?)?,
        Command::Regress(options) => return regress::run(regress::Suite::Core, &options),
        Command::Isolation(options) => return regress::run(regress::Suite::Isolation, &options),
        Command::Installcheck(options) => return regress::installcheck::run(&options),
        Command::Dumps(options) => return regress::dumps(&options),
        Command::Clients(options) => return clients::run(&options),
        Command::Bench(options) => bench::run(&options)?,
        Command::Extensions(options) => extensions::run(&options)?,
        Command::Sizes(options) => sizes::run(&options)?,
        Command::Soak(options) => soak::run(&options)?,
        Command::Release(options) => release::run(&options)?,
        Command::Pgo(options) => pgo::run(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}
