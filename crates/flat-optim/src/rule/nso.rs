//! Noise stability optimization.

use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows, Sample, Scalar};
use flat_core::setting::Range;

rule! {
    /// `nso`: the gradient of the loss smoothed by Gaussian noise, from antithetic pairs on the same batch,
    ///
    /// ```text
    /// U_j ~ N(0, sigma^2 I);   surrogate = (1 / 2k) sum_j [grad f_B(x + U_j) + grad f_B(x - U_j)]
    /// ```
    ///
    /// It never evaluates at x: the reported loss is the mean over the 2k points, the reported gradient norm that of the
    /// surrogate, and BatchNorm's running statistics are updated at x + U_1.
    ///
    /// Cost: 2k evaluations a step.
    ///
    /// H. Ju, D. Li, H. R. Zhang, "Noise Stability Optimization for Finding Flat Minima: A Hessian-based Regularization
    /// Approach", 2023, arXiv 2306.08553, Algorithm 1.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Nso, Sgd};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Nso::new(0.01), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Nso {
        /// Standard deviation of a weight's perturbation; the length rho is sigma sqrt(weights).
        sigma as "sigma": f64 = 0.01, range: Range::Positive;
        /// Antithetic pairs a step, k.
        pairs as "pairs": usize = 1, range: Range::AtLeast(1), metavar: "K";
    }
    spec {
        "nso",
        "mean of grad f(x + u) and grad f(x - u), u Gaussian",
        "Ju, Li, Zhang 2023, arXiv 2306.08553, Algorithm 1",
    }
}

impl Nso {
    /// NSO with noise of standard deviation `sigma` on every weight; the paper uses 0.008 to 0.014.
    pub fn new(sigma: f64) -> Self {
        Self::default().sigma(sigma)
    }
}

impl GradientRule for Nso {
    fn evals_per_step(&self, _: usize) -> f64 {
        2.0 * self.pairs as f64
    }
    fn memoryless(&self) -> bool {
        true
    }
    fn radius(&self, _: usize) -> f64 {
        self.sigma
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let weight = 1.0 / self.evals_per_step(f.rows());
        let (mut loss, mut grad) = (Scalar::from(0.0), flat_core::ParamVec::zeros(f.space())?);
        for j in 0..self.pairs as u64 {
            let u = cx.gaussian(j)?;
            for sigma in [cx.rho, -cx.rho] {
                let noisy = f.gradient_at(sigma, &u, Rows::All)?;
                loss = loss.plus(&noisy.loss.times(weight)?)?;
                grad.add_scaled(weight, &noisy.grad)?;
            }
        }
        let smoothed = Sample::new(loss, grad)?;
        Ok(Estimate { perturbed: true, ..Estimate::plain(smoothed) })
    }
}
