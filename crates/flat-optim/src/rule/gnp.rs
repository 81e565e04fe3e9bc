//! Gradient norm penalty.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows, Sample};
use flat_core::setting::Range;

rule! {
    /// `gnp`: penalises the norm of the gradient, lambda = alpha rho,
    ///
    /// ```text
    /// g = grad f_B(x);   g' = grad f_B(x + rho g / ||g||);   surrogate = (1 - alpha) g + alpha g'
    /// ```
    ///
    /// `alpha = 1` is [`crate::Sam`]. A zero gradient gives a plain step. The coupled form of [`crate::Wsam`] is the same formula.
    ///
    /// Cost: 2 evaluations a step.
    ///
    /// Y. Zhao, H. Zhang, X. Hu, "Penalizing Gradient Norm for Efficiently Improving Generalization in Deep Learning", ICML 2022,
    /// arXiv 2202.03599, Algorithm 1: r = rho = 0.1 (ImageNet 0.05), alpha = 0.8; its recipes clip at 5. Since 2024 the authors'
    /// code has the unit vector `g / ||g||` for g in the first term: `--gnp-unit`.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, Gnp};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Gnp::new(0.1), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Gnp {
        rho as "rho" of Sam: f64 = 0.1;
        /// Weight of the perturbed gradient, lambda / r of the paper.
        alpha as "gnp-alpha": f64 = 0.8, range: Range::Positive;
        /// Take the gradient's direction in place of the gradient in the first term, as the authors' code of today.
        unit as "gnp-unit": bool = false;
    }
    spec {
        "gnp",
        "(1 - alpha) g + alpha grad f(x + rho g/||g||)",
        "Zhao, Zhang, Hu 2022, arXiv 2202.03599, Algorithm 1",
    }
}

impl Gnp {
    /// GNP with radius `rho`, the paper's r.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for Gnp {
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
        if !self.unit {
            let mixed = g.mixed(self.alpha, &ascended.grad)?;
            return Ok(Estimate::perturbed(&g, mixed));
        }
        let Sample { loss, grad, norm } = g;
        let mut mixed = grad.direction(norm.is_on_device())?;
        mixed.scale(1.0 - self.alpha)?;
        mixed.add_scaled(self.alpha, &ascended.grad)?;
        Ok(Estimate::of(loss, norm, mixed))
    }
}
