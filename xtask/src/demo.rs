//! `cargo xtask demo`: the README's first command.

use anyhow::Result;

use crate::{process, suite};

/// Sets up what is missing and runs the quick start.
pub fn run() -> Result<()> {
    suite::assets()?;
    process::shown(suite::cargo().args([
        "run",
        "--quiet",
        "--package",
        "pglite-oxide",
        "--example",
        "quickstart",
    ]))
}
