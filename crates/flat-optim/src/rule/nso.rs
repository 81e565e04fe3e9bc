//! Noise stability optimization.

use crate::error::positive;
use crate::{Ctx, Error, Estimate, GradientRule, Oracle, Result, Rows, Sample, Scalar, StateVisitor, Stateful};

/// Options of [`Nso`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NsoConfig {
    /// Standard deviation of the noise on every parameter; the paper uses 0.008 to 0.014. `rho / sqrt(d)` matches the
    /// radius of [`crate::Rsp`].
    pub sigma: f64,
    /// Antithetic pairs a step.
    pub k: usize,
}

impl Default for NsoConfig {
    fn default() -> Self {
        Self { sigma: 0.01, k: 1 }
    }
}

impl NsoConfig {
    /// The rule.
    ///
    /// # Errors
    /// `sigma` that is not a finite number above 0; `k` = 0.
    pub fn build(self) -> Result<Nso> {
        positive("sigma", self.sigma)?;
        if self.k == 0 {
            return Err(Error::option("k", 0, "at least one pair a step"));
        }
        Ok(Nso { config: self })
    }
}

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
#[derive(Debug, Clone)]
pub struct Nso {
    config: NsoConfig,
}

impl Stateful for Nso {
    fn visit(&mut self, _: &mut dyn StateVisitor) -> Result<()> {
        Ok(())
    }
}

impl GradientRule for Nso {
    fn name(&self) -> &'static str {
        "nso"
    }
    fn evals_per_step(&self, _: usize) -> f64 {
        2.0 * self.config.k as f64
    }
    fn radius(&self, _: usize) -> f64 {
        self.config.sigma
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let weight = 1.0 / self.evals_per_step(f.rows());
        let (mut loss, mut grad) = (Scalar::from(0.0), flat_core::ParamVec::zeros(f.space())?);
        for j in 0..self.config.k as u64 {
            let u = cx.gaussian(j)?;
            for sigma in [cx.rho, -cx.rho] {
                let noisy = f.displaced(sigma, &u, Rows::All)?;
                loss = loss.plus(&noisy.loss.times(weight)?)?;
                grad.add_scaled(weight, &noisy.grad)?;
            }
        }
        let smoothed = Sample::new(loss, grad)?;
        Ok(Estimate { perturbed: true, ..Estimate::plain(smoothed) })
    }
}
