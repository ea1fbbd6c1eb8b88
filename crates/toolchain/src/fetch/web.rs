//! A project's own release site, through curl (every Debian and macOS has it or can do without: this is one source of several).

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// The host in an address.
pub(super) fn host(url: &str) -> &str {
    url.split("://")
        .nth(1)
        .unwrap_or(url)
        .split('/')
        .next()
        .unwrap_or(url)
}

/// Downloads `url` to `file`; gives up if no connection is made in 10 seconds or less than 10 kB/s come for as long.
pub(super) fn download(url: &str, file: &Path) -> Result<()> {
    let curl = process::which("curl").context("curl is not installed")?;
    let mut command = Command::new(curl);
    command.args([
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--proto",
        "=https",
        "--proto-redir",
        "=https",
    ]);
    command
        .args([
            "--connect-timeout",
            "10",
            "--speed-limit",
            "10000",
            "--speed-time",
            "10",
            "--output",
        ])
        .arg(file)
        .arg(url);
    process::output(&mut command).map(|_| ())
}
