//! How the perturbation radius changes: along a shape, with the learning rate, or as its owner says.

use super::{Schedule, ScheduleConfig};
use crate::error::within;
use crate::{Error, Result};
use flat_core::setting::Range;

/// A radius that follows the learning rate (GSAM, Zhuang et al. 2022, arXiv 2203.08065, section 4):
/// `rho_min + (rho_max - rho_min) (lr - lr_min) / (lr_max - lr_min)`, and `rho_max` where the two rates are equal.
///
/// The radius stays between its ends, where the authors' code lets it fall below `rho_min` in a warm-up that starts below
/// `lr_min`.
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
        if lr_max == lr_min {
            return rho_max;
        }
        let rho = rho_min + (rho_max - rho_min) * (self.lr.at(step) - lr_min) / (lr_max - lr_min);
        rho.max(rho_min.min(rho_max)).min(rho_max.max(rho_min))
    }
}

/// The change of the perturbation radius over the run.
pub enum RadiusSchedule {
    /// From the rule's radius on.
    Shaped(ScheduleConfig),
    /// With the learning rate ([`FollowLr`]): from `rho_min` at the lowest rate of its schedule, the warm-up left out, to the rule's
    /// radius at the highest.
    FollowsLr {
        /// Radius at the lowest rate, at most the rule's.
        rho_min: f64,
    },
    /// The radius itself as a function of the step, in place of the rule's.
    Own(Box<dyn Schedule>),
}

impl RadiusSchedule {
    /// The radius of every step, where the rule's is `radius` and the learning rate starts from `lr_start`, in a run of so many
    /// steps.
    ///
    /// # Errors
    /// As [`ScheduleConfig::build`] and [`ScheduleConfig::ends`]; a lower end that is not one.
    pub fn build(
        self,
        radius: f64,
        lr: &ScheduleConfig,
        lr_start: f64,
        steps: Option<u64>,
    ) -> Result<Box<dyn Schedule>> {
        match self {
            Self::Shaped(config) => config.build(radius),
            Self::Own(schedule) => Ok(schedule),
            Self::FollowsLr { rho_min } => {
                within("min-rho", rho_min, Range::NonNegative)?;
                if rho_min > radius {
                    return Err(Error::option(
                        "min-rho",
                        rho_min,
                        format!("must not exceed the rule's radius {radius}"),
                    ));
                }
                let lr_range = lr.ends(lr_start, steps)?;
                Ok(Box::new(FollowLr { lr: lr.clone().build(lr_start)?, lr_range, rho_range: (rho_min, radius) }))
            }
        }
    }
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
    use crate::{Cosine, ScheduleShape};

    #[test]
    fn a_following_radius_has_its_ends_where_the_learning_rate_has_them() {
        let lr = Box::new(Cosine { start: 0.1, min: 0.01, total_steps: 10 });
        let rho = FollowLr { lr, lr_range: (0.01, 0.1), rho_range: (0.04, 0.4) };
        for (step, expected) in [(0, 0.4), (5, 0.22), (10, 0.04)] {
            assert!((rho.at(step) - expected).abs() < 1e-15); // rounding
        }
    }

    fn followed(shape: ScheduleShape, warmup_steps: u64, steps: Option<u64>, at: &[u64]) -> Result<Vec<f64>> {
        let lr = ScheduleConfig { warmup_steps, shape };
        let rho = RadiusSchedule::FollowsLr { rho_min: 0.1 }.build(0.5, &lr, 0.2, steps)?;
        Ok(at.iter().map(|step| rho.at(*step)).collect())
    }

    fn near(values: &[f64], expected: &[f64]) {
        for (v, expected) in values.iter().zip(expected) {
            assert!((v - expected).abs() < 1e-15, "{values:?} against {expected}"); // rounding
        }
    }

    #[test]
    fn the_ends_of_the_rate_are_those_of_its_schedule_without_its_warm_up() -> Result<()> {
        let cosine = ScheduleShape::Cosine { total_steps: 14, min: 0.1 };
        // the rate is 0.04, 0.08, 0.12, 0.16 in the warm-up, then 0.2 to 0.1, and 0.15 half-way
        near(&followed(cosine, 4, None, &[0, 1, 2, 3, 4, 9, 14])?, &[0.1, 0.1, 0.18, 0.34, 0.5, 0.3, 0.1]);
        // 0.2, 0.1, 0.05: the last that the run reaches is the lowest
        let step = ScheduleShape::Step { every: 10, gamma: 0.5 };
        near(&followed(step.clone(), 0, Some(30), &[0, 10, 29])?, &[0.5, 0.1 + 0.4 / 3.0, 0.1]);
        near(&followed(step, 0, None, &[0, 10, 20])?, &[0.5, 0.3, 0.2]);
        Ok(())
    }

    #[test]
    fn a_rate_that_stays_leaves_the_radius_as_it_is_even_in_its_warm_up() -> Result<()> {
        assert_eq!(followed(ScheduleShape::Constant, 3, None, &[0, 2, 3, 50])?, [0.5; 4]);
        Ok(())
    }

    #[test]
    fn a_lower_end_above_the_radius_and_a_rate_without_an_end_are_refused() {
        let lr = ScheduleConfig { warmup_steps: 0, shape: ScheduleShape::Step { every: 1, gamma: 2.0 } };
        let text = |rho_min| {
            RadiusSchedule::FollowsLr { rho_min }
                .build(0.5, &lr, 0.2, None)
                .err()
                .map(|e| e.to_string())
                .unwrap_or_default()
        };
        assert!(text(0.6).starts_with("min-rho = 0.6") && text(0.1).starts_with("steps = none"));
    }
}
