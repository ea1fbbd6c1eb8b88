//! Streams and listeners of a copied kernel.

use std::collections::HashMap;
use std::sync::Arc;

use super::socket::{Role, Socket};
use super::stream::{Duplex, StreamEnd};
use super::{HostStream, Listener, Net};
use crate::copy::Copier;
use crate::wait::lock;

/// The streams that were copied.
#[derive(Default)]
pub(crate) struct Streams(HashMap<usize, Copied>);

struct Copied {
    duplex: Arc<Duplex>,
    /// Which ends exist in the copy.
    made: [bool; 2],
}

impl Streams {
    /// The copy of an end; the streams of the bytes on their way are copied once.
    pub(crate) fn end(&mut self, end: &StreamEnd) -> StreamEnd {
        let copied = self
            .0
            .entry(end.duplex_address())
            .or_insert_with(|| Copied {
                duplex: end.copy_duplex(),
                made: [false; 2],
            });
        let side = end.side();
        copied.made[side] = true;
        StreamEnd::of_duplex(&copied.duplex, side, end.peer_pid())
    }

    /// One that was made otherwise.
    pub(super) fn note(&mut self, duplex: &Arc<Duplex>, made: [bool; 2]) {
        let duplex = Arc::clone(duplex);
        let key = Arc::as_ptr(&duplex).addr();
        self.0.insert(key, Copied { duplex, made });
    }

    /// True if the other end of this one is only in the original.
    pub(crate) fn is_orphan(&self, end: &StreamEnd) -> bool {
        self.0
            .get(&end.duplex_address())
            .is_some_and(|copied| !copied.made[1 - end.side()])
    }

    /// Ends that only the original has are closed in the copy, without a trace of what they had not read.
    pub(crate) fn close_lost_ends(&mut self) {
        for copied in self.0.values() {
            for side in 0..2 {
                if !copied.made[side] {
                    let lost = StreamEnd::of_duplex(&copied.duplex, side, 0);
                    lost.discard_unread();
                    drop(lost);
                }
            }
        }
    }
}

impl Net {
    pub(crate) fn copy(&self, copier: &mut Copier) -> Self {
        let net = Self::new();
        {
            let mut local = lock(&net.local);
            for (path, listener) in lock(&self.local).iter() {
                if let Some(listener) = listener.upgrade() {
                    local.insert(
                        path.clone(),
                        Arc::downgrade(&copy_listener(&listener, copier)),
                    );
                }
            }
        }
        net
    }
}

/// Without those who wait to be accepted: their ends are the original's.
fn copy_listener(listener: &Arc<Listener>, copier: &mut Copier) -> Arc<Listener> {
    let key = Arc::as_ptr(listener).addr();
    if let Some(copy) = copier.kept::<Arc<Listener>>(key) {
        return Arc::clone(copy);
    }
    let copy = Arc::new(Listener::default());
    copier.keep(key, Arc::clone(&copy));
    copy
}

impl Socket {
    pub(super) fn copy_socket(&self, copier: &mut Copier) -> Self {
        let (family, bound) = (self.family(), self.bound());
        let role = match self.role() {
            None => return Self::unconnected(family, bound),
            Some(Role::Listener(listener)) => Role::Listener(copy_listener(listener, copier)),
            // Nobody connects there.
            Some(Role::HostListener(_)) => Role::Listener(Arc::default()),
            Some(Role::Stream(end)) => Role::Stream(copier.streams.end(end)),
            Some(Role::HostSocket(_)) => {
                let (end, lost) = StreamEnd::socket_pair([0, 0]);
                drop(lost);
                Role::Stream(end)
            }
        };
        Self::connected(family, role, bound)
    }
}

impl HostStream {
    pub(crate) fn copy(&self, copier: &mut Copier) -> Self {
        Self::new(copier.streams.end(self.end()))
    }
}
