//! How much the loss grows around the parameters.

use crate::ascent::ascend;
use crate::ball::{Ball, Geometry};
use crate::estimate::Moments;
use crate::gradient::batch_gradient;
use crate::operator::tick;
use crate::surface::Surface;
use crate::{Error, Estimate, Objective, Result, Tick, check_determinism};
use flat_core::{ParamVec, Purpose, Stream, Streams};
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
    /// order \[2 l a pair\].
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

/// How far a measure has come; given to its callback before every batch.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SharpnessProgress {
    /// Evaluations of the data set completed, losses and gradients alike.
    pub evaluations: u64,
    /// Most evaluations there will be.
    pub max_evaluations: u64,
    /// Position within the current evaluation.
    pub tick: Tick,
    /// Seconds since the start.
    pub wall_s: f64,
}

/// A sharpness, its error where it is random, and what it was computed on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SharpnessReport {
    /// What was measured, with its radius.
    #[serde(flatten)]
    pub sharpness: Sharpness,
    /// The value, see [`Sharpness`].
    pub value: f64,
    /// Standard error and 95 % interval of `value` over the pairs; `None` where the measure draws nothing or is a maximum.
    pub estimate: Option<Estimate>,
    /// Loss at theta.
    pub loss: f64,
    /// Loss at the displaced parameters: the mean, or the largest.
    pub displaced: f64,
    /// What each ascent reached, as a difference from `loss`; empty for the other measures.
    pub starts: Vec<f64>,
    /// Gradients of the data set spent.
    pub gradients: u64,
    /// Losses of the data set spent beside them.
    pub losses: u64,
    /// d, the number of trainable parameters.
    pub dim: usize,
    /// Examples that the loss averages over.
    pub examples: usize,
    /// Batches these were taken in.
    pub batches: usize,
    /// BatchNorm mode, where known.
    pub bn_mode: Option<String>,
    /// Element type, `f32` or `f64`.
    pub dtype: String,
    /// Seed of the draws.
    pub seed: u64,
    /// The callback asked to stop; the report covers the pairs or ascents completed.
    pub interrupted: bool,
    /// Seconds spent.
    pub wall_s: f64,
}

/// What a measure found.
#[derive(Default)]
struct Found {
    value: f64,
    displaced: f64,
    estimate: Option<Estimate>,
    starts: Vec<f64>,
    interrupted: bool,
}

/// Streams of the draws, apart from those of traces and spectra.
const PAIRS: u64 = u64::MAX - 2;
const STARTS: u64 = u64::MAX - 3;

type Report<'w> = dyn FnMut(u64, Tick) -> ControlFlow<()> + 'w;

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

/// How a displacement is drawn.
struct Draw {
    rho: f64,
    noise: Noise,
    adaptive: Option<f64>,
}

impl Draw {
    fn delta(&self, theta: &ParamVec, stream: &Stream) -> Result<ParamVec> {
        let space = theta.space();
        let delta = match self.noise {
            Noise::Sphere => ParamVec::sphere(&space, stream)?.scaled(self.rho)?,
            Noise::Gaussian => ParamVec::gaussian(&space, self.rho / (theta.layout().len() as f64).sqrt(), stream)?,
        };
        let Some(eta) = self.adaptive else { return Ok(delta) };
        let units = theta.to_f64()?.into_iter().map(|x| x.abs() + eta).collect();
        Ok(delta.hadamard(&ParamVec::from_f64(&space, units)?)?)
    }
}

/// One measurement.
struct Job<'j, 'a, O: ?Sized> {
    objective: &'a O,
    surface: &'j mut Surface<'a, O>,
    theta: &'j ParamVec,
    loss: f64,
    streams: &'j Streams,
}

impl<O: Objective + ?Sized> Job<'_, '_, O> {
    fn first_order(&mut self, ball: &Ball, watch: &mut Report<'_>) -> Result<Found> {
        let (_, grad) = self.surface.gradient(self.theta, &mut |tick| watch(1, tick))?;
        let displaced = match ball.steepest(&grad)? {
            Some(delta) => self.surface.loss(&self.theta.plus(1.0, &delta)?, &mut |tick| watch(2, tick))?,
            None => self.loss,
        };
        Ok(Found { value: displaced - self.loss, displaced, ..Found::default() })
    }

    fn per_batch(&mut self, ball: &Ball, watch: &mut Report<'_>) -> Result<Found> {
        let (mut value, mut displaced) = (0.0, 0.0);
        let batches = self.objective.batches();
        for i in 0..batches {
            tick(&mut |tick| watch(1, tick), i, batches)?;
            self.surface.go(self.theta)?;
            let (here, grad) = batch_gradient(self.objective, i)?;
            let there = match ball.steepest(&grad)? {
                Some(delta) => {
                    self.surface.go(&self.theta.plus(1.0, &delta)?)?;
                    self.surface.batch_loss(i)?
                }
                None => here,
            };
            value += self.objective.weight(i) * (there - here);
            displaced += self.objective.weight(i) * there;
        }
        self.surface.gradients += 1;
        self.surface.losses += 1;
        Ok(Found { value, displaced, ..Found::default() })
    }

    fn pairs(&mut self, pairs: u64, draw: &Draw, watch: &mut Report<'_>) -> Result<Found> {
        let mut sample = Moments::default();
        let mut interrupted = false;
        for k in 0..pairs {
            let delta = draw.delta(self.theta, &self.streams.at2(Purpose::Probe, PAIRS, k))?;
            let mut half =
                |sign: f64, done| self.surface.loss(&self.theta.plus(sign, &delta)?, &mut |t| watch(done, t));
            let pair = half(1.0, 1 + 2 * k).and_then(|a| Ok((a, half(-1.0, 2 + 2 * k)?)));
            match pair {
                Ok((a, b)) => sample.push(0.5 * (a + b)),
                Err(Error::Interrupted) if k > 0 => {
                    interrupted = true;
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        let mean = sample.estimate(0.95, 0)?;
        Ok(Found { value: mean.value, displaced: mean.value, estimate: Some(mean), interrupted, ..Found::default() })
    }

    fn worst(&mut self, ball: &Ball, steps: u64, starts: u64, watch: &mut Report<'_>) -> Result<Found> {
        let mut found = Found { displaced: self.loss, ..Found::default() };
        for k in 0..starts {
            let random = || ball.random(&self.streams.at2(Purpose::Probe, STARTS, k));
            let start = if k == 0 { ParamVec::zeros(&self.theta.space())? } else { random()? };
            let done = 1 + k * (steps + 1);
            let watch = &mut |step, tick| watch(done + step, tick);
            match ascend(self.surface, self.theta, ball, start, random, steps, watch) {
                Ok(summit) => {
                    found.starts.push(summit - self.loss);
                    found.displaced = found.displaced.max(summit);
                }
                Err(Error::Interrupted) if k > 0 => {
                    found.interrupted = true;
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        found.value = found.displaced - self.loss;
        Ok(found)
    }
}
