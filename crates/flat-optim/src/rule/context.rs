//! What a rule knows of the present step besides the oracle.

use crate::Result;
use flat_core::{ParamVec, Purpose, Space, Stream, Streams};

/// What a rule knows of the present step besides the oracle.
#[derive(Debug)]
pub struct Ctx<'a> {
    /// Index of the step, from 0; part of the key of every draw.
    pub step: u64,
    /// Scheduled perturbation radius: rho, or sigma for a Gaussian. Above 0 for every rule that has a radius.
    pub rho: f64,
    /// Scheduled learning rate.
    pub lr: f64,
    /// The learning rate that its schedule starts from.
    lr_start: f64,
    streams: Streams,
    space: &'a Space,
    mask: Option<&'a ParamVec>,
}

impl<'a> Ctx<'a> {
    /// The context of step `step` at a constant learning rate. `mask` as in [`crate::Oracle::new`].
    pub fn new(step: u64, rho: f64, lr: f64, streams: Streams, space: &'a Space, mask: Option<&'a ParamVec>) -> Self {
        Self { step, rho, lr, lr_start: lr, streams, space, mask }
    }

    /// The same for a schedule of the learning rate that starts from `lr_start`.
    #[must_use]
    pub fn started_from(self, lr_start: f64) -> Self {
        Self { lr_start, ..self }
    }

    /// The learning rate of this step, had its schedule started from `lr`.
    pub fn lr_from(&self, lr: f64) -> f64 {
        self.lr * (lr / self.lr_start)
    }

    /// The stream of this step for a purpose.
    pub fn stream(&self, purpose: Purpose) -> Stream {
        self.streams.at(purpose, self.step)
    }

    /// Uniform on the unit sphere of all perturbed parameters together.
    ///
    /// # Errors
    /// candle's.
    pub fn sphere(&self) -> Result<ParamVec> {
        let stream = self.stream(Purpose::Perturb);
        let Some(mask) = self.mask else { return Ok(ParamVec::sphere(self.space, &stream)?) };
        let u = ParamVec::gaussian(self.space, 1.0, &stream)?.hadamard(mask)?;
        Ok(u.direction(!self.space.device.is_cpu())?)
    }

    /// The `index`-th draw of N(0, I) of this step.
    ///
    /// # Errors
    /// candle's.
    pub fn gaussian(&self, index: u64) -> Result<ParamVec> {
        Ok(ParamVec::gaussian(self.space, 1.0, &self.streams.at2(Purpose::Perturb, self.step, index))?)
    }
}
