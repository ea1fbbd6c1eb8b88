//! `cargo xtask assets`: from pinned sources to static libraries, tree images and a manifest.
//!
//! The recipes themselves (what commands make musl, PostgreSQL, the translation) are in [`crate::guest`]; here they are joined into [`crate::cache`]d steps.

mod extensions;
mod finish;
mod pipeline;
mod share;
mod static_libraries;

use anyhow::Result;
use clap::Args;
use pglite_oxide_asset_locator as locator;

use crate::cache::Cache;
use crate::progress::Progress;

pub use pglite_oxide_toolchain::builder::host_target;
pub use pipeline::Builder;
pub use share::image;

/// What to build.
#[derive(Args, Default)]
pub struct Options {
    /// Target triple of the native objects [default: this host's]
    #[arg(long)]
    pub target: Option<String>,
    /// Instrumented objects, to train a profile with; they do not become the current assets
    #[arg(long)]
    pub profile_generate: bool,
    /// Prints the manifest
    #[arg(long)]
    pub print_manifest: bool,
    /// Also builds this extension, which is built only on request: postgis [default: those in PGLITE_OXIDE_WITH, separated by commas]
    #[arg(long, value_name = "EXTENSION")]
    pub with: Vec<String>,
    /// Forgets the result of this step first; may be given several times
    #[arg(long, value_name = "STEP")]
    pub force: Vec<String>,
}

/// Names the extensions that are asked for where no command line does: tests, suites.
const WITH: &str = "PGLITE_OXIDE_WITH";

/// The extensions that are asked for: `named`, or else those in the environment.
fn requested(named: &[String]) -> Vec<String> {
    if !named.is_empty() {
        return named.to_vec();
    }
    let text = std::env::var(WITH).unwrap_or_default();
    text.split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The profile that is an input of the build, if there is one: trained by `cargo xtask pgo`.
pub fn profile_path(workspace: &std::path::Path) -> std::path::PathBuf {
    workspace.join("guest/profile/postgres.profdata")
}

/// The prepared directory of every extension that is built, by its name; of those that are built on request, if `named` has them.
pub fn extension_trees(
    named: &[String],
) -> Result<std::collections::BTreeMap<String, std::path::PathBuf>> {
    let cache = Cache::open(&locator::cache_root()?, Progress::new())?;
    let builder = Builder::new(&cache, &host_target()?)?;
    extensions::trees(&builder.steps, &requested(named))
}

/// Builds what is missing and makes it current.
pub fn run(options: &Options) -> Result<()> {
    let target = match &options.target {
        Some(target) => target.clone(),
        None => host_target()?,
    };
    let cache = Cache::open(&locator::cache_root()?, Progress::new())?;
    for step in &options.force {
        crate::cache::remove_tree(&cache.root().join(step))?;
    }
    let builder = Builder::new(&cache, &target)?;
    let objects = builder.objects(options.profile_generate, &requested(&options.with))?;
    let assets = builder.assets(&objects)?;
    if options.profile_generate {
        println!("{}", assets.dir.display());
    } else {
        finish::make_current(&cache, &target, &assets)?;
    }
    if options.print_manifest {
        print!(
            "{}",
            std::fs::read_to_string(assets.join(locator::MANIFEST_FILE))?
        );
    }
    Ok(())
}
