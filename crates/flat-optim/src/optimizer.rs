//! The optimizer: a gradient rule, a base optimizer and schedules over an oracle.

use crate::state::{self, visit_part};
use crate::{
    BaseOptimizer, Builder, Ctx, Ema, Error, Estimate, GradientRule, Masks, Objective, Oracle, Plain, Result, Schedule,
    StateVisitor, Stateful,
};
use candle_core::Tensor;
use flat_core::{ParamVec, Params, Streams};
use std::cell::OnceCell;
use std::collections::BTreeMap;

/// Trains the variables of a model on any [`Objective`].
///
/// The variables belong to the caller, who may change them between steps (to load weights, say).
pub struct Optimizer {
    pub(crate) params: Params,
    pub(crate) rule: Box<dyn GradientRule>,
    pub(crate) base: Box<dyn BaseOptimizer>,
    pub(crate) lr: Box<dyn Schedule>,
    pub(crate) rho: Box<dyn Schedule>,
    pub(crate) clip_norm: Option<f64>,
    pub(crate) ema: Option<Ema>,
    pub(crate) masks: Masks,
    pub(crate) micro_batches: usize,
    pub(crate) micro_batch: Option<usize>,
    pub(crate) streams: Streams,
    pub(crate) max_consecutive_skips: u64,
    pub(crate) progress: Progress,
}

/// How far the optimizer has come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    step: u64,
    evals: f64,
    skipped: u64,
    consecutive_skips: u64,
}

impl Stateful for Progress {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("step", &mut self.step)?;
        visitor.number("evals", &mut self.evals)?;
        visitor.count("skipped", &mut self.skipped)?;
        visitor.count("consecutive_skips", &mut self.consecutive_skips)
    }
}

/// What one step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Index of the step, from 0.
    pub step: u64,
    /// Mean loss at theta before the update ([`Estimate::loss`]); NaN if the step was skipped.
    pub loss: f64,
    /// Norm of the gradient there ([`Estimate::grad_norm`]); NaN if the step was skipped.
    pub grad_norm: f64,
    /// Norm of the surrogate gradient, before clipping; NaN if the step was skipped.
    pub surrogate_norm: f64,
    /// Gradient evaluations of this step, in units of the whole batch.
    pub evals: f64,
    /// Learning rate used.
    pub lr: f64,
    /// Scheduled perturbation radius.
    pub rho: f64,
    /// Whether the surrogate differs from the plain gradient.
    pub perturbed: bool,
    /// Whether the surrogate was clipped.
    pub clipped: bool,
    /// Why the step was skipped, if it was.
    pub skipped: Option<String>,
}

impl Optimizer {
    /// Options for an optimizer of these parameters.
    ///
    /// ```
    /// # use candle_core::{Device, Tensor, Var};
    /// use flat_optim::{BaseConfig, Optimizer, Params, RuleConfig, SamConfig, SgdConfig};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = Var::from_tensor(&Tensor::new(&[1.0f32], &Device::Cpu)?)?;
    /// let params = Params::new([("w".to_string(), w)])?;
    /// let optimizer = Optimizer::builder(&params)
    ///     .rule(RuleConfig::Sam(SamConfig { rho: 0.1, ..SamConfig::default() }))
    ///     .base(BaseConfig::Sgd(SgdConfig { momentum: 0.9, weight_decay: 5e-4, ..SgdConfig::default() }))
    ///     .lr(0.1)
    ///     .seed(42)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(params: &Params) -> Builder<'_> {
        Builder::new(params)
    }

    /// One step on the objective's present batch.
    ///
    /// If a loss or gradient is not finite, the step is skipped whole: the parameters, the base optimizer, the rule and
    /// the average of the weights stay as they are. The step still counts in [`Self::steps`], so that schedules and
    /// draws move on, and its evaluations count in [`Self::evals`].
    ///
    /// # Errors
    /// [`Error::TooManySkips`] when more than `max_consecutive_skips` steps in a row were skipped; whatever the
    /// objective returns. After an error, too, the parameters are what they were before the step; an error other than
    /// `TooManySkips` does not count as a step.
    pub fn step(&mut self, objective: &mut dyn Objective) -> Result<StepReport> {
        let theta = OnceCell::new();
        let step = self.progress.step;
        let (lr, rho) = (self.lr.at(step), self.rho.at(step));
        let mask = self.masks.perturb.as_ref();
        let cx = Ctx::new(step, rho, lr, self.streams, self.params.space(), mask);
        let parts = self.micro_batch.map_or(self.micro_batches, |examples| objective.rows().div_ceil(examples));
        let mut oracle = Oracle::lazy(&self.params, objective, &theta, mask, parts)?;
        let off = rho <= 0.0 && self.rule.radius() > 0.0;
        let estimate = if off { Plain.estimate(&mut oracle, &cx) } else { self.rule.estimate(&mut oracle, &cx) };
        let evals = oracle.evals();
        let (estimate, norm) = match estimate.and_then(finite) {
            Ok(found) => found,
            Err(e) if e.is_non_finite() => return self.skip(e.to_string(), evals, lr, rho),
            Err(e) => return Err(e),
        };
        let Estimate { mut grad, loss, grad_norm, perturbed, lr: own_lr } = estimate;
        let lr = own_lr.unwrap_or(lr);
        let clipped = self.clip_norm.is_some_and(|most| norm > most);
        if let Some(most) = self.clip_norm.filter(|_| clipped) {
            grad.scale(most / norm)?;
        }
        self.base.apply(&self.params, grad, lr, &self.masks)?;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.params)?;
        }
        self.progress.step += 1;
        self.progress.evals += evals;
        self.progress.consecutive_skips = 0;
        Ok(StepReport {
            step,
            loss,
            grad_norm,
            surrogate_norm: norm,
            evals,
            lr,
            rho,
            perturbed,
            clipped,
            skipped: None,
        })
    }

    fn skip(&mut self, reason: String, evals: f64, lr: f64, rho: f64) -> Result<StepReport> {
        let step = self.progress.step;
        self.progress.step += 1;
        self.progress.evals += evals;
        self.progress.skipped += 1;
        self.progress.consecutive_skips += 1;
        let skips = self.progress.consecutive_skips;
        if skips > self.max_consecutive_skips {
            return Err(Error::TooManySkips { skips, step, last: reason });
        }
        let nan = f64::NAN;
        Ok(StepReport {
            step,
            loss: nan,
            grad_norm: nan,
            surrogate_norm: nan,
            evals,
            lr,
            rho,
            perturbed: false,
            clipped: false,
            skipped: Some(reason),
        })
    }

    /// Steps so far, skipped ones included; the index of the next one.
    pub fn steps(&self) -> u64 {
        self.progress.step
    }

    /// Gradient evaluations so far, in units of the whole batch.
    pub fn evals(&self) -> f64 {
        self.progress.evals
    }

    /// Steps that were skipped so far.
    pub fn skipped(&self) -> u64 {
        self.progress.skipped
    }

    /// Learning rate that the schedule has for a step.
    pub fn lr_at(&self, step: u64) -> f64 {
        self.lr.at(step)
    }

    /// Perturbation radius that the schedule has for a step.
    pub fn rho_at(&self, step: u64) -> f64 {
        self.rho.at(step)
    }

    /// Gradient evaluations of a perturbed step on a batch of `rows` examples.
    pub fn evals_per_step(&self, rows: usize) -> f64 {
        self.rule.evals_per_step(rows)
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The average of the weights, if one is kept.
    pub fn ema(&self) -> Option<&Ema> {
        self.ema.as_ref()
    }

    /// Runs `evaluate` with the averaged weights in the variables, as [`Ema::with_averaged`]; with the parameters
    /// themselves if no average is kept.
    ///
    /// # Errors
    /// As there.
    pub fn with_averaged<T, E: From<Error>>(
        &self,
        evaluate: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        match &self.ema {
            Some(ema) => ema.with_averaged(&self.params, evaluate),
            None => evaluate(),
        }
    }

    /// A copy of everything that a later step depends on besides the parameters and the options: counters
    /// (`progress.*`), the base optimizer's buffers (`base.*`), the rule's state (`rule.*`) and the average (`ema.*`).
    /// Takes `&mut self` because saving and loading are one traversal; nothing changes.
    ///
    /// # Errors
    /// candle's.
    pub fn state(&mut self) -> Result<BTreeMap<String, Tensor>> {
        state::save(self)
    }

    /// Puts back what [`Self::state`] of an optimizer with the same options gave. Together with the parameters, the run
    /// goes on bit for bit as it would have.
    ///
    /// # Errors
    /// [`Error::State`] listing names that are missing, unexpected or of another shape or type; the optimizer is then
    /// left as it was.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        state::load(self, state)
    }
}

impl Stateful for Optimizer {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visit_part("progress", &mut self.progress, visitor)?;
        visit_part("rule", self.rule.as_mut(), visitor)?;
        visit_part("base", self.base.as_mut(), visitor)?;
        match &mut self.ema {
            Some(ema) => visit_part("ema", ema, visitor),
            None => Ok(()),
        }
    }
}

/// An estimate with the norm of its surrogate gradient, which must be finite.
fn finite(estimate: Estimate) -> Result<(Estimate, f64)> {
    let norm = surrogate_norm(&estimate)?;
    if norm.is_finite() {
        return Ok((estimate, norm));
    }
    Err(Error::NonFinite { what: "surrogate gradient norm", value: norm, place: "after the rule" })
}

fn surrogate_norm(estimate: &Estimate) -> Result<f64> {
    // a plain estimate is its own surrogate, and its norm is known
    if estimate.perturbed { Ok(ParamVec::norm(&estimate.grad)?) } else { Ok(estimate.grad_norm) }
}
