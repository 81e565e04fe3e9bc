//! How much the loss grows around the parameters.

mod job;
mod report;

pub use report::{SharpnessProgress, SharpnessReport};

use crate::ball::{Ball, Geometry};
use crate::surface::Surface;
use crate::{Error, Objective, Result, check_determinism};
use flat_core::Streams;
use job::{Draw, Job};
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::Instant;

/// Sharpness of a loss L at the parameters theta. What `value` of the report is, in brackets the cost in gradients (g) and
/// losses (l) of the data set beside the loss at theta:
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "measure")]
pub enum Sharpness {
    /// `L(theta + delta) - L(theta)` at the delta of the ball that the linear part of L grows most by, SAM's step (Foret et
    /// al. 2021, arXiv 2010.01412) \[1 g, 1 l\].
    FirstOrder {
        /// Radius.
        rho: f64,
        /// Which ball.
        geometry: Geometry,
    },
    /// m-sharpness: the mean of the former over the objective's batches, each with the step of its own gradient (Foret et
    /// al. 2021); m is the size of the batches \[1 g, 1 l\].
    PerBatch {
        /// Radius.
        rho: f64,
        /// Which ball.
        geometry: Geometry,
    },
    /// `E L(theta + delta) - L(theta)`, by antithetic pairs `+-delta`, whose odd terms cancel: `rho^2 tr(H) / 2d` to second
    /// order for a smooth loss \[2 l a pair\]. The kinks of ReLU that the displacements cross count as curvature, which can
    /// be many times that of the Hessian.
    Average {
        /// Root of the mean of `||delta||^2`; with `adaptive` that of `||delta / (|theta| + eta)||^2`.
        rho: f64,
        /// Distribution of delta.
        noise: Noise,
        /// Scale each element by `|theta| + eta` with this eta.
        adaptive: Option<f64>,
        /// Pairs drawn.
        pairs: u64,
    },
    /// `max L(theta + delta) - L(theta)` over the ball by projected gradient ascent, from theta itself and from random points;
    /// a lower bound of the maximum, and `starts` tells how well the ascents agree \[1 g a step and start\].
    Worst {
        /// Radius.
        rho: f64,
        /// Which ball.
        geometry: Geometry,
        /// Steps of each ascent.
        steps: u64,
        /// Ascents; the first starts at theta.
        starts: u64,
    },
    /// `E L(theta + delta)` with `delta ~ N(0, sigma^2 I)`, the low-pass filtered loss itself (Bisla, Wang & Choromanska
    /// 2022, arXiv 2201.08025), by antithetic pairs \[2 l a pair\].
    LowPass {
        /// Standard deviation of each element.
        sigma: f64,
        /// Pairs drawn.
        pairs: u64,
    },
    /// `100 (max L(theta + delta) - L(theta)) / (1 + L(theta))` over the box `|delta_i| <= epsilon (|theta_i| + 1)` (Keskar et
    /// al. 2017, arXiv 1609.04836, in the full space), by the ascent of `Worst` instead of their L-BFGS-B \[1 g a step and
    /// start\].
    Keskar {
        /// Size of the box.
        epsilon: f64,
        /// Steps of each ascent.
        steps: u64,
        /// Ascents; the first starts at theta.
        starts: u64,
    },
}

/// Distribution of a random displacement in d dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// Uniform on the sphere of radius rho.
    Sphere,
    /// `N(0, rho^2 / d)` for each element.
    Gaussian,
}

impl Sharpness {
    /// The same, if it makes sense.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field.
    pub fn validated(self) -> Result<Self> {
        let positive = |field, x: f64| match x.is_finite() && x > 0.0 {
            true => Ok(()),
            false => Err(Error::BadConfig { field, value: x.to_string(), remedy: "give a number above 0" }),
        };
        let some = |field, n: u64| match n {
            0 => Err(Error::BadConfig { field, value: "0".into(), remedy: "give at least 1" }),
            _ => Ok(()),
        };
        match self {
            Self::FirstOrder { rho, geometry } | Self::PerBatch { rho, geometry } => {
                positive("rho", rho)?;
                geometry.validated()?;
            }
            Self::Average { rho, adaptive, pairs, .. } => {
                positive("rho", rho)?;
                some("pairs", pairs)?;
                Geometry::AdaptiveL2 { eta: adaptive.unwrap_or(0.0) }.validated()?;
            }
            Self::Worst { rho, geometry, steps, starts } => {
                positive("rho", rho)?;
                geometry.validated()?;
                some("steps", steps)?;
                some("starts", starts)?;
            }
            Self::LowPass { sigma, pairs } => {
                positive("sigma", sigma)?;
                some("pairs", pairs)?;
            }
            Self::Keskar { epsilon, steps, starts } => {
                positive("epsilon", epsilon)?;
                some("steps", steps)?;
                some("starts", starts)?;
            }
        }
        Ok(self)
    }

    /// Evaluations of the data set at most, gradients and losses alike.
    pub fn max_evaluations(&self) -> u64 {
        1 + match *self {
            Self::FirstOrder { .. } | Self::PerBatch { .. } => 2,
            Self::Average { pairs, .. } | Self::LowPass { pairs, .. } => pairs.saturating_mul(2),
            Self::Worst { steps, starts, .. } | Self::Keskar { steps, starts, .. } => {
                steps.saturating_add(1).saturating_mul(starts)
            }
        }
    }

    /// Measures at the present parameters, which are the same bit for bit afterwards; evaluates the first batch twice to
    /// check that it is deterministic.
    ///
    /// # Errors
    /// Those of [`Self::validated`] and [`check_determinism`]; a loss that is not finite somewhere around; the objective's
    /// own.
    pub fn run<O: Objective + ?Sized>(&self, objective: &O, streams: &Streams) -> Result<SharpnessReport> {
        self.run_watched(objective, streams, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`Self::run`], calling `progress` before every batch. [`ControlFlow::Break`] ends the run with the report of the
    /// pairs or ascents completed. The callback must not use the model, which is displaced.
    ///
    /// # Errors
    /// As [`Self::run`]; [`Error::Interrupted`] if none was completed.
    pub fn run_watched<O: Objective + ?Sized>(
        &self,
        objective: &O,
        streams: &Streams,
        progress: &mut dyn FnMut(&SharpnessProgress) -> ControlFlow<()>,
    ) -> Result<SharpnessReport> {
        let (this, start) = (self.validated()?, Instant::now());
        check_determinism(objective)?;
        let theta = objective.params().read()?;
        let mut surface = Surface::new(objective, &theta)?;
        let max_evaluations = this.max_evaluations();
        let mut watch = |evaluations, tick| {
            progress(&SharpnessProgress { evaluations, max_evaluations, tick, wall_s: start.elapsed().as_secs_f64() })
        };
        let loss = surface.loss(&theta, &mut |tick| watch(0, tick))?;
        let mut job = Job { objective, surface: &mut surface, theta: &theta, loss, streams };
        let found = match this {
            Self::FirstOrder { rho, geometry } => job.first_order(&Ball::new(geometry, rho, &theta)?, &mut watch)?,
            Self::PerBatch { rho, geometry } => job.per_batch(&Ball::new(geometry, rho, &theta)?, &mut watch)?,
            Self::Average { rho, noise, adaptive, pairs } => {
                let mut found = job.pairs(pairs, &Draw { rho, noise, adaptive }, &mut watch)?;
                // the loss at theta is no random number: the interval moves with it
                found.value -= loss;
                found.estimate = found.estimate.map(|e| e.shifted(-loss));
                found
            }
            Self::LowPass { sigma, pairs } => {
                let rho = sigma * (theta.layout().len() as f64).sqrt();
                job.pairs(pairs, &Draw { rho, noise: Noise::Gaussian, adaptive: None }, &mut watch)?
            }
            Self::Worst { rho, geometry, steps, starts } => {
                job.worst(&Ball::new(geometry, rho, &theta)?, steps, starts, &mut watch)?
            }
            Self::Keskar { epsilon, steps, starts } => {
                let ball = Ball::new(Geometry::AdaptiveLInf { eta: 1.0 }, epsilon, &theta)?;
                let mut found = job.worst(&ball, steps, starts, &mut watch)?;
                found.value *= 100.0 / (1.0 + loss);
                found
            }
        };
        let (gradients, losses) = (surface.gradients, surface.losses);
        surface.finish()?;
        Ok(SharpnessReport {
            sharpness: this,
            value: found.value,
            estimate: found.estimate,
            loss,
            displaced: found.displaced,
            starts: found.starts,
            gradients,
            losses,
            dim: theta.layout().len(),
            examples: objective.examples(),
            batches: objective.batches(),
            bn_mode: objective.bn_mode().map(Into::into),
            dtype: objective.params().space().dtype.as_str().into(),
            seed: streams.seed(),
            interrupted: found.interrupted,
            wall_s: start.elapsed().as_secs_f64(),
        })
    }
}
