//! Guest processes: one address space and one thread each.

use std::sync::{Arc, Mutex, Weak};

use crate::errno::Errno;
use crate::fdtable::FdTable;
use crate::file::OpenFile;
use crate::kernel::Kernel;
use crate::memory::AddressSpace;
use crate::wait::{Sleeper, Waiter, lock};

/// A process number; unique in its kernel, never reused while it runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pid(pub i32);

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// `exit(code)`; 0 to 255.
    Exited(u8),
    /// Killed by a signal: `SIGKILL`, an unhandled one, or `SIGSEGV`/`SIGFPE`/`SIGILL` for a trap of the machine.
    Signaled(u8),
}

/// Working directory and file creation mask.
#[derive(Clone, Debug)]
pub struct FsContext {
    /// Absolute, normalised.
    pub cwd: String,
    /// Permission bits that new files do not get.
    pub umask: u32,
}

/// A guest process. Owned by the kernel's process table until reaped; its thread holds it as long as it runs.
pub struct Process {
    /// Its number.
    pub pid: Pid,
    kernel: Weak<Kernel>,
    space: Arc<dyn AddressSpace>,
    /// Descriptors; held only for table operations, never across a read or write.
    pub files: Mutex<FdTable>,
    /// Working directory and umask.
    pub fs: Mutex<FsContext>,
    waiter: Arc<Waiter>,
    // The process engineer adds: mm (crate::process::mm), signals (crate::process::signal), family (parent, group, session, children), timers, program name ...
}

impl Process {
    /// The kernel it belongs to; `ESRCH` while that is being torn down.
    pub fn kernel(&self) -> Result<Arc<Kernel>, Errno> {
        self.kernel.upgrade().ok_or(Errno::ESRCH)
    }

    /// Its memory.
    pub fn space(&self) -> &dyn AddressSpace {
        &*self.space
    }

    /// The open file behind a descriptor, or `EBADF`.
    pub fn file(&self, fd: i32) -> Result<Arc<OpenFile>, Errno> {
        lock(&self.files).get(fd)
    }
}

impl Sleeper for Process {
    fn waiter(&self) -> &Arc<Waiter> {
        &self.waiter
    }

    fn interrupted(&self) -> bool {
        false
    }
}
