//! Snapshots of fresh clusters, kept in this process: a temporary database that is like one opened before starts from there, in a millisecond instead of tens.
//!
//! The first database of its kind opens from the built-in cluster (`built_in.rs`) where it can, and is started in full elsewhere, since a process that opens only one would pay for the
//! snapshot in vain.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pglite_oxide_cluster::{Cluster, Root};

use crate::built_in;
use crate::config::StartConfig;
use crate::connector::Connector;
use crate::error::Result;
use crate::session::Pglite;
use crate::snapshot::Snapshot;

/// Kinds of databases kept. Each takes some 20 MB.
const KEPT: usize = 8;

/// One kind: everything that a running cluster depends on.
struct Kind {
    start: StartConfig,
    slot: Arc<Mutex<Slot>>,
}

#[derive(Default)]
struct Slot {
    opened: bool,
    snapshot: Option<Snapshot>,
}

/// The least recently used one first.
static KINDS: Mutex<Vec<Kind>> = Mutex::new(Vec::new());

/// Locks a mutex whose data stays meaningful if a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slot(start: &StartConfig) -> Arc<Mutex<Slot>> {
    let mut kinds = lock(&KINDS);
    let known = kinds.iter().position(|kind| kind.start == *start);
    let kind = match known {
        Some(at) => kinds.remove(at),
        None => {
            if kinds.len() == KEPT {
                kinds.remove(0);
            }
            Kind {
                start: start.clone(),
                slot: Arc::default(),
            }
        }
    };
    let slot = Arc::clone(&kind.slot);
    kinds.push(kind);
    slot
}

/// The slot of this kind, if its databases may start from a copy.
fn slot_of(start: &StartConfig) -> Option<Arc<Mutex<Slot>>> {
    (start.root == Root::Temporary && start.template_cache && start.data.is_none())
        .then(|| slot(start))
}

/// A database of this kind that is a copy of a fresh one, for a server that is going to listen on these addresses; `None` if it is better started in full. Blocks while another thread
/// makes what it is a copy of.
pub(crate) fn open(start: &StartConfig, tcp: &[SocketAddr]) -> Result<Option<Pglite>> {
    let Some(slot) = slot_of(start) else {
        return Ok(None);
    };
    let mut slot = lock(&slot);
    if slot.snapshot.is_none() {
        let built_in = built_in::snapshot(start);
        let is_first = !std::mem::replace(&mut slot.opened, true);
        match built_in {
            Some(near) if is_first && !start.extensions.is_empty() => {
                drop(slot);
                let mut session = near.open_at(tcp)?;
                crate::extensions::create(start, &mut session)?;
                return Ok(Some(session));
            }
            None if is_first => return Ok(None),
            _ => slot.snapshot = Some(frozen(start, built_in)?),
        }
    }
    let snapshot = slot.snapshot.clone();
    drop(slot);
    snapshot.map(|snapshot| snapshot.open_at(tcp)).transpose()
}

/// Makes the next database of this kind quick, whether one was opened before or not.
pub(crate) fn prepare(start: &StartConfig) -> Result<()> {
    let Some(slot) = slot_of(start) else {
        return Ok(());
    };
    let mut slot = lock(&slot);
    if slot.snapshot.is_none() {
        slot.snapshot = Some(frozen(start, built_in::snapshot(start))?);
    }
    Ok(())
}

/// What databases of this kind are copies of: the built-in cluster itself, if they differ in nothing.
fn frozen(start: &StartConfig, built_in: Option<&Snapshot>) -> Result<Snapshot> {
    match built_in {
        Some(same) if start.extensions.is_empty() => Ok(same.clone()),
        near => make(start, near),
    }
}

/// A fresh cluster of this kind, frozen: started in full, or from one that is like it but for extensions.
pub(crate) fn make(start: &StartConfig, near: Option<&Snapshot>) -> Result<Snapshot> {
    let mut session = match near {
        Some(near) => near.open()?,
        None => {
            let cluster = Arc::new(Cluster::start(start.cluster_options()?)?);
            Connector::new(cluster, &start.username, &start.database).connect()?
        }
    };
    crate::extensions::create(start, &mut session)?;
    session.warm_up()?;
    session.snapshot()
}
