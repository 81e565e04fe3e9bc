//! The evaluations behind each measure of sharpness.

use super::Noise;
use crate::ascent::ascend;
use crate::ball::Ball;
use crate::estimate::Moments;
use crate::gradient::batch_gradient;
use crate::operator::tick;
use crate::surface::Surface;
use crate::{Error, Estimate, Objective, Result, Tick};
use flat_core::{ParamVec, Purpose, Stream, Streams};
use std::ops::ControlFlow;

/// What a measure found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) value: f64,
    pub(super) displaced: f64,
    pub(super) estimate: Option<Estimate>,
    pub(super) starts: Vec<f64>,
    pub(super) interrupted: bool,
}

/// Streams of the draws, apart from those of traces and spectra.
const PAIRS: u64 = u64::MAX - 2;
const STARTS: u64 = u64::MAX - 3;

type Report<'w> = dyn FnMut(u64, Tick) -> ControlFlow<()> + 'w;

/// How a displacement is drawn.
pub(super) struct Draw {
    pub(super) rho: f64,
    pub(super) noise: Noise,
    pub(super) adaptive: Option<f64>,
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
pub(super) struct Job<'j, 'a, O: ?Sized> {
    pub(super) objective: &'a O,
    pub(super) surface: &'j mut Surface<'a, O>,
    pub(super) theta: &'j ParamVec,
    pub(super) loss: f64,
    pub(super) streams: &'j Streams,
}

impl<O: Objective + ?Sized> Job<'_, '_, O> {
    pub(super) fn first_order(&mut self, ball: &Ball, watch: &mut Report<'_>) -> Result<Found> {
        let (_, grad) = self.surface.gradient(self.theta, &mut |tick| watch(1, tick))?;
        let displaced = match ball.steepest(&grad)? {
            Some(delta) => self.surface.loss(&self.theta.plus(1.0, &delta)?, &mut |tick| watch(2, tick))?,
            None => self.loss,
        };
        Ok(Found { value: displaced - self.loss, displaced, ..Found::default() })
    }

    pub(super) fn per_batch(&mut self, ball: &Ball, watch: &mut Report<'_>) -> Result<Found> {
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

    pub(super) fn pairs(&mut self, pairs: u64, draw: &Draw, watch: &mut Report<'_>) -> Result<Found> {
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

    pub(super) fn worst(&mut self, ball: &Ball, steps: u64, starts: u64, watch: &mut Report<'_>) -> Result<Found> {
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
