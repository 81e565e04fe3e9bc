//! Randomly smoothed perturbation.

use super::{Gate, Nso, Sam};
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows};
use flat_core::setting::Needs;

rule! {
    /// `rsp`: Algorithm 1 of the paper,
    ///
    /// ```text
    /// if ||grad f(x)|| <= eps0:   u ~ Unif(S^{d-1});   v = Proj_perp_{grad f(x)} grad f(x + rho u)
    ///                             x <- x - eta (grad f(x) + v)
    /// else:                       x <- x - eta' grad f(x)
    /// ```
    ///
    /// u lies on one unit sphere over all parameters together. In the mean, v is (rho^2 / 2) grad tr(hess f) / d along the
    /// minima: the step drifts towards a smaller trace of the Hessian and, because v is orthogonal to the gradient, does not
    /// disturb the descent.
    ///
    /// A fixed rho moves one weight by `rho / sqrt(d)`, so it means less the larger the network. sigma means the same for every
    /// d: the loss rises by `sigma^2 / 2` times the trace of its Hessian, to second order.
    ///
    /// Cost: 2 evaluations a perturbed step, 1 beyond the gate. A finite gate costs a round trip to the device a step.
    ///
    /// K. Ahn, A. Jadbabaie, S. Sra, "How to Escape Sharp Minima with Random Perturbations", ICML 2024, arXiv 2305.15659,
    /// Algorithm 1.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Rsp, Sgd};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Rsp::new(0.5), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Rsp {
        rho as "rho" of Sam: Option<f64> = None, default_in_words: "by --sigma";
        sigma as "sigma" of Nso: f64 = 0.01, needs: Needs::Unset("rho");
    }
    with {
        /// Where it perturbs, and what it does elsewhere.
        gate: Gate;
    }
    spec {
        "rsp",
        "g + the part of grad f(x + rho u) orthogonal to g, u uniform on the sphere, rho = sigma sqrt(d)",
        "Ahn, Jadbabaie, Sra 2024, arXiv 2305.15659, Algorithm 1",
    }
    or &["rs"];
}

impl Rsp {
    /// RSP with radius `rho`.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(Some(rho))
    }
}

impl GradientRule for Rsp {
    fn evals_per_step(&self, _: usize) -> f64 {
        2.0
    }
    fn least_evals(&self, rows: usize) -> f64 {
        if self.gate.eps0.is_finite() { 1.0 } else { self.evals_per_step(rows) }
    }
    fn memoryless(&self) -> bool {
        true
    }
    fn radius(&self, dim: usize) -> f64 {
        self.rho.unwrap_or(self.sigma * (dim as f64).sqrt())
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let g = match self.gate.beyond(f.gradient(Rows::All)?, cx)? {
            Ok(g) => g,
            Err(plain) => return Ok(plain),
        };
        // u is the direction of a normal vector
        let z = cx.gaussian(0)?;
        match f.ascend_along(cx.rho, &z, g.norm.is_on_device())? {
            Some(there) => self.gate.combined(&g, &there.grad),
            None => Ok(Estimate::plain(g)),
        }
    }
}
