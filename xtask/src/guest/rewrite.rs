//! later
use super::fences::Counts;
use anyhow::Result;
use std::path::Path;
pub(super) fn directory(_dir: &Path, _name: &str, _counts: Counts) -> Result<()> { anyhow::bail!("later") }
