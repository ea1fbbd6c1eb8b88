//! The cluster that was started when the assets were built, and is linked in, frozen: the first temporary database of a process opens from it and starts nothing.

use std::sync::OnceLock;

use pglite_oxide_cluster::Scope;

use crate::cache;
use crate::config::StartConfig;
use crate::snapshot::Snapshot;

/// A snapshot of it, if databases described by `start` can begin there: what they differ in is made by SQL afterwards. `None` also for a program without one, or one that cannot read it.
pub(crate) fn snapshot(start: &StartConfig) -> Option<&'static Snapshot> {
    static LOADED: OnceLock<Option<Snapshot>> = OnceLock::new();
    let mut settings = Vec::new();
    crate::extensions::add_settings(start, &mut settings);
    let plain = StartConfig {
        extensions: Vec::new(),
        ..start.clone()
    };
    if !settings.is_empty() || plain != StartConfig::default() {
        return None;
    }
    LOADED.get_or_init(load).as_ref()
}

fn load() -> Option<Snapshot> {
    match Snapshot::built_in() {
        Ok(snapshot) => snapshot,
        Err(error) => {
            tracing::warn!(%error, "the built-in cluster cannot be used: the first database starts in full");
            None
        }
    }
}

/// What the build of the assets links into programs: a temporary cluster with PostgreSQL's defaults, started here in full.
///
/// # Errors
/// When it does not start, or cannot be saved.
#[doc(hidden)]
pub fn built_in_image() -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let snapshot = cache::make(&StartConfig::default(), None)?;
    Ok(snapshot.image_for(Scope::Build)?)
}
