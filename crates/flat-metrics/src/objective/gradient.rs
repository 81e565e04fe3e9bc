//! Loss and gradient of an objective over all its batches.

use super::loss::Objective;
use super::tensor::finite;
use crate::Result;
use crate::observer::{Observer, Progress, Silent, ask};
use flat_core::ParamVec;

/// Mean loss and its gradient over all batches. Costs one gradient evaluation of the data set.
///
/// # Errors
/// A parameter that the loss does not depend on; a loss or gradient that is not finite; the objective's own.
pub fn gradient<O: Objective + ?Sized>(objective: &O) -> Result<(f64, ParamVec)> {
    gradient_watched(objective, &mut Silent)
}

/// [`gradient`] under an observer, which is asked before every batch.
///
/// # Errors
/// As [`gradient`]; [`crate::Error::Interrupted`].
pub fn gradient_watched<O: Objective + ?Sized>(objective: &O, observer: &mut dyn Observer) -> Result<(f64, ParamVec)> {
    let mut total = 0.0;
    let mut grad = ParamVec::zeros(objective.params().space())?;
    for i in 0..objective.batches() {
        ask(observer, &Progress::within(i, objective.batches()))?;
        let (loss, g) = batch_gradient(objective, i)?;
        total += objective.weight(i) * loss;
        grad.add_scaled(objective.weight(i), &g)?;
    }
    Ok((total, grad))
}

/// Loss and gradient of one batch.
pub(crate) fn batch_gradient<O: Objective + ?Sized>(objective: &O, i: usize) -> Result<(f64, ParamVec)> {
    let (value, grad) = objective.loss_and_gradient(i)?;
    finite(&grad, i, "gradient")?;
    Ok((value, grad))
}
