//! From options to an optimizer.

use crate::error::positive;
use crate::optimizer::Progress;
use crate::{
    BaseConfig, BaseOptimizer, Ema, Error, FollowLr, GradientRule, Groups, Optimizer, Result, RuleConfig, Schedule,
    ScheduleConfig,
};
use flat_core::{Params, Streams};

/// Options of an [`Optimizer`]; see [`Optimizer::builder`].
#[must_use]
pub struct Builder<'a> {
    params: &'a Params,
    rule: Choice<RuleConfig, Box<dyn GradientRule>>,
    base: Choice<BaseConfig, Box<dyn BaseOptimizer>>,
    lr: f64,
    lr_schedule: ScheduleConfig,
    rho_schedule: Choice<ScheduleConfig, Box<dyn Schedule>>,
    rho_follows_lr: Option<f64>,
    clip_norm: Option<f64>,
    ema_decay: Option<f64>,
    groups: Groups,
    micro_batches: usize,
    micro_batch: Option<usize>,
    seed: u64,
    max_consecutive_skips: u64,
}

/// Options to be built, or something that the caller brings.
enum Choice<C, T> {
    Config(C),
    Own(T),
}

impl<'a> Builder<'a> {
    pub(crate) fn new(params: &'a Params) -> Self {
        Self {
            params,
            rule: Choice::Config(RuleConfig::Plain),
            base: Choice::Config(BaseConfig::default()),
            lr: 0.01,
            lr_schedule: ScheduleConfig::default(),
            rho_schedule: Choice::Config(ScheduleConfig::default()),
            rho_follows_lr: None,
            clip_norm: None,
            ema_decay: None,
            groups: Groups::default(),
            micro_batches: 1,
            micro_batch: None,
            seed: 0,
            max_consecutive_skips: 10,
        }
    }

    /// The gradient rule; plain by default.
    pub fn rule(mut self, rule: RuleConfig) -> Self {
        self.rule = Choice::Config(rule);
        self
    }

    /// A rule of your own.
    pub fn own_rule(mut self, rule: impl GradientRule + 'static) -> Self {
        self.rule = Choice::Own(Box::new(rule));
        self
    }

    /// The base optimizer; SGD without momentum by default.
    pub fn base(mut self, base: BaseConfig) -> Self {
        self.base = Choice::Config(base);
        self
    }

    /// A base optimizer of your own. Groups replace weight decay 0.
    pub fn own_base(mut self, base: impl BaseOptimizer + 'static) -> Self {
        self.base = Choice::Own(Box::new(base));
        self
    }

    /// The learning rate from which the schedule starts; 0.01 by default.
    pub fn lr(mut self, lr: f64) -> Self {
        self.lr = lr;
        self
    }

    /// How the learning rate changes; constant by default.
    pub fn lr_schedule(mut self, schedule: ScheduleConfig) -> Self {
        self.lr_schedule = schedule;
        self
    }

    /// How the perturbation radius (the rule's rho or sigma) changes; constant by default. Where it is exactly 0 the
    /// step is plain and costs 1 evaluation.
    pub fn rho_schedule(mut self, schedule: ScheduleConfig) -> Self {
        self.rho_schedule = Choice::Config(schedule);
        self.rho_follows_lr = None;
        self
    }

    /// The perturbation radius itself as a function of the step, in place of the rule's.
    pub fn own_rho_schedule(mut self, schedule: impl Schedule + 'static) -> Self {
        self.rho_schedule = Choice::Own(Box::new(schedule));
        self.rho_follows_lr = None;
        self
    }

    /// Lets the radius fall with the learning rate, from the rule's at the full rate to `rho_min` at rate 0
    /// ([`FollowLr`]).
    pub fn rho_follows_lr(mut self, rho_min: f64) -> Self {
        self.rho_follows_lr = Some(rho_min);
        self
    }

    /// Scales the surrogate gradient down to this norm where it is longer; off by default.
    pub fn clip_norm(mut self, norm: f64) -> Self {
        self.clip_norm = Some(norm);
        self
    }

    /// Keeps an exponential moving average of the weights; off by default.
    pub fn ema(mut self, decay: f64) -> Self {
        self.ema_decay = Some(decay);
        self
    }

    /// Parameters that are treated differently; none by default.
    pub fn groups(mut self, groups: Groups) -> Self {
        self.groups = groups;
        self
    }

    /// Evaluates the batch in this many parts and averages, to save memory; 1 by default, never more than rows.
    pub fn micro_batches(mut self, micro_batches: usize) -> Self {
        self.micro_batches = micro_batches;
        self
    }

    /// Evaluates the batch in parts of at most this many examples and averages; takes the place of
    /// [`Self::micro_batches`].
    pub fn micro_batch(mut self, examples: usize) -> Self {
        self.micro_batch = Some(examples);
        self
    }

    /// The seed of every draw; 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many steps in a row may be skipped for non-finite numbers before [`Optimizer::step`] fails; 10 by default.
    pub fn max_consecutive_skips(mut self, skips: u64) -> Self {
        self.max_consecutive_skips = skips;
        self
    }

    /// The optimizer.
    ///
    /// # Errors
    /// [`Error::BadOption`] naming the option; candle's.
    pub fn build(self) -> Result<Optimizer> {
        let space = self.params.space();
        positive("lr", self.lr)?;
        let clip_norm = self.clip_norm.map(|norm| positive("clip_norm", norm)).transpose()?;
        if self.micro_batches == 0 {
            return Err(Error::option("micro_batches", 0, "must be at least 1"));
        }
        if self.micro_batch == Some(0) {
            return Err(Error::option("micro_batch", 0, "must be at least 1"));
        }
        let rule = match self.rule {
            Choice::Config(config) => config.build()?,
            Choice::Own(rule) => rule,
        };
        let weight_decay = match &self.base {
            Choice::Config(config) => config.weight_decay(),
            Choice::Own(_) => 0.0,
        };
        let base = match self.base {
            Choice::Config(config) => config.build(space)?,
            Choice::Own(base) => base,
        };
        let masks = self.groups.masks(space, weight_decay)?;
        let radius = rule.radius(masks.perturbed(space)?);
        let rho = match (self.rho_follows_lr, self.rho_schedule) {
            (Some(rho_min), _) => {
                crate::error::non_negative("rho_min", rho_min)?;
                let lr = self.lr_schedule.clone().build(self.lr)?;
                Box::new(FollowLr { lr, lr_range: (0.0, self.lr), rho_range: (rho_min, radius) })
            }
            (None, Choice::Config(config)) => config.build(radius)?,
            (None, Choice::Own(schedule)) => schedule,
        };
        Ok(Optimizer {
            params: self.params.clone(),
            masks,
            rule,
            base,
            lr: self.lr_schedule.build(self.lr)?,
            lr_start: self.lr,
            rho,
            clip_norm,
            ema: self.ema_decay.map(|decay| Ema::new(decay, space)).transpose()?,
            micro_batches: self.micro_batches,
            micro_batch: self.micro_batch,
            streams: Streams::new(self.seed),
            max_consecutive_skips: self.max_consecutive_skips,
            progress: Progress::default(),
        })
    }
}
