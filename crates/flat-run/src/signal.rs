//! The request to stop, as by SIGINT: a run saves a checkpoint and ends, a measure ends with what it has.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static REQUESTS: AtomicUsize = AtomicUsize::new(0);
static PARENT: AtomicBool = AtomicBool::new(false);

/// Asks the run to stop; false where it was asked before.
pub fn request_stop() -> bool {
    REQUESTS.fetch_add(1, Ordering::SeqCst) == 0
}

/// Asks the run to stop in the name of the process that started it; the user's first request is still the first.
pub fn request_stop_by_parent() {
    PARENT.store(true, Ordering::SeqCst);
}

/// Whether the run was asked to stop.
pub fn stop_requested() -> bool {
    REQUESTS.load(Ordering::SeqCst) > 0 || PARENT.load(Ordering::SeqCst)
}

/// What a library's callback answers: go on, unless the run was asked to stop.
pub fn go_on() -> ControlFlow<()> {
    if stop_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
