//! Sharpness-aware minimization with the gradient's length.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows};

rule! {
    /// `stablesam`: SAM's direction with the length of the gradient at x,
    ///
    /// ```text
    /// g = grad f_B(x);   g' = grad f_B(x + rho g / ||g||);   surrogate = ||g|| g' / ||g'||
    /// ```
    ///
    /// The rescaling is meant to widen the range of stable learning rates. A zero g gives a plain step, a zero g' the
    /// surrogate 0.
    ///
    /// Cost: 2 evaluations a step.
    ///
    /// C. Tan, J. Zhang, J. Liu, Y. Wang, Y. Hao, "Stabilizing Sharpness-aware Minimization Through A Simple Renormalization
    /// Strategy", 2024, arXiv 2401.07250. The radius 0.05 is our own choice (SAM's).
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, StableSam};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, StableSam::new(0.05), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct StableSam {
        rho as "rho" of Sam: f64 = 0.05;
    }
    spec {
        "stablesam",
        "||g|| g'/||g'||, g' = grad f(x + rho g/||g||)",
        "Tan et al. 2024, arXiv 2401.07250",
    }
}

impl StableSam {
    /// StableSAM with radius `rho`.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for StableSam {
    fn evals_per_step(&self, _: usize) -> f64 {
        2.0
    }
    fn memoryless(&self) -> bool {
        true
    }
    fn radius(&self, _: usize) -> f64 {
        self.rho
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let g = f.gradient(Rows::All)?;
        let Some(ascended) = f.ascend(cx.rho, &g)? else { return Ok(Estimate::plain(g)) };
        let surrogate = ascended.grad.scaled_by(&g.norm.over(&ascended.norm)?)?;
        Ok(Estimate::perturbed(&g, surrogate))
    }
}
