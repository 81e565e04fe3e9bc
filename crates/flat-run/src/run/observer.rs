//! The observer of a run, which sees every line of its journal.

use crate::store::line::Line;
use std::ops::ControlFlow;

/// Sees every step, epoch, evaluation and measure of a run, and may stop it.
pub trait Observer {
    /// A line, as `metrics.jsonl` has it; the lines of steps come here whether or not `--log-steps` writes them. `Break` asks
    /// the run to save a checkpoint and stop.
    fn line(&mut self, line: &Line) -> ControlFlow<()>;
}

/// The observer that ignores everything and never stops a run.
pub struct Silent;

impl Observer for Silent {
    fn line(&mut self, _: &Line) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: FnMut(&Line) -> ControlFlow<()>> Observer for F {
    fn line(&mut self, line: &Line) -> ControlFlow<()> {
        self(line)
    }
}
