//! The context of a step: what a rule knows of it besides the oracle.

use crate::Result;
use flat_core::{ParamVec, Purpose, Space, Stream, Streams};

/// Sizes of the run that the builder was told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// Training examples in all.
    pub examples: Option<u64>,
    /// Steps in all.
    pub steps: Option<u64>,
}

/// The context of the present step: what a rule knows of it besides the oracle.
#[derive(Debug, Clone, Copy)]
pub struct Ctx<'a> {
    /// Index of the step, from 0; part of the key of every draw.
    pub step: u64,
    /// How far the schedules are: the step, or where they go by evaluations the number of cheapest steps that those would have paid
    /// for.
    pub place: u64,
    /// Scheduled perturbation radius: rho, or sigma for a Gaussian. Above 0 for every rule that has a radius.
    pub rho: f64,
    /// Scheduled learning rate.
    pub lr: f64,
    /// The learning rate that its schedule starts from.
    lr_start: f64,
    /// The base optimizer's momentum before the step, where it has one.
    pub momentum: Option<&'a ParamVec>,
    /// What the builder was told of the run.
    pub known: Known,
    /// Which part of the batch the rule sees, where it runs on each apart; part of the key of every draw.
    part: u64,
    streams: Streams,
    space: &'a Space,
    mask: Option<&'a ParamVec>,
}

impl<'a> Ctx<'a> {
    /// The context of step `step` at a constant learning rate. `mask` as in [`crate::Oracle::new`].
    pub fn new(step: u64, rho: f64, lr: f64, streams: Streams, space: &'a Space, mask: Option<&'a ParamVec>) -> Self {
        Self {
            step,
            place: step,
            rho,
            lr,
            lr_start: lr,
            momentum: None,
            known: Known::default(),
            part: 0,
            streams,
            space,
            mask,
        }
    }

    /// The same for a schedule of the learning rate that starts from `lr_start`.
    #[must_use]
    pub fn started_from(self, lr_start: f64) -> Self {
        Self { lr_start, ..self }
    }

    /// The same where the schedules are elsewhere.
    pub(crate) fn at(self, place: u64) -> Self {
        Self { place, ..self }
    }

    /// The same with what the base and the builder know.
    pub(crate) fn knowing(self, momentum: Option<&'a ParamVec>, known: Known) -> Self {
        Self { momentum, known, ..self }
    }

    /// The same for another radius.
    #[must_use]
    pub fn with_rho(&self, rho: f64) -> Self {
        Self { rho, ..*self }
    }

    /// The same for the part of this index of the batch, whose draws are its own.
    #[must_use]
    pub fn of_part(&self, part: u64) -> Self {
        Self { part, ..*self }
    }

    /// The learning rate of this step, had its schedule started from `lr`.
    pub fn lr_from(&self, lr: f64) -> f64 {
        self.lr * (lr / self.lr_start)
    }

    /// The stream of this step for a purpose.
    pub fn stream(&self, purpose: Purpose) -> Stream {
        match self.part {
            0 => self.streams.at(purpose, self.step),
            part => self.streams.at2(purpose, self.step, part << 32),
        }
    }

    /// The stream of the `index`-th use of this step.
    pub fn stream_at(&self, purpose: Purpose, index: u64) -> Stream {
        self.streams.at2(purpose, self.step, index | self.part << 32)
    }

    /// Uniform on the unit sphere of all perturbed parameters together. A rule that goes along it spares a pass by
    /// [`crate::Oracle::ascend_along`] a [`Self::gaussian`].
    ///
    /// # Errors
    /// candle's.
    pub fn sphere(&self) -> Result<ParamVec> {
        let z = ParamVec::noise(self.space, &self.stream(Purpose::Perturb))?;
        let perturbed = match self.mask {
            Some(mask) => z.hadamard(mask)?,
            None => z,
        };
        Ok(perturbed.direction(!self.space.device.is_cpu())?)
    }

    /// The `index`-th draw of N(0, I) of this step.
    ///
    /// # Errors
    /// candle's.
    pub fn gaussian(&self, index: u64) -> Result<ParamVec> {
        Ok(ParamVec::noise(self.space, &self.stream_at(Purpose::Perturb, index))?)
    }
}
