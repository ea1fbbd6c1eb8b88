//! `cargo xtask pgo`: trains the profile that the optimiser uses.

use anyhow::Result;
use clap::Args;

/// How to train.
#[derive(Args)]
pub struct Options {}

/// Not yet.
pub fn run(_options: &Options) -> Result<()> {
    anyhow::bail!("pgo")
}
