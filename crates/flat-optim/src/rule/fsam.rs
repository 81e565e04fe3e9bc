//! Friendly sharpness-aware minimization.

use super::{Sam, Spare};
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows};
use flat_core::setting::Range;
use flat_core::{Number, ParamVec, Space, Update};

flat_core::named! {
    /// When [`Fsam`] takes the gradient into its mean.
    pub enum Order, "order" {
        /// After the direction is found, beginning with the first gradient: the authors' code.
        Code = "code",
        /// Before, beginning with zero: the paper's text.
        Paper = "paper",
    }
}

rule! {
    /// `fsam`: SAM along what the gradient has beyond its running mean,
    ///
    /// ```text
    /// g = grad f_B(x)
    /// code:   d = g - sigma m (g at first);   m <- lambda m + (1 - lambda) g (g at first)
    /// paper:  m <- lambda m + (1 - lambda) g (m = 0 before);   d = g - sigma m
    /// surrogate = grad f_B(x + rho d / ||d||)
    /// ```
    ///
    /// The mean is that of the raw gradients. `d = 0` gives a plain step. `sigma = 0` is [`crate::Sam`].
    ///
    /// Cost: 2 evaluations a step, and one pass over gradient and mean. State: one vector, and a spare one.
    ///
    /// T. Li, P. Zhou, Z. He, X. Cheng, X. Huang, "Friendly Sharpness-Aware Minimization", CVPR 2024, arXiv 2403.12350, Algorithm
    /// 1. The default order is that of the authors' code. sigma 1 and lambda 0.9 are those of their class, rho 0.1 that of
    /// their training script.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, Fsam};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Fsam::new(0.1), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct Fsam {
        rho as "rho" of Sam: f64 = 0.1;
        /// How much of the mean gradient is taken from the direction.
        sigma as "fsam-sigma": f64 = 1.0, range: Range::NonNegative;
        /// Decay of the mean gradient.
        lambda as "fsam-lambda": f64 = 0.9, range: Range::BelowOne;
        /// When the gradient enters its mean: after the direction is found (code), or before (paper).
        order as "fsam-order": Order = Order::Code;
    }
    state {
        /// The mean gradient.
        mean: Option<ParamVec> = None;
        /// Where the next mean is written, so that a step that fails leaves the mean alone.
        spare: Spare = Spare::default();
        /// Steps taken.
        taken: u64 = 0;
    }
    spec {
        "fsam",
        "grad f(x + rho d/||d||), d = g - sigma (mean of the gradients)",
        "Li et al. 2024, arXiv 2403.12350, Algorithm 1",
    }
}

impl Fsam {
    /// F-SAM with radius `rho`.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for Fsam {
    fn evals_per_step(&self, _: usize) -> f64 {
        2.0
    }
    fn radius(&self, _: usize) -> f64 {
        self.rho
    }
    fn begin(&mut self, space: &Space) -> Result<()> {
        (self.mean, self.spare) = (Some(ParamVec::zeros(space)?), Spare(Some(ParamVec::zeros(space)?)));
        Ok(())
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let g = f.gradient(Rows::All)?;
        let (Some(mean), Some(next)) = (&self.mean, &mut self.spare.0) else { return Ok(Estimate::plain(g)) };
        let (first, on_device) = (self.taken == 0, g.norm.is_on_device());
        let Self { sigma, lambda, .. } = *self;
        let (direction, _) = match self.order {
            Order::Code if first => recur(&g.grad, mean, next, After { sigma: 0.0, lambda: 0.0 }, on_device),
            Order::Code => recur(&g.grad, mean, next, After { sigma, lambda }, on_device),
            Order::Paper => recur(&g.grad, mean, next, Before { sigma, lambda }, on_device),
        }?;
        let ascended = f.ascend_along(cx.rho, &direction, on_device)?;
        // nothing can fail from here on
        std::mem::swap(&mut self.mean, &mut self.spare.0);
        self.taken += 1;
        Ok(Estimate::ascended(g, ascended))
    }
}

/// The direction with its norm, and the next mean: one pass.
fn recur(
    g: &ParamVec,
    mean: &ParamVec,
    next: &mut ParamVec,
    of: impl Update<2, 1> + Copy,
    on_device: bool,
) -> Result<(ParamVec, crate::Scalar)> {
    Ok(ParamVec::recur([g, mean], [next], |_| of, None, on_device)?)
}

#[derive(Clone, Copy)]
struct After {
    sigma: f64,
    lambda: f64,
}

impl Update<2, 1> for After {
    #[inline(always)]
    fn update<E: Number>(&self, _: E, [g, m]: [E; 2], _: [E; 1]) -> (E, [E; 1]) {
        let next = m.clone() * self.lambda + g.clone() * (1.0 - self.lambda);
        (g - m * self.sigma, [next])
    }
}

#[derive(Clone, Copy)]
struct Before {
    sigma: f64,
    lambda: f64,
}

impl Update<2, 1> for Before {
    #[inline(always)]
    fn update<E: Number>(&self, _: E, [g, m]: [E; 2], _: [E; 1]) -> (E, [E; 1]) {
        let m = m * self.lambda + g.clone() * (1.0 - self.lambda);
        (g - m.clone() * self.sigma, [m])
    }
}
