//! How far an optimizer and its schedules have come.

use crate::{Result, StateVisitor, Stateful};

/// How far the schedules of an optimizer are that go by evaluations.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// In cheapest steps.
    pub(super) place: f64,
}

impl Stateful for Pace {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.number("place", &mut self.place)
    }
}

/// How far the optimizer has come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    pub(super) step: u64,
    pub(super) evals: f64,
    pub(super) skipped: u64,
    pub(super) consecutive_skips: u64,
}

impl Stateful for Progress {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("step", &mut self.step)?;
        visitor.number("evals", &mut self.evals)?;
        visitor.count("skipped", &mut self.skipped)?;
        visitor.count("consecutive_skips", &mut self.consecutive_skips)
    }
}
