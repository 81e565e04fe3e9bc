//! Sharpness-aware minimization.

use crate::error::positive;
use crate::{Ctx, Error, Estimate, GradientRule, Oracle, Result, StateVisitor, Stateful};

/// Options of [`Sam`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamConfig {
    /// Perturbation radius; the paper uses 0.05 for CIFAR-10 and 0.1 for CIFAR-100.
    pub rho: f64,
    /// m-sharpness: perturb every micro-batch of this many examples by its own gradient, and average the perturbed
    /// gradients. `None`: one perturbation for the batch.
    pub m: Option<usize>,
}

impl Default for SamConfig {
    fn default() -> Self {
        Self { rho: 0.05, m: None }
    }
}

impl SamConfig {
    /// The rule.
    ///
    /// # Errors
    /// `rho` that is not a finite number above 0; `m` = 0.
    pub fn build(self) -> Result<Sam> {
        positive("rho", self.rho)?;
        if self.m == Some(0) {
            return Err(Error::option("m", 0, "a micro-batch holds at least one example"));
        }
        Ok(Sam { config: self })
    }
}

/// `sam`: the gradient at the first-order worst point within radius rho,
///
/// ```text
/// g = grad f_B(x);   surrogate = grad f_B(x + rho g / ||g||)
/// ```
///
/// with the norm over all parameters together. A zero gradient gives no perturbation. Weight decay takes no part in the
/// ascent: the base optimizer applies it at x. With m-sharpness, `f_B` above is each micro-batch of `m` examples (the
/// batch in ceil(rows / m) parts of nearly equal size) and surrogate, loss and gradient norm are averages over them.
///
/// Cost: 2 evaluations a step.
///
/// P. Foret, A. Kleiner, H. Mobahi, B. Neyshabur, "Sharpness-Aware Minimization for Efficiently Improving
/// Generalization", ICLR 2021, arXiv 2010.01412, Algorithm 1; m-sharpness: section 4.1.
#[derive(Debug, Clone)]
pub struct Sam {
    config: SamConfig,
}

impl Stateful for Sam {
    fn visit(&mut self, _: &mut dyn StateVisitor) -> Result<()> {
        Ok(())
    }
}

impl GradientRule for Sam {
    fn name(&self) -> &'static str {
        "sam"
    }
    fn evals_per_step(&self, _: usize) -> f64 {
        2.0
    }
    fn radius(&self, _: usize) -> f64 {
        self.config.rho
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let parts = self.config.m.map_or(1, |m| f.rows().div_ceil(m));
        f.average(parts, |f, rows| {
            let g = f.here(rows)?;
            let Some(by) = f.scale_to(cx.rho, &g)? else { return Ok(Estimate::plain(g)) };
            let ascended = f.displaced(by, &g.grad, rows)?;
            Ok(Estimate::perturbed(&g, ascended.grad))
        })
    }
}
