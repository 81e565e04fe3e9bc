//! The norm of a surrogate gradient, known or found.

use crate::{Error, Estimate, Result, Scalar, Then};

/// An estimate with the norm of its surrogate gradient, which must be finite.
pub(super) fn finite(estimate: Estimate) -> Result<(Estimate, Scalar)> {
    let norm = surrogate_norm(&estimate)?;
    if let Then::And(direct) = &estimate.then {
        let also = direct.norm_at(norm.is_on_device())?;
        if let Some(value) = also.host().filter(|x| !x.is_finite()) {
            return Err(Error::NonFinite { what: "surrogate gradient norm", value, place: "after the rule" });
        }
    }
    match norm.host() {
        Some(value) if !value.is_finite() => {
            Err(Error::NonFinite { what: "surrogate gradient norm", value, place: "after the rule" })
        }
        _ => Ok((estimate, norm)),
    }
}

fn surrogate_norm(estimate: &Estimate) -> Result<Scalar> {
    // a plain estimate is its own surrogate, and its norm is known
    if !estimate.perturbed {
        return Ok(estimate.grad_norm.clone());
    }
    Ok(estimate.grad.norm_at(estimate.grad_norm.is_on_device())?)
}
