//! Sharpness as a weighted regularisation term.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows, Then};
use flat_core::setting::Range;

rule! {
    /// `wsam`: the loss plus a multiple of its sharpness, alpha = gamma / (1 - gamma),
    ///
    /// ```text
    /// g = grad f_B(x);   g' = grad f_B(x + rho g / ||g||)
    /// decoupled:  the base takes g;   then x <- x - lr alpha (g' - g)
    /// coupled:    the base takes (1 - alpha) g + alpha g'
    /// ```
    ///
    /// Decoupled, the sharpness enters neither momentum nor AdamW's moments. Where the gradient is clipped, the factor that
    /// shortens g shortens `g' - g` as well (the authors' code clips each). Coupled with gamma 1/2 it is [`crate::Sam`]; gamma 0 is
    /// the plain gradient at twice the cost. A zero gradient gives a plain step.
    ///
    /// Cost: 2 evaluations a step.
    ///
    /// Y. Yue, J. Jiang, Z. Ye, N. Gao, Y. Liu, K. Zhang, "Sharpness-Aware Minimization Revisited: Weighted Sharpness as a
    /// Regularization Term", KDD 2023, arXiv 2305.15817, Algorithms 1 and 2. Defaults are those of the authors' class.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, Wsam};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Wsam::new(0.05), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Wsam {
        rho as "rho" of Sam: f64 = 0.05;
        /// Weight of the sharpness; the loss has 1 - gamma.
        gamma as "wsam-gamma": f64 = 0.9, range: Range::BelowOne;
        /// Give the base the weighted sum of both gradients, so that the sharpness enters its moments.
        coupled as "wsam-coupled": bool = false;
    }
    spec {
        "wsam",
        "g, and beside the base alpha (grad f(x + rho g/||g||) - g), alpha = gamma/(1 - gamma)",
        "Yue et al. 2023, arXiv 2305.15817, Algorithms 1 and 2",
    }
}

impl Wsam {
    /// WSAM with radius `rho`.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for Wsam {
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
        let alpha = self.gamma / (1.0 - self.gamma);
        if self.coupled {
            let mixed = g.mixed(alpha, &ascended.grad)?;
            return Ok(Estimate::perturbed(&g, mixed));
        }
        let mut sharpness = ascended.grad.plus(-1.0, &g.grad)?;
        sharpness.scale(alpha)?;
        Ok(Estimate { perturbed: true, then: Then::And(sharpness), ..Estimate::plain(g) })
    }
}
