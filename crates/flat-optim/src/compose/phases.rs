//! One rule after another.

use super::over_a_base;
use crate::state::visit_part;
use crate::{Ctx, Described, Error, Estimate, GradientRule, Need, Oracle, Result, StateVisitor, Stateful};
use flat_core::Space;

/// One rule after another, from given steps on, as in late SAM (Zhou et al. 2024, arXiv 2410.10373): plain at first, SAM at
/// the end.
///
/// Each phase has a state of its own, which rests outside of it, and its rule's steps count from its start. The base optimizer
/// keeps its buffers at a switch; the authors' code, which has two optimizers, starts with empty ones: [`Self::resetting`].
/// The radius' schedule is that of the largest radius among the phases, and the others are scaled along with it.
///
/// Cost: that of the phase.
///
/// ```
/// use flat_optim::{Optimizer, Params, Phases, Plain, Query, Sam, Sgd};
/// # fn main() -> flat_optim::Result<()> {
/// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
/// let params = Params::new([("w".to_string(), w.clone())])?;
/// let late = Phases::new([(0, Plain.into()), (2, Sam::new(0.05).into())]);
/// let mut optimizer = Optimizer::new(&params, late, Sgd::new(0.1))?;
/// let mut evals = || Ok::<_, flat_optim::Error>(optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?.evals);
/// assert_eq!([evals()?, evals()?, evals()?], [1.0, 1.0, 2.0]);
/// # Ok(())
/// # }
/// ```
pub struct Phases {
    phases: Vec<(u64, Box<dyn GradientRule>)>,
    reset: bool,
    next: u64,
}

impl Phases {
    /// Rules with the steps from which they act; the first from step 0.
    pub fn new(phases: impl IntoIterator<Item = (u64, Box<dyn GradientRule>)>) -> Self {
        Self { phases: phases.into_iter().collect(), reset: false, next: 0 }
    }

    /// Whether the base optimizer forgets its state where a phase begins.
    #[must_use]
    pub fn resetting(self, reset: bool) -> Self {
        Self { reset, ..self }
    }

    fn at(&self, step: u64) -> usize {
        self.phases.partition_point(|(start, _)| *start <= step).saturating_sub(1)
    }
}

impl Stateful for Phases {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("next", &mut self.next)?;
        for (i, (_, rule)) in self.phases.iter_mut().enumerate() {
            visit_part(&format!("phase{i}"), rule.as_mut(), visitor)?;
        }
        Ok(())
    }
}

impl Described for Phases {
    fn check(&self) -> Result<()> {
        let starts: Vec<u64> = self.phases.iter().map(|(start, _)| *start).collect();
        if starts.first() != Some(&0) || starts.windows(2).any(|pair| pair[0] >= pair[1]) {
            let text = format!("{starts:?}");
            return Err(Error::option("rule-schedule", text, "phases begin at step 0 and follow one another"));
        }
        for (_, rule) in &self.phases {
            over_a_base("rule-schedule", rule.as_ref())?;
            rule.check()?;
        }
        Ok(())
    }
    fn name(&self) -> &'static str {
        self.phases.get(self.at(self.next)).map_or("phases", |(_, rule)| rule.name())
    }
}

impl GradientRule for Phases {
    fn evals_per_step(&self, rows: usize) -> f64 {
        self.phases[self.at(self.next)].1.evals_per_step(rows)
    }
    fn mean_evals(&self, rows: usize) -> f64 {
        self.phases[self.at(self.next)].1.mean_evals(rows)
    }
    fn least_evals(&self, rows: usize) -> f64 {
        self.phases[self.at(self.next)].1.least_evals(rows)
    }
    fn needs(&self) -> Vec<Need> {
        self.phases.iter().flat_map(|(_, rule)| rule.needs()).collect()
    }
    fn begin(&mut self, space: &Space) -> Result<()> {
        self.phases.iter_mut().try_for_each(|(_, rule)| rule.begin(space))
    }
    fn lags_statistics(&self) -> bool {
        self.phases.iter().any(|(_, rule)| rule.lags_statistics())
    }
    fn resets_base(&self, step: u64) -> bool {
        self.reset && self.phases.iter().skip(1).any(|(start, _)| *start == step)
    }
    fn radius(&self, dim: usize) -> f64 {
        self.phases.iter().map(|(_, rule)| rule.radius(dim)).fold(0.0, f64::max)
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let (dim, now) = (f.space().layout.len(), self.at(cx.step));
        let largest = self.radius(dim);
        let rule = &mut self.phases[now].1;
        let own = rule.radius(dim);
        let cx = if own == largest { *cx } else { cx.with_rho(cx.rho * own / largest) };
        let estimate = rule.estimate(f, &cx)?;
        self.next = cx.step + 1;
        Ok(estimate)
    }
}
