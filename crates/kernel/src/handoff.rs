//! Running a guest on the thread of the host that waits for its answer: no other thread is woken, none is switched to.
//!
//! While a host thread *holds*, a process that it wakes is not handed to the machine's threads but kept for it; when it has nothing to read it carries the
//! process itself until that parks again. What it has not carried when it stops holding goes the usual way.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::process::Process;

thread_local! {
    /// Processes woken by this thread, while it holds.
    static KEPT: RefCell<Option<Vec<Arc<Process>>>> = const { RefCell::new(None) };
}

/// The calling thread holds as long as this lives. It must not wait for anybody else meanwhile but by reading from a [`crate::net::HostStream`].
#[must_use = "the thread holds as long as this lives"]
pub struct Held {
    /// False for one inside another.
    outermost: bool,
    /// Of this thread.
    _thread: PhantomData<*const ()>,
}

impl Held {
    pub(crate) fn new() -> Self {
        let outermost = KEPT.with_borrow_mut(|kept| {
            let first = kept.is_none();
            kept.get_or_insert_default();
            first
        });
        Self {
            outermost,
            _thread: PhantomData,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.outermost {
            hand_over(KEPT.take());
        }
    }
}

fn hand_over(kept: Option<Vec<Arc<Process>>>) {
    for process in kept.into_iter().flatten() {
        process.hand_over();
    }
}

/// True if the process was kept for this thread.
pub(crate) fn keep(process: &Arc<Process>) -> bool {
    KEPT.with_borrow_mut(|kept| {
        if let Some(kept) = kept {
            kept.push(Arc::clone(process));
        }
        kept.is_some()
    })
}

/// Before the thread waits: what it keeps must run elsewhere.
pub(crate) fn flush() {
    let kept = KEPT.with_borrow_mut(|kept| kept.as_mut().map(std::mem::take));
    hand_over(kept);
}

/// Carries a process that was kept, until it parks or ends; false if there is none. What that process wakes goes the usual way.
pub(crate) fn carry_one() -> bool {
    let Some(process) = KEPT.with_borrow_mut(|kept| kept.as_mut()?.pop()) else {
        return false;
    };
    let Ok(kernel) = process.kernel() else {
        return true;
    };
    let rest = KEPT.take();
    kernel.machine().carry(process);
    KEPT.set(rest);
    true
}
