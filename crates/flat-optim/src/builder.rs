//! The builder of an optimizer.

use crate::error::within;
use crate::optimizer::{Pace, Progress};
use crate::rule::Known;
use crate::{
    Average, Averaging, Base, Error, GradientRule, Groups, Need, Optimizer, Plain, RadiusSchedule, Result,
    ScheduleConfig, Sgd, Subspace,
};
use flat_core::setting::Range;
use flat_core::{Params, Streams};

/// Options of an [`Optimizer`]; see [`Optimizer::builder`].
#[must_use]
pub struct Builder<'a> {
    params: &'a Params,
    rule: Box<dyn GradientRule>,
    base: Box<dyn Base>,
    lr_schedule: ScheduleConfig,
    rho_schedule: RadiusSchedule,
    clip: Option<f64>,
    ema: Option<Averaging>,
    swa: Option<Averaging>,
    groups: Groups,
    micro_batch: Option<usize>,
    streams: Streams,
    max_consecutive_skips: u64,
    examples: Option<u64>,
    steps: Option<u64>,
    subspace: Option<Box<dyn Subspace>>,
    pace: Option<Pace>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(params: &'a Params) -> Self {
        Self {
            params,
            rule: Plain.into(),
            base: Sgd::default().into(),
            lr_schedule: ScheduleConfig::default(),
            rho_schedule: ScheduleConfig::default().into(),
            clip: None,
            ema: None,
            swa: None,
            groups: Groups::default(),
            micro_batch: None,
            streams: Streams::new(0),
            max_consecutive_skips: 10,
            examples: None,
            steps: None,
            subspace: None,
            pace: None,
        }
    }

    /// The gradient rule, one of this crate or of your own; [`Plain`] by default.
    pub fn rule(mut self, rule: impl Into<Box<dyn GradientRule>>) -> Self {
        self.rule = rule.into();
        self
    }

    /// The base optimizer with its learning rate, one of this crate or of your own; [`Sgd`] by default.
    pub fn base(mut self, base: impl Into<Box<dyn Base>>) -> Self {
        self.base = base.into();
        self
    }

    /// How the learning rate changes; constant by default, and to be left so, but for a warm-up, where the base is schedule-free.
    pub fn lr_schedule(mut self, schedule: ScheduleConfig) -> Self {
        self.lr_schedule = schedule;
        self
    }

    /// How the perturbation radius (the rule's rho or sigma) changes; constant by default. Where it is exactly 0 the
    /// step is plain and costs 1 evaluation.
    pub fn rho_schedule(mut self, schedule: impl Into<RadiusSchedule>) -> Self {
        self.rho_schedule = schedule.into();
        self
    }

    /// Scales the surrogate gradient down to this norm where it is longer; off by default.
    pub fn clip(mut self, norm: f64) -> Self {
        self.clip = Some(norm);
        self
    }

    /// Keeps an exponential moving average of the weights with this decay ([`Averaging::Exponential`]); off by default.
    pub fn ema(mut self, decay: f64) -> Self {
        self.ema = Some(Averaging::Exponential { decay });
        self
    }

    /// Keeps the equal mean of the weights after `start` steps and after every `every` further ones ([`Averaging::Equal`]); off by
    /// default, and not beside [`Self::ema`].
    pub fn swa(mut self, start: u64, every: u64) -> Self {
        self.swa = Some(Averaging::Equal { start, every });
        self
    }

    /// Parameters that are treated differently; none by default.
    pub fn groups(mut self, groups: Groups) -> Self {
        self.groups = groups;
        self
    }

    /// Evaluates the batch in parts of at most this many examples and averages, to save memory; off by default.
    pub fn micro_batch(mut self, examples: usize) -> Self {
        self.micro_batch = Some(examples);
        self
    }

    /// The seed of every draw; 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.streams = Streams::new(seed);
        self
    }

    /// The streams of every draw, in place of a seed's: those of a table ([`Streams::from_table`]) replay another program's draws.
    pub fn streams(mut self, streams: Streams) -> Self {
        self.streams = streams;
        self
    }

    /// How many steps in a row may be skipped for non-finite numbers before [`Optimizer::step`] fails; 10 by default.
    pub fn max_consecutive_skips(mut self, skips: u64) -> Self {
        self.max_consecutive_skips = skips;
        self
    }

    /// How many training examples there are in all, for rules whose noise depends on it; unknown by default.
    pub fn examples(mut self, examples: u64) -> Self {
        self.examples = Some(examples);
        self
    }

    /// How many steps the run has, for rules that change along it; unknown by default.
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Schedules go by gradient evaluations: a step moves them on by what it costs over what the rule's cheapest step does
    /// ([`GradientRule::least_evals`]). For runs whose length is a number of evaluations that the data divide into steps; off by
    /// default.
    pub fn paced_by_evals(mut self, paced: bool) -> Self {
        self.pace = paced.then(Pace::default);
        self
    }

    /// The subspace that rules may ask for; none by default.
    pub fn subspace(mut self, subspace: Box<dyn Subspace>) -> Self {
        self.subspace = Some(subspace);
        self
    }

    /// The optimizer.
    ///
    /// # Errors
    /// [`Error::BadSetting`] naming the option; [`Error::Needs`] naming what the rule misses; candle's.
    pub fn build(mut self) -> Result<Optimizer> {
        let space = self.params.space();
        if self.micro_batch == Some(0) {
            return Err(Error::option("micro-batch", 0, "give at least 1"));
        }
        self.rule.check()?;
        let lr_start = self.base.lr();
        let masks = self.groups.masks(space, self.base.weight_decay())?;
        let radius = self.rule.radius(masks.perturbed(space)?);
        let lr = self.lr_schedule.clone().build(lr_start).map_err(|e| named(e, &[("min", "min-lr")]))?;
        let rho =
            self.rho_schedule.build(radius, &self.lr_schedule, lr_start, self.steps).map_err(|e| named(e, RADIUS))?;
        if let (Some(_), Some(Averaging::Equal { start, .. })) = (self.ema, self.swa) {
            return Err(Error::option("swa-start", start, "the weights have one average: give it or --ema"));
        }
        let base = self.base.build(space)?;
        for need in self.rule.needs() {
            let there = match need {
                Need::Momentum => base.momentum().is_some(),
                Need::Examples => self.examples.is_some(),
                Need::Steps => self.steps.is_some(),
                Need::Subspace => self.subspace.is_some(),
                // of these the objective knows, at the first step
                Need::Losses | Need::FreshBatches | Need::Source(_) => true,
            };
            if !there {
                return Err(Error::Needs { rule: self.rule.name(), need });
            }
        }
        self.rule.begin(space)?;
        Ok(Optimizer {
            params: self.params.clone(),
            masks,
            rule: self.rule,
            base,
            known: Known { examples: self.examples, steps: self.steps },
            subspace: self.subspace,
            pace: self.pace,
            lr,
            lr_start,
            rho,
            clip: self.clip.map(|norm| within("clip", norm, Range::Positive)).transpose()?,
            average: self.ema.or(self.swa).map(|averaging| Average::new(averaging, space)).transpose()?,
            micro_batch: self.micro_batch,
            streams: self.streams,
            max_consecutive_skips: self.max_consecutive_skips,
            progress: Progress::default(),
        })
    }
}

/// What the numbers of a schedule are called where it is the radius'.
const RADIUS: &[(&str, &str)] =
    &[("min", "min-rho"), ("factor", "rho-end"), ("growth", "rho-growth"), ("ceiling", "max-rho")];

/// A complaint about a number of a schedule, by the name that it has where two schedules are.
fn named(e: Error, names: &[(&str, &str)]) -> Error {
    match e {
        Error::BadSetting(mut e) => {
            if let Some((_, name)) = names.iter().find(|(of_schedule, _)| *of_schedule == e.name) {
                e.name = (*name).to_string();
            }
            Error::BadSetting(e)
        }
        other => other,
    }
}
