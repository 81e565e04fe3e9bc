//! Who hears of a run as it goes on.

use crate::store::line::Line;
use std::ops::ControlFlow;

/// Hears of every step, epoch, evaluation and measure of a run.
pub trait Observer {
    /// A line, as `metrics.jsonl` has it; the lines of steps come here whether or not `--log-steps` writes them. `Break` asks
    /// the run to save a checkpoint and stop.
    fn line(&mut self, line: &Line) -> ControlFlow<()>;
}

/// Hears nothing and never stops a run.
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
