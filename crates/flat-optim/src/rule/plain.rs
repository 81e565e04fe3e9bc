//! The plain gradient.

use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows, StateVisitor, Stateful};

/// `plain`: the gradient of the batch, at 1 evaluation a step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Stateful for Plain {
    fn visit(&mut self, _: &mut dyn StateVisitor) -> Result<()> {
        Ok(())
    }
}

impl GradientRule for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }
    fn evals_per_step(&self, _: usize) -> f64 {
        1.0
    }
    fn radius(&self, _: usize) -> f64 {
        0.0
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, _: &Ctx<'_>) -> Result<Estimate> {
        Ok(Estimate::plain(f.here(Rows::All)?))
    }
}
