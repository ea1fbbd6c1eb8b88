//! `pglite ext`: extensions of the user's own.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use pglite_oxide::Pack;
use pglite_oxide_asset_locator as locator;
use pglite_oxide_toolchain::Builder;
use pglite_oxide_toolchain::cache::{Cache, write_atomically};
use pglite_oxide_toolchain::extension::{self, Options};
use pglite_oxide_toolchain::progress::Progress;

use crate::outcome::Outcome;

/// What to do with extensions.
#[derive(Subcommand, Debug)]
pub enum Task {
    /// Compiles a PGXS extension, written in C, to a pack
    #[command(after_help = "\
The directory has a Makefile that includes $(PGXS), with MODULES or MODULE_big and OBJS, EXTENSION, DATA and so on, as for any
PostgreSQL. It is built in a copy, with a compiler that pglite fetches, to native code for this host.

The first build fetches the compilers and builds what extensions are compiled against, which takes some minutes; all of it is
kept in the directory that PGLITE_OXIDE_CACHE names [default: ~/.cache/pglite-oxide].")]
    Build(Build),
    /// Checks a pack and says what is in it
    Info {
        /// The pack
        file: PathBuf,
    },
}

/// `pglite ext build`.
#[derive(Args, Debug)]
pub struct Build {
    /// The extension's directory
    dir: PathBuf,
    /// The pack to write [default: NAME-VERSION.pgpack]
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Its library must be in shared_preload_libraries: whoever loads the pack has it preloaded
    #[arg(long)]
    preload: bool,
    /// The Rust target that the pack is for [default: that of this program]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

/// Carries it out.
pub fn run(task: Task) -> Outcome {
    match task {
        Task::Build(options) => build(options),
        Task::Info { file } => info(file),
    }
}

fn build(options: Build) -> Outcome {
    let told = |error: anyhow::Error| -> Box<dyn Error> { error.into() };
    let target = options
        .target
        .unwrap_or_else(|| pglite_oxide::target().to_owned());
    let cache = Cache::open(&locator::cache_root()?, Progress::new()).map_err(told)?;
    let builder = Builder::new(&cache, &target).map_err(told)?;
    let built = extension::build(
        &builder,
        &Options {
            dir: options.dir,
            preload: options.preload,
        },
    )
    .map_err(told)?;
    for name in &built.left_out {
        eprintln!("pglite: {name} is left out: a pack has no programs");
    }
    let manifest = &built.manifest;
    let output = options
        .output
        .unwrap_or_else(|| PathBuf::from(format!("{}-{}.pgpack", manifest.name, manifest.version)));
    write_atomically(&output, &built.bytes).map_err(told)?;
    println!("{}", output.display());
    Ok(ExitCode::SUCCESS)
}

fn info(file: PathBuf) -> Outcome {
    let pack = Pack::open(file)?;
    let manifest = pack.manifest();
    let list = |names: &[String]| {
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    println!("extension  {} {}", manifest.name, manifest.version);
    println!("target     {}", manifest.target);
    println!("core       {}", manifest.core);
    println!("requires   {}", list(&manifest.requires));
    println!("preloaded  {}", list(&manifest.preload));
    for (path, member) in &manifest.files {
        println!("{:>9}  {path}", member.bytes);
    }
    Ok(ExitCode::SUCCESS)
}
