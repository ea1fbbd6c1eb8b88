//! `cargo xtask extensions`: the catalogue, and what is written from it into the checkout.

mod catalogue;
mod write;

use std::fs;

use anyhow::{Result, bail};
use clap::Args;

pub use catalogue::{Catalogue, Extension, Home, LIBCRYPTO, LIBXSLT, OptIn};

use crate::suite;

/// What to do.
#[derive(Args)]
pub struct Options {
    /// Only says whether the committed files follow from the catalogue
    #[arg(long)]
    check: bool,
}

/// Writes the committed files that follow from the catalogue, or checks them.
pub fn run(options: &Options) -> Result<()> {
    let workspace = suite::workspace()?;
    let catalogue = Catalogue::read(&workspace.join("guest"))?;
    let mut stale = Vec::new();
    for (path, text) in write::outputs(&workspace, &catalogue)? {
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            continue;
        }
        if options.check {
            stale.push(path.display().to_string());
        } else {
            fs::write(&path, text)?;
            println!("written: {}", path.display());
        }
    }
    if !stale.is_empty() {
        bail!(
            "not what the catalogue says: {}. Run: cargo xtask extensions",
            stale.join(", ")
        );
    }
    Ok(())
}
