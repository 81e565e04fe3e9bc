//! Sharpness-aware minimization.

use super::RuleSpec;
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Stateful};
use flat_core::setting::{Range, Settings};

flat_core::settings! {
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
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sam, Sgd};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Sam::new(0.05), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Sam {
        /// Radius of the perturbation: a length over all weights; usam: factor of the gradient; asam: relative to the weights; lpf:
        /// of the noise, relative to the norm of each filter.
        rho as "rho": f64 = 0.05, range: Range::Positive;
        /// Images a micro-batch: gradients are accumulated over them, and sam perturbs for each apart (m-sharpness).
        m as "micro-batch": Option<usize> = None, range: Range::AtLeast(1), default_in_words: "the batch";
    }
}

impl Sam {
    /// The entry of the table of rules.
    pub const SPEC: RuleSpec = RuleSpec::of::<Self>(
        "sam",
        "grad f(x + rho g/||g||)",
        "Foret et al. 2021, arXiv 2010.01412, Algorithm 1",
    );

    /// SAM with radius `rho`; the paper uses 0.05 for CIFAR-10 and 0.1 for CIFAR-100.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl Stateful for Sam {}

impl GradientRule for Sam {
    fn check(&self) -> Result<()> {
        Ok(Settings::check(self)?)
    }
    fn name(&self) -> &'static str {
        Self::SPEC.name
    }
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
        let parts = self.m.map_or(1, |m| f.rows().div_ceil(m));
        f.average(parts, |f, rows| {
            let g = f.gradient(rows)?;
            let Some(by) = f.scale_to(cx.rho, &g)? else { return Ok(Estimate::plain(g)) };
            let ascended = f.gradient_at(by, &g.grad, rows)?;
            Ok(Estimate::perturbed(&g, ascended.grad))
        })
    }
}
