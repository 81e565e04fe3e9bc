//! The plain gradient.

use super::RuleSpec;
use crate::{Ctx, Described, Estimate, GradientRule, Oracle, Result, Rows, Stateful};
use flat_core::setting::{BadSetting, Setting, Settings, Value, Values};

/// `plain`: the gradient of the batch, at 1 evaluation a step.
///
/// ```
/// use flat_optim::{Optimizer, Params, Query, Plain, Sgd};
/// # fn main() -> flat_optim::Result<()> {
/// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
/// let params = Params::new([("w".to_string(), w.clone())])?;
/// let mut optimizer = Optimizer::new(&params, Plain, Sgd::new(0.1))?;
/// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
/// assert_eq!((report.evals, report.perturbed), (1.0, false));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Plain {
    /// The entry of the table of rules.
    pub const SPEC: RuleSpec = RuleSpec::of::<Self>("plain", "g = grad f(x)", "");
}

impl Settings for Plain {
    fn settings() -> Vec<Setting> {
        Vec::new()
    }
    fn values(&self) -> Values {
        Values::default()
    }
    fn set(&mut self, name: &str, value: &Value) -> std::result::Result<(), BadSetting> {
        Err(BadSetting::new(name, value, "the plain gradient has no options"))
    }
}

impl Stateful for Plain {}

impl Described for Plain {
    fn name(&self) -> &'static str {
        Self::SPEC.name
    }
}

impl GradientRule for Plain {
    fn evals_per_step(&self, _: usize) -> f64 {
        1.0
    }
    fn memoryless(&self) -> bool {
        true
    }
    fn radius(&self, _: usize) -> f64 {
        0.0
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, _: &Ctx<'_>) -> Result<Estimate> {
        Ok(Estimate::plain(f.gradient(Rows::All)?))
    }
}
