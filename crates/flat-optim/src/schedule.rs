//! Learning rates and radii as functions of the step.

use crate::error::within;
use crate::{Error, Result};
use flat_core::setting::Range;
use std::f64::consts::PI;

/// A number for every step: the learning rate, or the perturbation radius.
///
/// A schedule has no state: a resumed run asks it for later steps.
pub trait Schedule: Send {
    /// The value at the step with this index, from 0.
    fn at(&self, step: u64) -> f64;
}

/// The same at every step.
#[derive(Debug, Clone, Copy)]
pub struct Constant(pub f64);

impl Schedule for Constant {
    fn at(&self, _: u64) -> f64 {
        self.0
    }
}

/// `start * gamma^floor(step / every)`.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// Value at step 0.
    pub start: f64,
    /// Factor.
    pub gamma: f64,
    /// Steps between two factors, above 0.
    pub every: u64,
}

impl Schedule for Steps {
    fn at(&self, step: u64) -> f64 {
        self.start * self.gamma.powf((step / self.every.max(1)) as f64)
    }
}

/// `start * gamma^(number of milestones up to the step)`.
#[derive(Debug, Clone)]
pub struct Milestones {
    /// Value at step 0.
    pub start: f64,
    /// Factor.
    pub gamma: f64,
    /// First steps of the lower values.
    pub milestones: Vec<u64>,
}

impl Schedule for Milestones {
    fn at(&self, step: u64) -> f64 {
        self.start * self.gamma.powf(self.milestones.iter().filter(|m| **m <= step).count() as f64)
    }
}

/// Half a cosine from `start` at step 0 to `min` at `total_steps`, and `min` from then on (Loshchilov and Hutter 2017,
/// arXiv 1608.03983, eq. 5 without restarts).
#[derive(Debug, Clone, Copy)]
pub struct Cosine {
    /// Value at step 0.
    pub start: f64,
    /// Value at the end.
    pub min: f64,
    /// Steps from one to the other.
    pub total_steps: u64,
}

impl Schedule for Cosine {
    fn at(&self, step: u64) -> f64 {
        let part = (step.min(self.total_steps)) as f64 / self.total_steps.max(1) as f64;
        self.min + 0.5 * (self.start - self.min) * (1.0 + (PI * part).cos())
    }
}

/// `value` from step `from` to before step `until`, 0 outside. As a radius: plain steps first (late SAM, Zhou et al.
/// 2024, arXiv 2410.10373) or last (the final phase of the paper's Algorithm 2).
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Value inside.
    pub value: f64,
    /// First step inside.
    pub from: u64,
    /// First step after it; `None`: never.
    pub until: Option<u64>,
}

impl Schedule for Window {
    fn at(&self, step: u64) -> f64 {
        if step >= self.from && self.until.is_none_or(|u| step < u) { self.value } else { 0.0 }
    }
}

/// A linear warm-up before another schedule: `then.at(0) (step + 1) / (steps + 1)`, then `then` from its step 0.
pub struct Warmup {
    /// Length of the warm-up.
    pub steps: u64,
    /// What follows.
    pub then: Box<dyn Schedule>,
}

impl Schedule for Warmup {
    fn at(&self, step: u64) -> f64 {
        match step.checked_sub(self.steps) {
            Some(after) => self.then.at(after),
            None => self.then.at(0) * (step + 1) as f64 / (self.steps + 1) as f64,
        }
    }
}

/// A radius that follows the learning rate (GSAM, Zhuang et al. 2022, arXiv 2203.08065, section 4):
/// `rho_min + (rho_max - rho_min) (lr - lr_min) / (lr_max - lr_min)`; not below 0.
pub struct FollowLr {
    /// The learning rate.
    pub lr: Box<dyn Schedule>,
    /// Its lower and upper ends.
    pub lr_range: (f64, f64),
    /// The radius at each of them.
    pub rho_range: (f64, f64),
}

impl Schedule for FollowLr {
    fn at(&self, step: u64) -> f64 {
        let ((lr_min, lr_max), (rho_min, rho_max)) = (self.lr_range, self.rho_range);
        (rho_min + (rho_max - rho_min) * (self.lr.at(step) - lr_min) / (lr_max - lr_min)).max(0.0)
    }
}

/// How a value changes from its start.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum ScheduleShape {
    /// Not at all.
    #[default]
    Constant,
    /// [`Steps`].
    Step {
        /// Steps between two factors.
        every: u64,
        /// Factor.
        gamma: f64,
    },
    /// [`Milestones`], counted from the beginning of the run, warm-up included.
    Milestones {
        /// First steps of the lower values.
        milestones: Vec<u64>,
        /// Factor.
        gamma: f64,
    },
    /// [`Cosine`].
    Cosine {
        /// Steps of the whole run, warm-up included.
        total_steps: u64,
        /// Value at the end.
        min: f64,
    },
    /// [`Window`], counted from the beginning of the run.
    Window {
        /// First step with the value.
        from: u64,
        /// First step without it again.
        until: Option<u64>,
    },
}

/// A schedule without its starting value: a shape, after an optional linear warm-up.
///
/// ```
/// use flat_optim::{ScheduleConfig, ScheduleShape};
/// let shape = ScheduleShape::Cosine { total_steps: 1000, min: 0.0 };
/// let lr = ScheduleConfig { warmup_steps: 100, shape }.build(0.1)?;
/// assert!(lr.at(0) < 0.001);
/// assert_eq!(lr.at(100), 0.1);
/// assert!(lr.at(999) < 1e-6);
/// # Ok::<(), flat_optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScheduleConfig {
    /// Steps of linear warm-up before the shape begins.
    pub warmup_steps: u64,
    /// What follows.
    pub shape: ScheduleShape,
}

impl ScheduleConfig {
    /// The schedule that starts (after the warm-up) from `start`.
    ///
    /// # Errors
    /// A number out of its range; a warm-up that is not shorter than the run or does not end before the first milestone.
    pub fn build(self, start: f64) -> Result<Box<dyn Schedule>> {
        let warmup = self.warmup_steps;
        let later = |flag: &'static str, step: u64| {
            step.checked_sub(warmup)
                .filter(|left| *left > 0)
                .ok_or_else(|| Error::option(flag, step, format!("must exceed warmup_steps = {warmup}")))
        };
        let then: Box<dyn Schedule> = match self.shape {
            ScheduleShape::Constant => Box::new(Constant(start)),
            ScheduleShape::Step { every, gamma } => {
                within("gamma", gamma, Range::Positive)?;
                if every == 0 {
                    return Err(Error::option("every", 0, "must be at least 1 step"));
                }
                Box::new(Steps { start, gamma, every })
            }
            ScheduleShape::Milestones { milestones, gamma } => {
                within("gamma", gamma, Range::Positive)?;
                let milestones = milestones.into_iter().map(|m| later("milestones", m)).collect::<Result<Vec<_>>>()?;
                Box::new(Milestones { start, gamma, milestones })
            }
            ScheduleShape::Cosine { total_steps, min } => {
                within("min", min, Range::NonNegative)?;
                if min > start {
                    return Err(Error::option("min", min, format!("must not exceed the starting value {start}")));
                }
                Box::new(Cosine { start, min, total_steps: later("total_steps", total_steps)? })
            }
            ScheduleShape::Window { from, until } => {
                if warmup > 0 {
                    return Err(Error::option("warmup_steps", warmup, "a window has no warm-up"));
                }
                if until.is_some_and(|u| u <= from) {
                    return Err(Error::option("until", until.unwrap_or(0), format!("must exceed from = {from}")));
                }
                Box::new(Window { value: start, from, until })
            }
        };
        Ok(if warmup == 0 { then } else { Box::new(Warmup { steps: warmup, then }) })
    }
}

/// How the perturbation radius changes.
pub enum RadiusSchedule {
    /// From the rule's radius on.
    Shaped(ScheduleConfig),
    /// With the learning rate, from the rule's radius at the full rate to `rho_min` at rate 0 ([`FollowLr`]).
    FollowsLr {
        /// Radius at rate 0.
        rho_min: f64,
    },
    /// The radius itself as a function of the step, in place of the rule's.
    Own(Box<dyn Schedule>),
}

impl From<ScheduleConfig> for RadiusSchedule {
    fn from(config: ScheduleConfig) -> Self {
        Self::Shaped(config)
    }
}

impl<S: Schedule + 'static> From<S> for RadiusSchedule {
    fn from(schedule: S) -> Self {
        Self::Own(Box::new(schedule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(shape: ScheduleShape, warmup_steps: u64, steps: &[u64]) -> Result<Vec<f64>> {
        let s = ScheduleConfig { warmup_steps, shape }.build(1.0)?;
        Ok(steps.iter().map(|t| s.at(*t)).collect())
    }

    #[test]
    fn steps_and_milestones_multiply_at_their_first_step() -> Result<()> {
        let step = ScheduleShape::Step { every: 10, gamma: 0.5 };
        assert_eq!(values(step, 0, &[0, 9, 10, 20])?, [1.0, 1.0, 0.5, 0.25]);
        let milestones = ScheduleShape::Milestones { milestones: vec![5, 8], gamma: 0.5 };
        assert_eq!(values(milestones.clone(), 0, &[4, 5, 7, 8])?, [1.0, 0.5, 0.5, 0.25]);
        assert_eq!(values(milestones, 3, &[4, 5, 7, 8])?, [1.0, 0.5, 0.5, 0.25], "counted from the beginning");
        Ok(())
    }

    #[test]
    fn a_cosine_goes_from_start_to_min_and_stays_there() -> Result<()> {
        let v = values(ScheduleShape::Cosine { total_steps: 100, min: 0.2 }, 0, &[0, 50, 100, 1000])?;
        for (v, expected) in v.iter().zip([1.0, 0.6, 0.2, 0.2]) {
            assert!((v - expected).abs() < 1e-15); // rounding
        }
        Ok(())
    }

    #[test]
    fn a_warm_up_rises_linearly_to_the_start_and_the_whole_ends_with_the_run() -> Result<()> {
        let v = values(ScheduleShape::Cosine { total_steps: 14, min: 0.0 }, 4, &[0, 1, 3, 4, 9, 14])?;
        for (v, expected) in v.iter().zip([0.2, 0.4, 0.8, 1.0, 0.5, 0.0]) {
            assert!((v - expected).abs() < 1e-15); // rounding
        }
        Ok(())
    }

    #[test]
    fn a_window_is_zero_outside() -> Result<()> {
        let window = ScheduleShape::Window { from: 3, until: Some(5) };
        assert_eq!(values(window, 0, &[2, 3, 4, 5])?, [0.0, 1.0, 1.0, 0.0]);
        Ok(())
    }

    #[test]
    fn a_following_radius_has_its_ends_where_the_learning_rate_has_them() {
        let lr = Box::new(Cosine { start: 0.1, min: 0.01, total_steps: 10 });
        let rho = FollowLr { lr, lr_range: (0.01, 0.1), rho_range: (0.04, 0.4) };
        for (step, expected) in [(0, 0.4), (5, 0.22), (10, 0.04)] {
            assert!((rho.at(step) - expected).abs() < 1e-15); // rounding
        }
    }

    #[test]
    fn impossible_schedules_are_refused_by_name() {
        let text = |shape, warmup_steps| {
            ScheduleConfig { warmup_steps, shape }.build(1.0).err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert!(text(ScheduleShape::Cosine { total_steps: 5, min: 0.0 }, 5).starts_with("total_steps = 5"));
        assert!(text(ScheduleShape::Cosine { total_steps: 5, min: 2.0 }, 0).starts_with("min = 2"));
        assert!(text(ScheduleShape::Step { every: 0, gamma: 0.1 }, 0).starts_with("every = 0"));
        assert!(text(ScheduleShape::Milestones { milestones: vec![3], gamma: -1.0 }, 0).starts_with("gamma = -1"));
        assert!(text(ScheduleShape::Window { from: 5, until: Some(5) }, 0).starts_with("until = 5"));
    }
}
