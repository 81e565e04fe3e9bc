//! Gradient extrapolation between a biased and a less biased batch.

use crate::{Batch, Ctx, Estimate, GradientRule, Need, Oracle, Result, Rows};
use flat_core::setting::Range;

/// The name of the less biased batch among the sources of an objective.
pub const LESS_BIASED: &str = "lb";

rule! {
    /// `gerne`: the gradient extrapolated from a batch `b` that is as biased as the data, past a batch `lb` that is less so,
    ///
    /// ```text
    /// g_b = grad f_b(x);   g_lb = grad f_lb(x);   surrogate = g_lb + beta (g_lb - g_b)
    /// ```
    ///
    /// Examples belong to groups of a class y and a spurious attribute a. Both batches draw classes alike, with replacement; `b`
    /// draws the attribute with its share alpha_ya in the data, `lb` with `alpha_ya + c (1/A - alpha_ya)` for A attributes. Whoever
    /// gives the batches draws them: `b` is the step's batch, `lb` the source [`LESS_BIASED`]. In expectation group (y, a) has the
    /// weight `alpha_ya + c (beta + 1) (1/A - alpha_ya)`: equal weights at `c (beta + 1) = 1`, and none is negative up to
    /// `beta = alpha_max / (c (alpha_max - 1/A)) - 1`. At beta -1 the rule is plain over `b`; at c 1 and beta 0 it is balanced
    /// resampling.
    ///
    /// Cost: 2 evaluations a step. No state. Loss and gradient norm are those of `b`, which also moves BatchNorm's statistics.
    ///
    /// I. Asaad, M. Shadaydeh, J. Denzler, "Gradient Extrapolation for Debiased Representation Learning", ICCV 2025,
    /// arXiv 2503.13236, Algorithm 1. The defaults c 0.5 and beta 1 are those of its example on coloured digits. Groups of a batch are
    /// drawn, where the paper fixes their sizes.
    ///
    /// ```
    /// use flat_optim::{Batch, Gerne, Need, Objective, Optimizer, Params, Query, Result, Sgd};
    ///
    /// /// Two batches whose losses are `(w - target)^2`.
    /// struct Batches(candle_core::Var, f64);
    /// impl Objective for Batches {
    ///     fn rows(&self) -> usize {
    ///         1
    ///     }
    ///     fn loss(&mut self, _: Query) -> Result<candle_core::Tensor> {
    ///         Ok((self.0.as_tensor() - self.1)?.sqr()?.sum_all()?)
    ///     }
    ///     fn offers(&self, need: Need) -> bool {
    ///         need == Need::Source("lb")
    ///     }
    ///     fn switch(&mut self, to: Batch) -> Result<usize> {
    ///         self.1 = if to == Batch::Step { 0.0 } else { 1.0 };
    ///         Ok(1)
    ///     }
    /// }
    /// # fn main() -> Result<()> {
    /// let w = candle_core::Var::new(&[3.0f64], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Gerne::new(1.0), Sgd::new(0.1).momentum(0.0))?;
    /// let report = optimizer.step(&mut Batches(w.clone(), 0.0))?;
    /// // g_b = 6, g_lb = 4: the surrogate is 2
    /// assert_eq!((report.evals, report.loss, report.surrogate_norm), (2.0, 9.0, 2.0));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Gerne {
        /// How far beyond the less biased batch its gradient is extrapolated; -1 or more.
        beta as "gerne-beta": f64 = 1.0, range: Range::From(-1.0);
        /// How far the attributes of the less biased batch are moved from their shares in the data (0) to equal shares (1).
        c as "gerne-c": f64 = 0.5, range: Range::Share;
    }
    spec {
        "gerne",
        "g_lb + beta (g_lb - g_b) of a biased and a less biased batch",
        "Asaad, Shadaydeh, Denzler 2025, arXiv 2503.13236, Algorithm 1",
    }
}

impl Gerne {
    /// GERNE that extrapolates by `beta`.
    pub fn new(beta: f64) -> Self {
        Self::default().beta(beta)
    }
}

impl GradientRule for Gerne {
    fn evals_per_step(&self, _: usize) -> f64 {
        2.0
    }
    fn radius(&self, _: usize) -> f64 {
        0.0
    }
    fn plain_at_zero_radius(&self) -> bool {
        false
    }
    fn needs(&self) -> Vec<Need> {
        vec![Need::Source(LESS_BIASED)]
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, _: &Ctx<'_>) -> Result<Estimate> {
        let biased = f.gradient(Rows::All)?;
        let less = f.on(Batch::Source(LESS_BIASED), |f| f.gradient(Rows::All))?;
        let mut surrogate = less.grad;
        surrogate.scale(1.0 + self.beta)?;
        surrogate.add_scaled(-self.beta, &biased.grad)?;
        Ok(Estimate::perturbed(&biased, surrogate))
    }
}
