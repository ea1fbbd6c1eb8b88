//! The kernel object: process table, mounts, grants.

use std::sync::Arc;

use crate::memory::Machine;

/// What a kernel is made with.
pub struct KernelOptions {
    /// Runs the guests.
    pub machine: Arc<dyn Machine>,
}

/// One world of guest processes. Dropping the last handle after [`Kernel::kill_all`] frees everything.
pub struct Kernel {
    machine: Arc<dyn Machine>,
}

impl Kernel {
    /// What runs the guests.
    pub fn machine(&self) -> &dyn Machine {
        &*self.machine
    }
}
