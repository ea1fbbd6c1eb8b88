//! Snapshots of fresh clusters, kept in this process: a temporary database that is like one opened before starts from there, in a millisecond instead of tens.
//!
//! The first database of its kind is started in full, since a process that opens only one would pay for the snapshot in vain.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pglite_oxide_cluster::{Cluster, Root};

use crate::config::StartConfig;
use crate::connector::Connector;
use crate::error::Result;
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

/// A fresh temporary cluster of this kind, frozen; `None` if it is better started in full. Blocks while another thread makes it.
pub(crate) fn snapshot(start: &StartConfig, at_once: bool) -> Result<Option<Snapshot>> {
    if start.root != Root::Temporary || !start.template_cache || start.data.is_some() {
        return Ok(None);
    }
    let slot = slot(start);
    let mut slot = lock(&slot);
    if let Some(snapshot) = &slot.snapshot {
        return Ok(Some(snapshot.clone()));
    }
    if !std::mem::replace(&mut slot.opened, true) && !at_once {
        return Ok(None);
    }
    let cluster = Arc::new(Cluster::start(start.cluster_options()?)?);
    let connector = Connector::new(cluster, &start.username, &start.database);
    let mut session = connector.connect()?;
    crate::extensions::create(start, &mut session)?;
    session.warm_up()?;
    let snapshot = session.snapshot()?;
    slot.snapshot = Some(snapshot.clone());
    Ok(Some(snapshot))
}
