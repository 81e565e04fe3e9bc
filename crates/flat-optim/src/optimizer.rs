//! The optimizer: a gradient rule, a base optimizer and schedules over an oracle.

mod progress;
mod surrogate;

pub(crate) use progress::{Pace, Progress};

use crate::average::at_point;
use crate::pending::{Decided, PendingStep, StepReport};
use crate::rule::Known;
use crate::state::{self, visit_part};
use crate::undo::{Snapshot, Undo};
use crate::{
    Average, Base, BaseOptimizer, Builder, Ctx, Error, Estimate, GradientRule, Masks, Need, Objective, Oracle, Plain,
    Result, Scalar, Schedule, StateVisitor, Stateful, Subspace,
};
use candle_core::Tensor;
use flat_core::{ParamVec, Params, Streams};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use surrogate::finite;

/// Trains the variables of a model on any [`Objective`].
///
/// The variables belong to the caller, who may change them between steps (to load weights, say).
pub struct Optimizer {
    pub(crate) params: Params,
    pub(crate) rule: Box<dyn GradientRule>,
    pub(crate) base: Box<dyn BaseOptimizer>,
    pub(crate) lr: Box<dyn Schedule>,
    pub(crate) lr_start: f64,
    pub(crate) rho: Box<dyn Schedule>,
    pub(crate) clip: Option<f64>,
    pub(crate) average: Option<Average>,
    pub(crate) masks: Masks,
    pub(crate) micro_batch: Option<usize>,
    pub(crate) streams: Streams,
    pub(crate) max_consecutive_skips: u64,
    pub(crate) known: Known,
    pub(crate) subspace: Option<Box<dyn Subspace>>,
    pub(crate) progress: Progress,
    pub(crate) pace: Option<Pace>,
}

impl Optimizer {
    /// A rule over a base at a constant learning rate and radius; see [`Self::builder`] for schedules and the like.
    ///
    /// ```
    /// # use candle_core::{Device, Tensor, Var};
    /// use flat_optim::{Optimizer, Params, Sam, Sgd};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = Var::from_tensor(&Tensor::new(&[1.0f32], &Device::Cpu)?)?;
    /// let params = Params::new([("w".to_string(), w)])?;
    /// let optimizer = Optimizer::new(&params, Sam::new(0.05), Sgd::new(0.1).momentum(0.9))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::BadSetting`] naming the option; candle's.
    pub fn new(
        params: &Params,
        rule: impl Into<Box<dyn GradientRule>>,
        base: impl Into<Box<dyn Base>>,
    ) -> Result<Self> {
        Self::builder(params).rule(rule).base(base).build()
    }

    /// Options for an optimizer of these parameters.
    ///
    /// ```
    /// # use candle_core::{Device, Tensor, Var};
    /// use flat_optim::{Optimizer, Params, Rsp, ScheduleConfig, ScheduleShape, Sgd};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = Var::from_tensor(&Tensor::new(&[1.0f32], &Device::Cpu)?)?;
    /// let params = Params::new([("w".to_string(), w)])?;
    /// let cosine = ScheduleShape::Cosine { total_steps: 1000, min: 0.0 };
    /// let optimizer = Optimizer::builder(&params)
    ///     .rule(Rsp::new(0.5))
    ///     .base(Sgd::new(0.1).weight_decay(5e-4))
    ///     .lr_schedule(ScheduleConfig { warmup_steps: 100, shape: cosine })
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
        let step = self.launch(objective)?;
        match step.report() {
            Some(report) => Ok(report.clone()),
            None => Ok(self.read(vec![step])?.swap_remove(0)),
        }
    }

    /// [`Self::step`] without waiting for the device. No number comes to the host before [`Self::read`], provided
    /// that [`Objective::loss_and_grad`] leaves its losses on the device; [`Scalar::of`] does, except on the CPU. The
    /// step is kept or undone on the device. Counts are then ahead of what [`Self::step`] describes, because the host
    /// does not know better: a skipped step counts in the bias correction of AdamW, as SGD's first update and among
    /// the steps of a rule that counts its own. And an average of weights begins with the first step even if that was
    /// skipped.
    ///
    /// # Errors
    /// As [`Self::step`], but for the errors that [`Self::read`] finds out about.
    pub fn launch(&mut self, objective: &mut dyn Objective) -> Result<PendingStep> {
        let theta = OnceCell::new();
        let (step, place) = (self.progress.step, self.place());
        let (lr, rho) = (self.lr.at(place), self.rho.at(place));
        let least = self.rule.least_evals(objective.rows());
        let mask = self.masks.perturb.as_ref();
        for need in self.rule.needs() {
            if matches!(need, Need::Losses | Need::FreshBatches | Need::Source(_)) && !objective.offers(need) {
                return Err(Error::Needs { rule: self.rule.name(), need });
            }
        }
        let cx = Ctx::new(step, rho, lr, self.streams, self.params.space(), mask)
            .started_from(self.lr_start)
            .at(place)
            .knowing(self.base.momentum(), self.known);
        let parts = self.micro_batch.map_or(1, |examples| objective.rows().div_ceil(examples));
        let elsewhere = !self.params.space().device.is_cpu() || objective.leaves_numbers();
        let mut oracle = Oracle::lazy(&self.params, objective, &theta, mask, parts)?;
        oracle.lend(self.subspace.as_mut().map(|subspace| subspace.as_mut() as &mut dyn Subspace), step);
        let off = rho <= 0.0 && self.rule.radius(1) > 0.0 && self.rule.plain_at_zero_radius();
        let rule_was = if elsewhere { Snapshot::of(self.rule.as_mut())? } else { Snapshot::default() };
        let estimate = if off { Plain.estimate(&mut oracle, &cx) } else { self.rule.estimate(&mut oracle, &cx) };
        let (evals, unread, moved) = (oracle.evals(), oracle.unread().to_vec(), oracle.moved()?);
        let (estimate, norm) = match estimate.and_then(finite) {
            Ok(found) => found,
            Err(e) if e.is_non_finite() => {
                self.count(evals, least);
                return self.skip(step, e.to_string(), evals, lr, rho).map(PendingStep::known);
            }
            Err(e) => return Err(e),
        };
        let Estimate { grad, loss, grad_norm, perturbed, lr: own_lr, then } = estimate;
        let lr = own_lr.unwrap_or(lr);
        let (grad, clip, clipped) = self.clipped(grad, &norm)?;
        let unknown = [&loss, &grad_norm, &norm].into_iter().any(Scalar::is_on_device);
        let decided = match unknown {
            true => Some(Decided::new([&loss, &grad_norm, &norm], &unread, (clipped.clone(), moved), &self.params)?),
            false => None,
        };
        let resets = self.rule.resets_base(step);
        let undo = match &decided {
            None => None,
            // an update that is all in place is left out where the flag says so, and needs no copies
            Some(_) if self.base.in_place() && then.in_place() && !resets => Some(Undo::of_rule(rule_was)),
            Some(_) => Some(Undo::new(&self.params, theta.get(), self.base.as_mut(), rule_was)?),
        };
        if resets {
            self.base.reset()?;
        }
        let kept = match (&decided, &undo) {
            (Some(decided), Some(undo)) if undo.is_of_rule() => Some(self.params.kept_where(decided.taken().clone())),
            _ => None,
        };
        let params = kept.as_ref().unwrap_or(&self.params);
        then.apply(params, self.base.as_mut(), grad, lr, (&self.masks, &clip, theta.get()))?;
        if let (Some(decided), Some(undo)) = (&decided, undo) {
            undo.unless(decided.taken(), &self.params, self.base.as_mut(), self.rule.as_mut())?;
        }
        self.take_into_average(decided.as_ref().map(Decided::taken))?;
        self.count(evals, least);
        let report = StepReport { lr, perturbed, ..StepReport::without_numbers(step, evals, lr, rho) };
        match decided {
            Some(decided) => Ok(PendingStep::on_device(report, decided)),
            None => {
                self.progress.consecutive_skips = 0;
                Ok(PendingStep::on_host(report, [&loss, &grad_norm, &norm, &clipped]))
            }
        }
    }

    /// The surrogate gradient, not longer than it may be, the factor that shortened it, and 1 where it did.
    fn clipped(&self, mut grad: ParamVec, norm: &Scalar) -> Result<(ParamVec, Scalar, Scalar)> {
        let Some(most) = self.clip else { return Ok((grad, 1.0.into(), 0.0.into())) };
        if let Some(norm) = norm.host() {
            let factor = Some(norm).filter(|norm| *norm > most).map(|norm| most / norm);
            if let Some(factor) = factor {
                grad.scale(factor)?;
            }
            return Ok((grad, factor.unwrap_or(1.0).into(), f64::from(u8::from(factor.is_some())).into()));
        }
        let [factor, over] = norm.shortened_to(most)?;
        Ok((grad.scaled_by(&factor)?, factor, over))
    }

    /// Takes the point to be evaluated into the average of the weights, where it belongs there. `taken` is a flag: where it is 0,
    /// the step is skipped.
    fn take_into_average(&mut self, taken: Option<&Tensor>) -> Result<()> {
        let steps = self.progress.step + 1;
        let Some(average) = self.average.as_mut().filter(|average| average.averaging().takes(steps)) else {
            return Ok(());
        };
        let was = taken.filter(|_| average.average().is_some());
        let was = was.map(|taken| Ok::<_, Error>((taken, Snapshot::of(average)?))).transpose()?;
        average.update(&self.params, self.base.offset())?;
        match was {
            Some((taken, was)) => was.keep_or_restore(taken, average),
            None => Ok(()),
        }
    }

    /// The reports of launched steps, in the order of their launch, each step once. Waits for the device; one transfer.
    ///
    /// # Errors
    /// [`Error::TooManySkips`]; candle's.
    pub fn read(&mut self, steps: Vec<PendingStep>) -> Result<Vec<StepReport>> {
        let counted: Vec<bool> = steps.iter().map(|s| s.report().is_some()).collect();
        let mut reports = PendingStep::read(steps)?;
        for (report, _) in reports.iter_mut().zip(counted).filter(|(_, counted)| !counted) {
            match report.skipped.take() {
                None => self.progress.consecutive_skips = 0,
                Some(reason) => {
                    report.skipped = Some(self.count_skip(report.step, reason)?);
                    if self.pace.is_none() {
                        report.lr = self.lr.at(report.step);
                    }
                }
            }
        }
        Ok(reports)
    }

    /// Counts a step, in a rule whose cheapest one costs `least`.
    fn count(&mut self, evals: f64, least: f64) {
        self.progress.step += 1;
        self.progress.evals += evals;
        if let Some(pace) = &mut self.pace {
            pace.place += evals / least;
        }
    }

    /// Where the schedules are.
    fn place(&self) -> u64 {
        // room for the rounding of sums of costs such as 4/3
        self.pace.map_or(self.progress.step, |pace| (pace.place + 1e-6) as u64)
    }

    fn skip(&mut self, step: u64, reason: String, evals: f64, lr: f64, rho: f64) -> Result<StepReport> {
        let reason = self.count_skip(step, reason)?;
        Ok(StepReport { skipped: Some(reason), ..StepReport::without_numbers(step, evals, lr, rho) })
    }

    /// Counts a skipped step, whose reason it gives back.
    fn count_skip(&mut self, step: u64, reason: String) -> Result<String> {
        self.progress.skipped += 1;
        self.progress.consecutive_skips += 1;
        let skips = self.progress.consecutive_skips;
        if skips > self.max_consecutive_skips {
            return Err(Error::TooManySkips { skips, step, last: reason });
        }
        Ok(reason)
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

    /// Perturbation radius that the schedule has for a step.
    pub fn rho_at(&self, step: u64) -> f64 {
        self.rho.at(step)
    }

    /// Gradient evaluations of a perturbed step on a batch of `rows` examples, in the mean over many.
    pub fn evals_per_step(&self, rows: usize) -> f64 {
        self.rule.mean_evals(rows)
    }

    /// Whether schedules go by evaluations ([`Builder::paced_by_evals`]).
    pub fn is_paced_by_evals(&self) -> bool {
        self.pace.is_some()
    }

    /// Gradient evaluations that the next step takes on a batch of `rows` examples, at most.
    pub fn next_evals(&self, rows: usize) -> f64 {
        self.rule.evals_per_step(rows)
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The subspace that it was given, if any: what it cost so far.
    pub fn subspace(&self) -> Option<&dyn Subspace> {
        self.subspace.as_deref()
    }

    /// The average of the weights, if one is kept.
    pub fn average(&self) -> Option<&Average> {
        self.average.as_ref()
    }

    /// The point to evaluate and to save as the model, where it is not theta. It is the average of the weights,
    /// otherwise that of the base ([`BaseOptimizer::offset`]).
    ///
    /// # Errors
    /// candle's.
    pub fn evaluation_point(&self) -> Result<Option<ParamVec>> {
        match (self.average.as_ref().and_then(Average::average), self.base.offset()) {
            (Some(average), _) => Ok(Some(average.duplicate()?)),
            (None, Some(offset)) => Ok(Some(self.params.read()?.plus(-1.0, offset)?)),
            (None, None) => Ok(None),
        }
    }

    /// Whether BatchNorm's running statistics are not those of the parameters, because the rule evaluates beside them alone.
    pub fn lags_statistics(&self) -> bool {
        self.rule.lags_statistics()
    }

    /// Runs `evaluate` with [`Self::evaluation_point`] in the variables, where there is one, and puts the parameters back bit for
    /// bit: on success, error and panic.
    ///
    /// # Errors
    /// candle's, and whatever `evaluate` returns.
    pub fn with_averaged<T, E: From<Error>>(
        &self,
        evaluate: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        match self.evaluation_point()? {
            Some(point) => at_point(&point, &self.params, evaluate),
            None => evaluate(),
        }
    }

    /// A copy of everything that later steps depend on besides parameters and options. Keys: counters (`progress.*`),
    /// the base's buffers (`base.*`), the rule's state (`rule.*`), the subspace's (`subspace.*`) and the average
    /// ([`crate::Averaging::name`]). Takes `&mut self` because saving and loading are one traversal; nothing changes.
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
        if let Some(pace) = &mut self.pace {
            visit_part("pace", pace, visitor)?;
        }
        if let Some(subspace) = &mut self.subspace {
            visit_part("subspace", subspace.as_mut(), visitor)?;
        }
        match &mut self.average {
            Some(average) => visit_part(average.averaging().name(), average, visitor),
            None => Ok(()),
        }
    }
}
