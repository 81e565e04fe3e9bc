//! A rule at regular intervals.

use super::over_a_base;
use crate::state::visit_part;
use crate::{Ctx, Described, Error, Estimate, GradientRule, Need, Oracle, Plain, Result, StateVisitor, Stateful};
use flat_core::Space;

/// A rule at every k-th step, beginning with the first, and another one between.
///
/// [`crate::LookSam`] differs: it uses between what its last perturbed step has found. Each rule keeps its state while it rests.
///
/// Cost: that of the rules, in the mean `(rule + (k - 1) between) / k`.
///
/// ```
/// use flat_optim::{Every, Optimizer, Params, Query, Sam, Sgd};
/// # fn main() -> flat_optim::Result<()> {
/// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
/// let params = Params::new([("w".to_string(), w.clone())])?;
/// let mut optimizer = Optimizer::new(&params, Every::new(2, Sam::new(0.05)), Sgd::new(0.1))?;
/// let mut evals = || Ok::<_, flat_optim::Error>(optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?.evals);
/// assert_eq!([evals()?, evals()?, evals()?], [2.0, 1.0, 2.0]);
/// # Ok(())
/// # }
/// ```
pub struct Every {
    k: u64,
    rule: Box<dyn GradientRule>,
    between: Box<dyn GradientRule>,
    taken: u64,
}

impl Every {
    /// `rule` at every `k`-th step, the plain gradient between.
    pub fn new(k: u64, rule: impl Into<Box<dyn GradientRule>>) -> Self {
        Self { k, rule: rule.into(), between: Plain.into(), taken: 0 }
    }

    /// Another rule between.
    #[must_use]
    pub fn between(self, between: impl Into<Box<dyn GradientRule>>) -> Self {
        Self { between: between.into(), ..self }
    }

    /// The mean over k steps of what the rule costs and what the other one does.
    fn mixed(&self, rule: f64, between: f64) -> f64 {
        between + (rule - between) / self.k as f64
    }

    fn now(&self) -> &dyn GradientRule {
        if self.taken.is_multiple_of(self.k) { self.rule.as_ref() } else { self.between.as_ref() }
    }
}

impl Stateful for Every {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("taken", &mut self.taken)?;
        visit_part("rule", self.rule.as_mut(), visitor)?;
        visit_part("between", self.between.as_mut(), visitor)
    }
}

impl Described for Every {
    fn check(&self) -> Result<()> {
        if self.k == 0 {
            return Err(Error::option("rule-every", 0, "give at least 1"));
        }
        for rule in [&self.rule, &self.between] {
            over_a_base("rule-every", rule.as_ref())?;
            rule.check()?;
        }
        Ok(())
    }
    fn name(&self) -> &'static str {
        self.rule.name()
    }
}

impl GradientRule for Every {
    fn evals_per_step(&self, rows: usize) -> f64 {
        self.now().evals_per_step(rows)
    }
    fn mean_evals(&self, rows: usize) -> f64 {
        self.mixed(self.rule.mean_evals(rows), self.between.mean_evals(rows))
    }
    fn least_evals(&self, rows: usize) -> f64 {
        self.mixed(self.rule.least_evals(rows), self.between.least_evals(rows))
    }
    fn needs(&self) -> Vec<Need> {
        [self.rule.needs(), self.between.needs()].concat()
    }
    fn begin(&mut self, space: &Space) -> Result<()> {
        self.rule.begin(space)?;
        self.between.begin(space)
    }
    fn lags_statistics(&self) -> bool {
        self.rule.lags_statistics() || self.between.lags_statistics()
    }
    fn radius(&self, dim: usize) -> f64 {
        self.rule.radius(dim)
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let now = if self.taken.is_multiple_of(self.k) { &mut self.rule } else { &mut self.between };
        let estimate = now.estimate(f, cx)?;
        self.taken += 1;
        Ok(estimate)
    }
}
