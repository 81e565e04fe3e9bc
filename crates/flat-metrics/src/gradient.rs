//! Loss and gradient of an objective over all its batches.

use crate::{Error, Objective, Result};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use flat_core::{ParamVec, Params};

/// Mean loss and its gradient over all batches. Costs one gradient evaluation of the data set.
///
/// # Errors
/// A parameter that the loss does not depend on; a loss or gradient that is not finite; the objective's own.
pub fn gradient<O: Objective + ?Sized>(objective: &O) -> Result<(f64, ParamVec)> {
    let mut total = 0.0;
    let mut grad = ParamVec::zeros(objective.params().space())?;
    for i in 0..objective.batches() {
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

/// The value of a one-element tensor, finite.
pub(crate) fn scalar(x: &Tensor, batch: usize, what: &str) -> Result<f64> {
    if x.elem_count() != 1 {
        return Err(Error::BadObjective(format!(
            "the {what} of batch {batch} has shape {:?}: one element is needed, take the mean",
            x.dims()
        )));
    }
    let value: f64 = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?[0];
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Error::NonFinite { quantity: format!("the {what} of batch {batch}"), value })
    }
}

/// Refuses a vector with a NaN or an infinity. One reduction.
pub(crate) fn finite(x: &ParamVec, batch: usize, what: &str) -> Result<()> {
    let norm = x.norm()?;
    if norm.is_finite() {
        Ok(())
    } else {
        Err(Error::NonFinite { quantity: format!("the {what} of batch {batch}"), value: norm })
    }
}

/// The gradient of an expression that need not depend on every parameter: zero where it does not.
///
/// A loss linear in some parameter has a directional derivative without it. That the loss itself depends on every
/// parameter was checked when the operator was made.
pub(crate) fn gradient_or_zero(params: &Params, grads: &GradStore) -> Result<ParamVec> {
    let parts = params
        .vars()
        .iter()
        .map(|var| match grads.get(var.as_tensor()) {
            Some(g) => g.flatten_all(),
            None => var.as_detached_tensor().zeros_like()?.flatten_all(),
        })
        .collect::<candle_core::Result<Vec<_>>>()?;
    let flat = if parts.len() == 1 { parts[0].copy()? } else { Tensor::cat(&parts, 0)? };
    Ok(ParamVec::from_tensor(params.layout().clone(), flat.detach())?)
}
