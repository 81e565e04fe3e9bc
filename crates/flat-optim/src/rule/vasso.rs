//! Variance suppression for sharpness-aware minimization.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows};
use flat_core::setting::Range;
use flat_core::{Number, ParamVec, Space, Update};

rule! {
    /// `vasso`: SAM along a running mean of the gradients, which varies less from batch to batch,
    ///
    /// ```text
    /// g = grad f_B(x);   d <- (1 - theta) d + theta g (g at first);   surrogate = grad f_B(x + rho d / ||d||)
    /// ```
    ///
    /// It keeps what [`crate::Fsam`] takes away. `theta = 1` is [`crate::Sam`]; `d = 0` gives a plain step.
    ///
    /// Cost: 2 evaluations a step, and one pass over gradient and mean. State: one vector.
    ///
    /// B. Li, G. B. Giannakis, "Enhancing Sharpness-Aware Optimization Through Variance Suppression", NeurIPS 2023, arXiv
    /// 2309.15639, Algorithm 2. theta 0.9 is that of the authors' configuration; the radius 0.05 is our own choice (SAM's).
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, Vasso};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Vasso::new(0.05), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct Vasso {
        rho as "rho" of Sam: f64 = 0.05;
        /// Share of the step's gradient in the running mean.
        theta as "vasso-theta": f64 = 0.9, range: Range::Fraction;
    }
    state {
        /// d.
        mean: Option<ParamVec> = None;
        /// Steps taken.
        taken: u64 = 0;
    }
    spec {
        "vasso",
        "grad f(x + rho d/||d||), d a running mean of the gradients",
        "Li, Giannakis 2023, arXiv 2309.15639, Algorithm 2",
    }
}

impl Vasso {
    /// VaSSO with radius `rho`.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for Vasso {
    fn evals_per_step(&self, _: usize) -> f64 {
        2.0
    }
    fn radius(&self, _: usize) -> f64 {
        self.rho
    }
    fn begin(&mut self, space: &Space) -> Result<()> {
        self.mean = Some(ParamVec::zeros(space)?);
        Ok(())
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let g = f.gradient(Rows::All)?;
        let Some(mean) = &self.mean else { return Ok(Estimate::plain(g)) };
        let on_device = g.norm.is_on_device();
        let of = Mixed { theta: if self.taken == 0 { 1.0 } else { self.theta } };
        let (direction, _) = ParamVec::recur([&g.grad, mean], [], |_| &of, None, on_device)?;
        let ascended = f.ascend_along(cx.rho, &direction, on_device)?;
        self.mean = Some(direction);
        self.taken += 1;
        Ok(Estimate::ascended(g, ascended))
    }
}

struct Mixed {
    theta: f64,
}

impl Update<2, 0> for Mixed {
    #[inline(always)]
    fn update<E: Number>(&self, _: E, [g, d]: [E; 2], _: [E; 0]) -> (E, [E; 0]) {
        (d * (1.0 - self.theta) + g * self.theta, [])
    }
}
