//! Sharpness-aware minimization without normalisation.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows};

rule! {
    /// `usam`: SAM whose perturbation is the gradient itself, not its direction,
    ///
    /// ```text
    /// g = grad f_B(x);   surrogate = grad f_B(x + rho g)
    /// ```
    ///
    /// The perturbation has the length `rho ||g||`: it may be long early in training, and vanishes at a stationary point.
    ///
    /// Cost: 2 evaluations a step.
    ///
    /// M. Andriushchenko, N. Flammarion, "Towards Understanding Sharpness-Aware Minimization", ICML 2022, arXiv 2206.06232;
    /// the name is from Y. Dai, K. Ahn, S. Sra 2023, arXiv 2305.15287. The paper's code, with its normalisation off, still
    /// projects on the ball of radius rho; that is the same while `||g|| <= 1`. The default radius is our own choice.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, Usam};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Usam::new(0.05), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Usam {
        rho as "rho" of Sam: f64 = 0.05;
    }
    spec {
        "usam",
        "grad f(x + rho g)",
        "Andriushchenko, Flammarion 2022, arXiv 2206.06232; Dai, Ahn, Sra 2023, arXiv 2305.15287",
    }
}

impl Usam {
    /// USAM with the factor `rho` of the gradient.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for Usam {
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
        if g.norm.host() == Some(0.0) {
            return Ok(Estimate::plain(g));
        }
        let ascended = f.gradient_at(cx.rho, &g.grad, Rows::All)?;
        Ok(Estimate::perturbed(&g, ascended.grad))
    }
}
