//! Adaptive sharpness-aware minimization.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows};
use flat_core::setting::Range;
use flat_core::{Number, ParamVec, Role, Update};

rule! {
    /// `asam`: SAM in a norm that scales with the weights,
    ///
    /// ```text
    /// T = |x| + eta on weights, 1 on biases;   g = grad f_B(x)
    /// surrogate = grad f_B(x + rho T^2 g / ||T g||)
    /// ```
    ///
    /// with products element by element and one norm over all parameters. Weights are those of linear and convolution layers
    /// and the gains of normalisation layers, as in the authors' code, which goes by the word `weight` in a parameter's name.
    /// A zero gradient gives no perturbation.
    ///
    /// Cost: 2 evaluations a step, and one pass over theta and the gradient.
    ///
    /// J. Kwon, J. Kim, H. Park, I. K. Choi, "ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep
    /// Neural Networks", ICML 2021, arXiv 2102.11600, Algorithm 1. Radii are ten times those of [`crate::Sam`]: 0.5 for
    /// CIFAR-10, 1.0 for CIFAR-100 in the paper. Its code updates BatchNorm's statistics in both passes; here the first does.
    /// A popular code has `T = |x|` on all parameters: `--asam-eta 0 --asam-all`.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, Asam};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Asam::new(0.5), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Asam {
        rho as "rho" of Sam: f64 = 0.5;
        /// Added to the size of each weight, so that a weight of 0 moves too.
        eta as "asam-eta": f64 = 0.01, range: Range::NonNegative;
        /// Scale biases and shifts by their size as well (not the paper's).
        all as "asam-all": bool = false;
    }
    spec {
        "asam",
        "grad f(x + rho T^2 g/||T g||), T = |x| + eta",
        "Kwon, Kim, Park, Choi 2021, arXiv 2102.11600, Algorithm 1",
    }
}

impl Asam {
    /// ASAM with radius `rho`; the paper uses 0.5 for CIFAR-10 and 1.0 for CIFAR-100.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for Asam {
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
        let masked = f.mask().map(|mask| g.grad.hadamard(mask)).transpose()?;
        let ascent = masked.as_ref().unwrap_or(&g.grad);
        let layout = f.space().layout.clone();
        let scale = |i: usize| match layout.entries()[i].role {
            Role::Bias | Role::NormShift if !self.all => Scaled { size: 0.0, eta: 1.0 },
            _ => Scaled { size: 1.0, eta: self.eta },
        };
        let on_device = g.norm.is_on_device();
        // <T^2 g, g> is the square of ||T g||
        let (direction, square) = ParamVec::recur([ascent, f.theta()?], [], scale, Some(0), on_device)?;
        let Some(by) = f.factor_of(cx.rho, &square.sqrt()?)? else { return Ok(Estimate::plain(g)) };
        let ascended = f.gradient_at(by, &direction, Rows::All)?;
        Ok(Estimate::perturbed(&g, ascended.grad))
    }
}

/// `T^2 g` with `T = size |x| + eta`.
struct Scaled {
    size: f64,
    eta: f64,
}

impl Update<2, 0> for Scaled {
    #[inline(always)]
    fn update<E: Number>(&self, _: E, [g, x]: [E; 2], _: [E; 0]) -> (E, [E; 0]) {
        let t = x.abs() * self.size + self.eta;
        (t.clone() * t * g, [])
    }
}
