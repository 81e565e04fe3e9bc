//! Checks that a batch gives one finite number and a finite gradient.

use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use flat_core::{ParamVec, Params};

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
