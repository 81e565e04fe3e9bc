//! The gradient gate and the rate behind it, shared by Algorithms 1 and 2 of Ahn, Jadbabaie and Sra.

use crate::{Ctx, Estimate, Result, Sample, Scalar};
use flat_core::ParamVec;
use flat_core::setting::Range;

stateful! {
    /// Where a rule perturbs, which rate it has elsewhere, and whether it projects.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Gate {
        /// Perturb only where the gradient's norm is at most this, the papers' eps0.
        eps0 as "eps0": f64 = f64::INFINITY, range: Range::PositiveOrInfinite, default_in_words: "inf, always";
        /// Learning rate of the steps beyond eps0, eta', from which the schedule starts there.
        plain_lr as "plain-lr": Option<f64> = None, range: Range::Positive, default_in_words: "--lr";
        /// Leave out the projection (ablation).
        no_project as "no-project": bool = false;
    }
}

impl Gate {
    /// The plain step, where the gradient's norm lies beyond the gate. A finite gate waits for the device: what comes next
    /// depends on it.
    #[expect(clippy::disallowed_methods, reason = "a finite gate: what comes next depends on it")]
    pub(super) fn beyond(&self, g: Sample, cx: &Ctx<'_>) -> Result<std::result::Result<Sample, Estimate>> {
        if self.eps0.is_finite() && g.norm.value()? > self.eps0 {
            return Ok(Err(Estimate::plain(g).with_lr(self.plain_lr.map(|lr| cx.lr_from(lr)))));
        }
        Ok(Ok(g))
    }

    /// The gradient and, orthogonal to it, the perturbed one: `v + (1 - c) g`, one pass for both.
    pub(super) fn combined(&self, g: &Sample, v: &ParamVec) -> Result<Estimate> {
        let whole = Scalar::from(1.0);
        let by = match self.no_project {
            true => whole,
            false => whole.plus(&v.coefficient(&g.grad, g.norm.is_on_device())?.times(-1.0)?)?,
        };
        Ok(Estimate::perturbed(g, v.plus_by(&by, &g.grad)?))
    }
}
