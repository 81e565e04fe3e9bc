//! Learning rates and radii as functions of the step.

mod radius;

pub use radius::{FollowLr, RadiusSchedule};

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

/// The same value at every step.
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

/// `start (1 + growth)^step`, at most `ceiling`. As a radius: the scope of Entropy-SGD, which grows from a small value (Chaudhari
/// et al. 2017, arXiv 1611.01838).
#[derive(Debug, Clone, Copy)]
pub struct Exponential {
    /// Value at step 0.
    pub start: f64,
    /// Growth a step.
    pub growth: f64,
    /// The largest value; infinite for none.
    pub ceiling: f64,
}

impl Schedule for Exponential {
    fn at(&self, step: u64) -> f64 {
        (self.start * (1.0 + self.growth).powf(step as f64)).min(self.ceiling)
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

/// The shape of a change from a start value.
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
    /// `start (1 + (factor - 1) (1 - cos(pi step / total_steps)) / 2)`: half a cosine upwards, by which the radius of LPF-SGD grows
    /// (Bisla et al. 2022, arXiv 2201.08025).
    Rising {
        /// Steps of the whole run, warm-up included.
        total_steps: u64,
        /// The last value over the first, at least 1.
        factor: f64,
    },
    /// [`Exponential`].
    Exponential {
        /// Growth a step.
        growth: f64,
        /// The largest value; `None` for no limit.
        ceiling: Option<f64>,
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
    /// The ends of what follows the warm-up, the lower one first, in a run of so many steps.
    ///
    /// # Errors
    /// As [`Self::build`]; a value that grows without end in a run of unknown length.
    pub fn ends(&self, start: f64, steps: Option<u64>) -> Result<(f64, f64)> {
        let last = match self.shape {
            ScheduleShape::Constant | ScheduleShape::Milestones { .. } => u64::MAX,
            ScheduleShape::Cosine { total_steps, .. } | ScheduleShape::Rising { total_steps, .. } => total_steps,
            ScheduleShape::Step { .. } | ScheduleShape::Exponential { .. } => {
                steps.map_or(u64::MAX, |steps| steps.saturating_sub(self.warmup_steps + 1))
            }
            ScheduleShape::Window { .. } => return Ok((0.0, start)),
        };
        self.clone().build(start)?;
        let whole = Self { warmup_steps: 0, shape: self.shape.clone() }.build(start)?;
        let (first, last) = (whole.at(0), whole.at(last));
        if !last.is_finite() {
            return Err(Error::option(
                "steps",
                "none",
                "a value that grows every so many steps needs the length of the run",
            ));
        }
        Ok((first.min(last), first.max(last)))
    }

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
            ScheduleShape::Rising { total_steps, factor } => {
                within("factor", factor, Range::Positive)?;
                if factor < 1.0 {
                    return Err(Error::option("factor", factor, "must be at least 1; what falls has the shape cosine"));
                }
                Box::new(Cosine { start, min: factor * start, total_steps: later("total_steps", total_steps)? })
            }
            ScheduleShape::Exponential { growth, ceiling } => {
                within("growth", growth, Range::NonNegative)?;
                if let Some(ceiling) = ceiling.filter(|ceiling| *ceiling < start || ceiling.is_nan()) {
                    let expected = format!("must not be below the starting value {start}");
                    return Err(Error::option("ceiling", ceiling, expected));
                }
                Box::new(Exponential { start, growth, ceiling: ceiling.unwrap_or(f64::INFINITY) })
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
    fn a_rising_value_goes_from_the_start_to_a_multiple_of_it_along_half_a_cosine() -> Result<()> {
        let v = values(ScheduleShape::Rising { total_steps: 100, factor: 15.0 }, 0, &[0, 25, 50, 100, 1000])?;
        let quarter = 1.0 + 14.0 * (1.0 - (PI / 4.0).cos()) / 2.0;
        for (v, expected) in v.iter().zip([1.0, quarter, 8.0, 15.0, 15.0]) {
            assert!((v - expected).abs() < 1e-14, "{v} against {expected}"); // rounding
        }
        Ok(())
    }

    #[test]
    fn an_exponential_multiplies_every_step_up_to_its_ceiling() -> Result<()> {
        let free = ScheduleShape::Exponential { growth: 0.5, ceiling: None };
        assert_eq!(values(free.clone(), 0, &[0, 1, 2, 4])?, [1.0, 1.5, 2.25, 5.0625]);
        assert_eq!(values(free, 1, &[0, 1, 2])?, [0.5, 1.0, 1.5], "after its warm-up");
        let capped = ScheduleShape::Exponential { growth: 0.5, ceiling: Some(2.0) };
        assert_eq!(values(capped, 0, &[0, 1, 2, 4000])?, [1.0, 1.5, 2.0, 2.0]);
        Ok(())
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
        assert!(text(ScheduleShape::Rising { total_steps: 5, factor: 0.5 }, 0).starts_with("factor = 0.5"));
        assert!(text(ScheduleShape::Exponential { growth: -0.5, ceiling: None }, 0).starts_with("growth = -0.5"));
        assert!(text(ScheduleShape::Exponential { growth: 0.5, ceiling: Some(0.5) }, 0).starts_with("ceiling = 0.5"));
        assert!(text(ScheduleShape::Window { from: 5, until: Some(5) }, 0).starts_with("until = 5"));
    }
}
