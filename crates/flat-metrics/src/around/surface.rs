//! The loss at points around the parameters, with its evaluations counted.

use crate::Result;
use crate::objective::{Objective, batch_gradient, scalar};
use crate::observer::{Observer, Progress, ask};
use flat_core::{ParamVec, Restore};

/// Evaluates an objective at other parameters than its own, which come back bit for bit when it goes: after success, error
/// and panic.
pub(crate) struct Surface<'a, O: ?Sized> {
    objective: &'a O,
    there: Restore<'a>,
    /// Gradients of all batches.
    pub(crate) gradients: u64,
    /// Losses of all batches without gradient.
    pub(crate) losses: u64,
}

impl<'a, O: Objective + ?Sized> Surface<'a, O> {
    /// `theta` must be a copy of the present parameters.
    pub(crate) fn new(objective: &'a O, theta: &'a ParamVec) -> Result<Self> {
        let there = Restore::replace(objective.params(), theta, theta)?;
        Ok(Self { objective, there, gradients: 0, losses: 0 })
    }

    /// Leaves the parameters at `point`.
    pub(crate) fn go(&self, point: &ParamVec) -> Result<()> {
        Ok(self.there.set(point)?)
    }

    /// Mean loss at `point`.
    pub(crate) fn loss(&mut self, point: &ParamVec, observer: &mut dyn Observer) -> Result<f64> {
        self.go(point)?;
        let mut total = 0.0;
        for i in 0..self.objective.batches() {
            ask(observer, &Progress::within(i, self.objective.batches()))?;
            total += self.objective.weight(i) * self.batch_loss(i)?;
        }
        self.losses += 1;
        Ok(total)
    }

    /// Loss of one batch where the parameters are.
    pub(crate) fn batch_loss(&self, i: usize) -> Result<f64> {
        scalar(&self.objective.loss(i)?.detach(), i, "loss")
    }

    /// Mean loss and its gradient at `point`.
    pub(crate) fn gradient(&mut self, point: &ParamVec, observer: &mut dyn Observer) -> Result<(f64, ParamVec)> {
        self.go(point)?;
        let (mut total, mut grad) = (0.0, ParamVec::zeros(self.objective.params().space())?);
        for i in 0..self.objective.batches() {
            ask(observer, &Progress::within(i, self.objective.batches()))?;
            let (loss, g) = batch_gradient(self.objective, i)?;
            total += self.objective.weight(i) * loss;
            grad.add_scaled(self.objective.weight(i), &g)?;
        }
        self.gradients += 1;
        Ok((total, grad))
    }

    /// Puts the parameters back and says whether that worked.
    pub(crate) fn finish(self) -> Result<()> {
        Ok(self.there.finish()?)
    }
}
