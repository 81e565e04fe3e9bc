//! Sharpness-aware minimization.

use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows};
use flat_core::setting::Range;

rule! {
    /// `sam`: the gradient at the first-order worst point within radius rho,
    ///
    /// ```text
    /// g = grad f_B(x);   surrogate = grad f_B(x + rho g / ||g||)
    /// ```
    ///
    /// with the norm over all parameters together. A zero gradient gives no perturbation. Weight decay takes no part in the
    /// ascent: the base optimizer applies it at x. With n ascents, each goes `rho / n` along the gradient where it starts,
    /// so that the ball of radius rho is never left. [`crate::PerPart`] is its m-sharpness.
    ///
    /// Cost: 1 + n evaluations a step, 2 by default.
    ///
    /// P. Foret, A. Kleiner, H. Mobahi, B. Neyshabur, "Sharpness-Aware Minimization for Efficiently Improving
    /// Generalization", ICLR 2021, arXiv 2010.01412, Algorithm 1.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sam, Sgd};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Sam::new(0.05), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Sam {
        /// Radius of the perturbation: a length over all weights; usam: factor of the gradient; asam: relative to the weights; lpf:
        /// of the noise, relative to the norm of each filter.
        rho as "rho": f64 = 0.05, range: Range::Positive;
        /// Ascents a step, each of rho / steps.
        steps as "sam-steps": usize = 1, range: Range::AtLeast(1), metavar: "N";
    }
    spec {
        "sam",
        "grad f(x + rho g/||g||)",
        "Foret et al. 2021, arXiv 2010.01412, Algorithm 1",
    }
}

impl Sam {
    /// SAM with radius `rho`; the paper uses 0.05 for CIFAR-10 and 0.1 for CIFAR-100.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for Sam {
    fn evals_per_step(&self, _: usize) -> f64 {
        1.0 + self.steps as f64
    }
    fn memoryless(&self) -> bool {
        true
    }
    fn radius(&self, _: usize) -> f64 {
        self.rho
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let g = f.gradient(Rows::All)?;
        let length = cx.rho / self.steps as f64;
        let Some(by) = f.scale_to(length, &g)? else { return Ok(Estimate::plain(g)) };
        let mut ascended = f.gradient_at(by.clone(), &g.grad, Rows::All)?;
        if self.steps > 1 {
            let mut way = g.grad.scaled_by(&by)?;
            for _ in 1..self.steps {
                let Some(by) = f.scale_to(length, &ascended)? else { break };
                way = way.plus_by(&by, &ascended.grad)?;
                ascended = f.gradient_at(1.0, &way, Rows::All)?;
            }
        }
        Ok(Estimate::perturbed(&g, ascended.grad))
    }
}
