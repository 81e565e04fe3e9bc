//! Surrogate gap guided sharpness-aware minimization.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows, Sample};
use flat_core::setting::Range;

rule! {
    /// `gsam`: descends the perturbed loss, and ascends the loss where that leaves the perturbed one alone,
    ///
    /// ```text
    /// g = grad f_B(x);   g_p = grad f_B(x + rho g / ||g||)
    /// surrogate = g_p - alpha (g - <g, g_p> / ||g_p||^2 g_p)
    /// ```
    ///
    /// A zero `g` gives a plain step, a zero `g_p` the surrogate 0. The paper's radius follows the learning rate between two
    /// values: `--rho-schedule follow-lr --min-rho`. `alpha = 0` is [`crate::Sam`].
    ///
    /// Cost: 2 evaluations a step.
    ///
    /// J. Zhuang, B. Gong, L. Yuan, Y. Cui, H. Adam, N. Dvornek, S. Tatikonda, J. Duncan, T. Liu, "Surrogate Gap Minimization
    /// Improves Sharpness-Aware Training", ICLR 2022, arXiv 2203.08065, Algorithm 1. alpha 0.4 is that of the authors' example;
    /// ViT on ImageNet has alpha 0.6 and rho from 0.6 to 0.1. The radius 0.05 is our own choice (SAM's).
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, Gsam};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Gsam::new(0.05), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Gsam {
        rho as "rho" of Sam: f64 = 0.05;
        /// How much of the gradient's part orthogonal to the perturbed gradient is ascended.
        alpha as "gsam-alpha": f64 = 0.4, range: Range::NonNegative;
    }
    spec {
        "gsam",
        "g_p - alpha (the part of g orthogonal to g_p), g_p = grad f(x + rho g/||g||)",
        "Zhuang et al. 2022, arXiv 2203.08065, Algorithm 1",
    }
}

impl Gsam {
    /// GSAM with radius `rho`.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for Gsam {
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
        // 1, and 0 where g_p is zero: nothing is orthogonal to it then
        let there = ascended.norm.over(&ascended.norm)?;
        let Sample { loss, grad, norm } = g;
        let rest = grad.rejected(&ascended.grad, norm.is_on_device())?;
        let surrogate = ascended.grad.plus_by(&there.times(-self.alpha)?, &rest)?;
        Ok(Estimate::of(loss, norm, surrogate))
    }
}
