//! The request to stop, as by SIGINT: a run saves a checkpoint and ends, a measure ends with what it has. And the request to
//! pause, which holds a run between two steps.

use crate::ranks;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static REQUESTS: AtomicUsize = AtomicUsize::new(0);
static OTHERWISE: AtomicBool = AtomicBool::new(false);
static PAUSED: AtomicBool = AtomicBool::new(false);
static LEFT: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    /// That all ranks, of which this thread is one, are to stop.
    static AGREED: Cell<bool> = const { Cell::new(false) };
}

/// Asks the run to stop; false where it was asked before.
pub fn request_stop() -> bool {
    REQUESTS.fetch_add(1, Ordering::SeqCst) == 0
}

/// Asks the run to stop for the system or for the process that started it. The first request of the person at the terminal is
/// still the first. Stores to an atomic alone, so that a signal's handler may call it.
pub fn request_stop_otherwise() {
    OTHERWISE.store(true, Ordering::SeqCst);
}

/// Whether the run was asked to stop; where it has several ranks, whether they have agreed that it was.
pub fn stop_requested() -> bool {
    match ranks::here().is_alone() {
        true => asked(),
        false => AGREED.get(),
    }
}

/// Whether this process was asked to stop, whatever its other ranks were.
pub fn asked() -> bool {
    REQUESTS.load(Ordering::SeqCst) > 0 || OTHERWISE.load(Ordering::SeqCst)
}

/// Has all ranks know whether one of them was asked to stop, or wants to; says so. Between two calls none stops, so that none waits for another.
///
/// # Errors
/// A rank that is gone.
pub(crate) fn agree(wants: bool) -> flat_comm::Result<bool> {
    let ranks = ranks::here();
    if ranks.is_alone() {
        return Ok(wants || asked());
    }
    let stops = ranks.any(wants || asked())?;
    if stops {
        AGREED.set(true);
    }
    Ok(stops)
}

/// Holds a run between two steps, or lets it go on; says which.
pub fn toggle_pause() -> bool {
    !PAUSED.fetch_xor(true, Ordering::SeqCst)
}

/// Whether runs are held.
pub fn is_paused() -> bool {
    PAUSED.load(Ordering::SeqCst)
}

/// Waits as long as runs are held and not asked to stop; returns how long that was.
pub(crate) fn wait_while_paused() -> Duration {
    let begun = Instant::now();
    while is_paused() && !stop_requested() {
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

/// What a library's callback answers: go on, unless the run was asked to stop.
pub fn go_on() -> ControlFlow<()> {
    if stop_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Notes what is left where the process ends now, in words.
pub fn leaves(what: impl Into<String>) {
    if let Ok(mut left) = LEFT.lock() {
        *left = Some(what.into());
    }
}

/// What was noted last; `None` where nothing was written, and while a note is made.
pub fn left() -> Option<String> {
    LEFT.try_lock().ok()?.clone()
}

/// Whether an error says that work was given up because of the request, by this crate or by a measure.
pub fn is_given_up(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let step = matches!(cause.downcast_ref(), Some(flat_optim::Error::Objective(e)) if e.is::<GivenUp>());
        step || cause.is::<GivenUp>() || matches!(cause.downcast_ref(), Some(flat_metrics::Error::Interrupted))
    })
}

/// Work was given up because the run was asked to stop; nothing of it counts.
#[derive(Debug)]
pub struct GivenUp;

impl std::fmt::Display for GivenUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("given up: the run was asked to stop")
    }
}

impl std::error::Error for GivenUp {}
