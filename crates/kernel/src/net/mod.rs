//! Sockets, pipes and what multiplexes them.

/// PLACEHOLDER until the net engineer's work is in.
#[derive(Default)]
pub struct Net;

impl Net {
    /// Nothing granted.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}
