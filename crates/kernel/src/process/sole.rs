//! Copied kernels of which only one process runs: as long as that is so, its shared memory needs no copy ([`crate::memory::Segment::duplicate`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::{Pid, Process};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::wait::lock;

/// Who runs.
#[derive(Default)]
pub(crate) struct Sole {
    /// True while at most one process has run since the copy was made. Segments look at it, too.
    holds: Arc<AtomicBool>,
    /// The one. Held while the state ends; its holder waits for nobody.
    runner: Mutex<Option<Pid>>,
    /// Everything is being ended: nobody will look at shared memory any more.
    closing: AtomicBool,
}

impl Sole {
    pub(crate) fn of_copy(holds: &Arc<AtomicBool>) -> Self {
        Self {
            holds: Arc::clone(holds),
            ..Self::default()
        }
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    fn holds(&self) -> bool {
        self.holds.load(Ordering::SeqCst)
    }
}

/// Makes what `process` has mapped visible to others; it stands still.
fn share(process: &Process) -> Result<(), Errno> {
    for (_, _, segment, _) in process.mm().shared() {
        segment.share()?;
    }
    Ok(())
}

impl Process {
    /// Before this process's memory is mapped to resume it: blocks until it may run beside those that do. Fails without memory for that.
    pub(crate) fn admit(&self) -> Result<(), Errno> {
        let kernel = self.kernel()?;
        let sole = kernel.sole();
        if !sole.holds() {
            return Ok(());
        }
        {
            let mut runner = lock(&sole.runner);
            if *runner.get_or_insert(self.pid) == self.pid || !sole.holds() {
                return Ok(());
            }
        }
        // Without the lock: the one that is to stop may want it first.
        kernel.while_stopped(|| {
            let runner = lock(&sole.runner);
            if !sole.holds.swap(false, Ordering::SeqCst) {
                return Ok(());
            }
            runner
                .and_then(|pid| kernel.process(pid))
                .map_or(Ok(()), |first| share(&first))
        })?
    }

    /// Before this process, which is in the kernel on its own thread, is joined by another one, or is no more.
    pub(crate) fn end_sole(&self, kernel: &Kernel) -> Result<(), Errno> {
        let sole = kernel.sole();
        if !sole.holds() || sole.closing.load(Ordering::SeqCst) {
            return Ok(());
        }
        let runner = lock(&sole.runner);
        if *runner != Some(self.pid) || !sole.holds() {
            return Ok(());
        }
        sole.holds.store(false, Ordering::SeqCst);
        share(self)
    }
}
