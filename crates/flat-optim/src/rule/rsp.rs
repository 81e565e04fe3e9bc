//! Randomly smoothed perturbation.

use crate::error::positive;
use crate::{Ctx, Error, Estimate, GradientRule, Oracle, Radius, Result, Rows, Sample, StateVisitor, Stateful};

/// Options of [`Rsp`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RspConfig {
    /// Perturbation radius.
    pub rho: Radius,
    /// The gate eps0: perturb only where the gradient norm is at most this. Infinite: always.
    pub gate: f64,
    /// eta', from which the schedule of the learning rate starts on the plain steps beyond the gate. `None`: the same
    /// learning rate as on perturbed steps.
    pub plain_lr: Option<f64>,
    /// Whether v is projected to be orthogonal to the gradient. The paper projects; `false` is an ablation.
    pub project: bool,
}

impl Default for RspConfig {
    fn default() -> Self {
        Self { rho: Radius::PerWeight(0.01), gate: f64::INFINITY, plain_lr: None, project: true }
    }
}

impl RspConfig {
    /// The rule.
    ///
    /// # Errors
    /// `rho` or `plain_lr` that is not a finite number above 0; a `gate` that is not above 0.
    pub fn build(self) -> Result<Rsp> {
        self.rho.checked()?;
        gate(self.gate, self.plain_lr)?;
        Ok(Rsp { config: self })
    }
}

/// Checks the options of the gate, which Algorithms 1 and 2 share.
pub(super) fn gate(gate: f64, plain_lr: Option<f64>) -> Result<()> {
    if gate.is_nan() || gate <= 0.0 {
        return Err(Error::option("gate", gate, "must be above 0 (inf perturbs every step)"));
    }
    if let Some(lr) = plain_lr {
        positive("plain_lr", lr)?;
    }
    Ok(())
}

/// Whether the gradient's norm lies beyond the gate. A finite gate waits for the device: what comes next depends on it.
pub(super) fn beyond(gate: f64, at_theta: &Sample) -> Result<bool> {
    Ok(gate.is_finite() && at_theta.norm.value()? > gate) // host read: a finite gate
}

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
/// Cost: 2 evaluations a perturbed step, 1 beyond the gate. A finite gate costs a round trip to the device a step.
///
/// K. Ahn, A. Jadbabaie, S. Sra, "How to Escape Sharp Minima with Random Perturbations", ICML 2024, arXiv 2305.15659,
/// Algorithm 1.
#[derive(Debug, Clone)]
pub struct Rsp {
    config: RspConfig,
}

impl Stateful for Rsp {
    fn visit(&mut self, _: &mut dyn StateVisitor) -> Result<()> {
        Ok(())
    }
}

impl GradientRule for Rsp {
    fn name(&self) -> &'static str {
        "rsp"
    }
    fn evals_per_step(&self, _: usize) -> f64 {
        2.0
    }
    fn radius(&self, dim: usize) -> f64 {
        self.config.rho.length(dim)
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let g = f.here(Rows::All)?;
        if beyond(self.config.gate, &g)? {
            return Ok(Estimate::plain(g).with_lr(self.config.plain_lr.map(|lr| cx.lr_from(lr))));
        }
        let u = cx.sphere()?;
        let mut v = f.displaced(cx.rho, &u, Rows::All)?.grad;
        if self.config.project {
            v = g.reject(v)?;
        }
        v.add_scaled(1.0, &g.grad)?;
        Ok(Estimate::perturbed(&g, v))
    }
}
