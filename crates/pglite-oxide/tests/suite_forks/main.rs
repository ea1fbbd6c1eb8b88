//! Snapshots and forks: what a copy has, what it has not, and that it is independent.

mod archives;
mod busy;
#[path = "../common/mod.rs"]
mod common;
mod identity;
mod independence;
mod sessions;
mod state;

use common::{PATIENCE, eventually, first, refused, rows, run, text};
use pglite_oxide::Pglite;

/// The ways to a copy, so that what must hold for all is tested for all.
fn copies(db: &mut Pglite) -> Vec<(&'static str, Pglite)> {
    let snapshot = db.snapshot().unwrap();
    let mut restored = Pglite::temporary().unwrap();
    restored.restore(&snapshot).unwrap();
    vec![
        ("snapshot", snapshot.open().unwrap()),
        ("second of a snapshot", snapshot.open().unwrap()),
        ("fork", db.fork().unwrap()),
        ("restored", restored),
    ]
}
