//! A rule on each part of the batch.

use super::over_a_base;
use crate::{Ctx, Described, Error, Estimate, GradientRule, Need, Oracle, Result, Stateful};
use flat_core::Space;

/// m-sharpness: the rule runs on each part of at most m examples as if that were the batch. The estimates are
/// averaged by the sizes of the parts.
///
/// The batch is cut into ceil(rows / m) parts of nearly equal size, or into a given number of them ([`Self::in_parts`]). Only a rule without memory from step to step can run on
/// parts. Micro-batches are something else: they accumulate the gradient of one perturbed point.
///
/// Cost: that of the rule on the parts. Foret et al. 2021, arXiv 2010.01412, section 4.1, for SAM.
///
/// ```
/// use flat_optim::{Optimizer, Params, PerPart, Query, Sam, Sgd, WithRows};
/// # fn main() -> flat_optim::Result<()> {
/// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
/// let params = Params::new([("w".to_string(), w.clone())])?;
/// let mut optimizer = Optimizer::new(&params, PerPart::new(16, Sam::new(0.05)), Sgd::new(0.1))?;
/// let mut batch = WithRows::new(64, |_: Query| w.sqr()?.sum_all());
/// assert_eq!(optimizer.step(&mut batch)?.evals, 2.0);
/// # Ok(())
/// # }
/// ```
pub struct PerPart {
    cut: Cut,
    rule: Box<dyn GradientRule>,
}

/// How a batch is cut.
#[derive(Clone, Copy)]
enum Cut {
    /// Into parts of so many examples at most.
    Examples(usize),
    /// Into so many parts.
    Parts(usize),
}

impl PerPart {
    /// `rule` on parts of at most `m` examples.
    pub fn new(m: usize, rule: impl Into<Box<dyn GradientRule>>) -> Self {
        Self { cut: Cut::Examples(m), rule: rule.into() }
    }

    /// `rule` on so many parts: on the grains of ranks that share a batch out.
    pub fn in_parts(parts: usize, rule: impl Into<Box<dyn GradientRule>>) -> Self {
        Self { cut: Cut::Parts(parts), rule: rule.into() }
    }

    fn parts(&self, rows: usize) -> usize {
        match self.cut {
            Cut::Examples(m) => rows.div_ceil(m.max(1)),
            Cut::Parts(parts) => parts.clamp(1, rows.max(1)),
        }
    }
}

impl Stateful for PerPart {}

impl Described for PerPart {
    fn check(&self) -> Result<()> {
        let (name, number) = match self.cut {
            Cut::Examples(m) => ("m", m),
            Cut::Parts(parts) => ("grains", parts),
        };
        if number == 0 {
            return Err(Error::option(name, 0, "give at least 1"));
        }
        over_a_base(name, self.rule.as_ref())?;
        if !self.rule.memoryless() {
            let why =
                format!("{} is not a rule for parts of a batch (it has a state or parts of its own)", self.rule.name());
            return Err(Error::option(name, number, why));
        }
        self.rule.check()
    }
    fn name(&self) -> &'static str {
        self.rule.name()
    }
}

impl GradientRule for PerPart {
    fn evals_per_step(&self, rows: usize) -> f64 {
        self.rule.evals_per_step(rows.div_ceil(self.parts(rows).max(1)))
    }
    fn least_evals(&self, rows: usize) -> f64 {
        self.rule.least_evals(rows.div_ceil(self.parts(rows).max(1)))
    }
    fn needs(&self) -> Vec<Need> {
        self.rule.needs()
    }
    fn begin(&mut self, space: &Space) -> Result<()> {
        self.rule.begin(space)
    }
    fn lags_statistics(&self) -> bool {
        self.rule.lags_statistics()
    }
    fn radius(&self, dim: usize) -> f64 {
        self.rule.radius(dim)
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let parts = self.parts(f.rows());
        f.average_within(parts, |f, part| self.rule.estimate(f, &cx.of_part(part)))
    }
}
