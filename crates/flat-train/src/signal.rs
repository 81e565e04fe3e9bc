//! SIGINT and SIGTERM: the first asks the run to save and stop, the second aborts.

use anyhow::Context;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

static RECEIVED: AtomicUsize = AtomicUsize::new(0);

/// Starts to listen; call once, from the command line tool.
pub fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if RECEIVED.fetch_add(1, Ordering::SeqCst) == 0 {
            eprintln!("interrupted: stopping (once more aborts at once)");
        } else {
            std::process::exit(130);
        }
    })
    .context("cannot listen for SIGINT and SIGTERM")
}

/// Whether the run was asked to stop.
pub fn stop_requested() -> bool {
    RECEIVED.load(Ordering::SeqCst) > 0
}

/// What a library's callback answers: go on, unless the run was asked to stop.
pub fn go_on() -> ControlFlow<()> {
    if stop_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
