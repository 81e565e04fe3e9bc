//! Right answers of a step, counted where they are found.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))] // a step waits for no device: clippy.toml

use candle_core::{DType, Tensor};
use flat_optim::Result;

/// Rightly classified images among those seen by the evaluations that count: the first of each step.
#[derive(Debug, Default)]
pub struct Tally {
    correct: Option<Tensor>,
}

impl Tally {
    /// Adds so many right answers, a number of f64.
    pub(super) fn add(&mut self, right: Tensor) -> Result<()> {
        self.correct = Some(match self.correct.take() {
            None => right,
            Some(sum) => (sum + right)?,
        });
        Ok(())
    }

    /// Returns the number so far and starts from 0 again. Waits for the device.
    ///
    /// # Errors
    /// candle's.
    #[expect(clippy::disallowed_methods, reason = "outside of steps")]
    pub fn take(&mut self) -> candle_core::Result<f64> {
        self.unread().map_or(Ok(0.0), |c| c.to_scalar())
    }

    /// The number so far, an f64 of no dimension that is left on the device (`None`: nothing was counted), and starts
    /// anew.
    pub fn unread(&mut self) -> Option<Tensor> {
        self.correct.take()
    }
}

/// Number of rows whose largest logit is the label's, as a scalar on the device (f64).
///
/// # Errors
/// candle's.
pub fn correct(logits: &Tensor, labels: &Tensor) -> candle_core::Result<Tensor> {
    right_answers(logits, labels)?.to_dtype(DType::F64)?.sum_all()
}

/// Whether each row's largest logit is the label's: (n), u8.
///
/// # Errors
/// candle's.
pub fn right_answers(logits: &Tensor, labels: &Tensor) -> candle_core::Result<Tensor> {
    logits.detach().argmax(1)?.eq(labels)
}
