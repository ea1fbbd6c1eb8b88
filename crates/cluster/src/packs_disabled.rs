//! The twin of `packs` without the feature: there are no packs.

use pglite_oxide_kernel::fs::mem::MemFs;
use pglite_oxide_machine::Library;

/// An extension that is loaded at run time: there are none in a build without the feature `packs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pack {}

/// Why a pack cannot be used: never, without the feature `packs`.
#[derive(Debug, thiserror::Error)]
pub enum PackError {}

pub(crate) fn key(_packs: &[Pack]) -> Vec<String> {
    Vec::new()
}

/// What the packs require to be preloaded.
pub fn preloaded(_packs: &[Pack]) -> impl Iterator<Item = &str> {
    std::iter::empty()
}

#[expect(clippy::unnecessary_wraps, reason = "the twin may fail")]
pub(crate) fn add(_files: &MemFs, _packs: &[Pack]) -> Result<Vec<&'static Library>, PackError> {
    Ok(Vec::new())
}
