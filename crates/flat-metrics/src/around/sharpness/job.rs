//! The gradient and loss evaluations behind each measure of sharpness.

use super::measure::Noise;
use crate::around::ascent::ascend;
use crate::around::ball::Ball;
use crate::around::surface::Surface;
use crate::objective::{Objective, batch_gradient};
use crate::observer::{Observer, Progress, ask};
use crate::statistics::{Estimate, Moments};
use crate::{Error, Result};
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

/// The observer of the evaluations that follow so many.
fn after(done: u64, observer: &mut dyn Observer) -> impl FnMut(&Progress) -> ControlFlow<()> {
    move |at| observer.observe(&Progress { done: done + at.done, ..*at })
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
    pub(super) fn first_order(&mut self, ball: &Ball, observer: &mut dyn Observer) -> Result<Found> {
        let (_, grad) = self.surface.gradient(self.theta, &mut after(1, observer))?;
        let displaced = match ball.steepest(&grad)? {
            Some(delta) => self.surface.loss(&self.theta.plus(1.0, &delta)?, &mut after(2, observer))?,
            None => self.loss,
        };
        Ok(Found { value: displaced - self.loss, displaced, ..Found::default() })
    }

    pub(super) fn per_batch(&mut self, ball: &Ball, observer: &mut dyn Observer) -> Result<Found> {
        let (mut value, mut displaced) = (0.0, 0.0);
        let batches = self.objective.batches();
        for i in 0..batches {
            ask(observer, &Progress { done: 1, ..Progress::within(i, batches) })?;
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

    pub(super) fn pairs(&mut self, pairs: u64, draw: &Draw, observer: &mut dyn Observer) -> Result<Found> {
        let mut sample = Moments::default();
        let mut interrupted = false;
        for k in 0..pairs {
            let delta = draw.delta(self.theta, &self.streams.at2(Purpose::Probe, PAIRS, k))?;
            let mut half =
                |sign: f64, done| self.surface.loss(&self.theta.plus(sign, &delta)?, &mut after(done, observer));
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

    pub(super) fn worst(&mut self, ball: &Ball, steps: u64, starts: u64, observer: &mut dyn Observer) -> Result<Found> {
        let mut found = Found { displaced: self.loss, ..Found::default() };
        for k in 0..starts {
            let random = || ball.random(&self.streams.at2(Purpose::Probe, STARTS, k));
            let start = if k == 0 { ParamVec::zeros(&self.theta.space())? } else { random()? };
            let done = 1 + k * (steps + 1);
            match ascend(self.surface, self.theta, ball, start, random, steps, &mut after(done, observer)) {
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
