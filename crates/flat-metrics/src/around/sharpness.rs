//! How much the loss grows around the parameters.

mod job;
mod measure;
mod rise;

pub use measure::{Noise, Sharpness};
pub use rise::Rise;

use super::ball::{Ball, Geometry};
use super::surface::Surface;
use crate::Result;
use crate::measured::{Effort, Measured, Stop};
use crate::objective::{Objective, check_determinism, provenance};
use crate::observer::{Observer, Progress};
use flat_core::Streams;
use job::{Draw, Job};
use std::time::Instant;

impl Sharpness {
    /// Measures at the present parameters, which are the same bit for bit afterwards; evaluates the first batch twice to
    /// check that it is deterministic. The observer sees evaluations as units. An interruption gives the report of the
    /// pairs or ascents completed.
    ///
    /// # Errors
    /// Those of [`Self::validated`] and [`check_determinism`]; a loss that is not finite somewhere around; the objective's
    /// own; [`crate::Error::Interrupted`] if no pair or ascent was completed.
    pub fn run<O: Objective + ?Sized>(
        &self,
        objective: &O,
        streams: &Streams,
        observer: &mut dyn Observer,
    ) -> Result<Measured<Rise>> {
        let (this, start) = (self.validated()?, Instant::now());
        check_determinism(objective)?;
        let theta = objective.params().read()?;
        let mut surface = Surface::new(objective, &theta)?;
        let of = this.max_evaluations();
        let mut watch = |at: &Progress| observer.observe(&Progress { of, ..*at });
        let loss = surface.loss(&theta, &mut watch)?;
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
        Ok(Measured {
            result: Rise {
                sharpness: this,
                value: found.value,
                estimate: found.estimate,
                loss,
                displaced: found.displaced,
                starts: found.starts,
            },
            provenance: provenance(objective, None),
            effort: Effort {
                gradients,
                losses,
                seed: Some(streams.seed()),
                wall_s: start.elapsed().as_secs_f64(),
                ..Effort::default()
            },
            stop: Stop::interrupted_if(found.interrupted),
        })
    }
}
