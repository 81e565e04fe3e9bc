//! Sharpness-aware minimization where the gradient is unusually long.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Need, Oracle, Result, Rows};
use flat_core::setting::Range;

/// The variance before the first step.
const START: f64 = 4.539_992_976_248_485_4e-5;

rule! {
    /// `aesam`: a SAM step where the gradient is long for its time, a plain one elsewhere,
    ///
    /// ```text
    /// g = grad f_B(x);   m <- delta m + (1 - delta) ||g||^2;   v <- delta v + (1 - delta) (||g||^2 - m)^2
    /// ||g||^2 >= m + c_t sqrt(v):  surrogate = grad f_B(x + rho g / ||g||);   otherwise:  surrogate = g
    /// ```
    ///
    /// `c_t` goes linearly from one bound to the other along the run; `m` begins with 0 and `v` with e^-10. The length of g decides what comes next: one round trip to the device a step.
    ///
    /// Cost: 1 or 2 evaluations a step; announced is 2. State: two numbers.
    ///
    /// W. Jiang, H. Yang, Y. Zhang, J. Kwok, "An Adaptive Policy to Employ Sharpness-Aware Minimization", ICLR 2023, arXiv
    /// 2304.14647, AE-SAM: delta 0.9, c from 1 to -1. How m and v begin could not be checked on its text.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, AeSam};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::builder(&params).rule(AeSam::new(0.05)).base(Sgd::new(0.1)).steps(10).build()?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct AeSam {
        rho as "rho" of Sam: f64 = 0.05;
        /// Decay of the running mean and variance of the gradient's square.
        delta as "aesam-delta": f64 = 0.9, range: Range::BelowOne;
        /// Standard deviations above the mean at which steps perturb, at the start of the run.
        start as "aesam-start": f64 = 1.0, range: Range::Finite;
        /// The same at its end.
        end as "aesam-end": f64 = -1.0, range: Range::Finite;
    }
    state {
        /// m.
        mean: f64 = 0.0;
        /// v.
        variance: f64 = START;
    }
    spec {
        "aesam",
        "grad f(x + rho g/||g||) where ||g||^2 is long for its time, else g",
        "Jiang et al. 2023, arXiv 2304.14647",
    }
}

impl AeSam {
    /// AE-SAM with radius `rho`.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for AeSam {
    fn evals_per_step(&self, _: usize) -> f64 {
        2.0
    }
    fn least_evals(&self, _: usize) -> f64 {
        1.0
    }
    fn radius(&self, _: usize) -> f64 {
        self.rho
    }
    fn needs(&self) -> Vec<Need> {
        vec![Need::Steps]
    }
    #[expect(clippy::disallowed_methods, reason = "the gradient's length decides what comes next")]
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let g = f.gradient(Rows::All)?;
        let square = g.norm.value()?.powi(2);
        let mean = self.delta * self.mean + (1.0 - self.delta) * square;
        let variance = self.delta * self.variance + (1.0 - self.delta) * (square - mean).powi(2);
        let way = cx.known.steps.map_or(0.5, |steps| (cx.place as f64 / steps.max(1) as f64).min(1.0));
        let c = self.start + (self.end - self.start) * way;
        let ascended = if square >= mean + c * variance.sqrt() { f.ascend(cx.rho, &g)? } else { None };
        // on a device nobody has looked at it yet, and a step that is skipped leaves the state alone
        let finite = |x: &crate::Scalar| Ok::<_, crate::Error>(x.value()?.is_finite());
        if !finite(&g.loss)? || !square.is_finite() {
            return Ok(Estimate::plain(g));
        }
        let fine = ascended.as_ref().map_or(Ok(true), |a| Ok::<_, crate::Error>(finite(&a.norm)? && finite(&a.loss)?))?;
        if fine {
            (self.mean, self.variance) = (mean, variance);
        }
        Ok(Estimate::ascended(g, ascended))
    }
}
