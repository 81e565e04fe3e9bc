//! The check that an objective is deterministic: two evaluations of a batch must agree.

use super::gradient::batch_gradient;
use super::loss::Objective;
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// Rounding that two evaluations of one batch may differ by, in units of the element type's epsilon. On a CPU they are
/// equal, except that a BLAS may add up in an order that depends on where a buffer lies; on a GPU atomic additions come
/// in any order. Dropout and augmentation change a loss by percents.
const CPU_EPSILONS: f64 = 1e2;
const OTHER_EPSILONS: f64 = 1e3;

/// Evaluates loss and gradient of the first batch twice and refuses an objective whose results differ. Dropout and
/// augmentation are the usual causes. It also refuses one whose [`Objective::buffers`] move, as BatchNorm's do in
/// training mode. Also checks the batch weights, and that the loss depends on every parameter. Every Hessian operator
/// does this when made. Costs two gradient evaluations of one batch.
///
/// # Errors
/// [`Error::NotDeterministic`], [`Error::BadObjective`]; a missing gradient, which names the parameter; a loss or
/// gradient that is not finite; the objective's own.
pub fn check_determinism<O: Objective + ?Sized>(objective: &O) -> Result<()> {
    let sum: f64 = (0..objective.batches()).map(|i| objective.weight(i)).sum();
    // rounding of a sum of up to a million weights
    if objective.batches() == 0 || sum.is_nan() || (sum - 1.0).abs() > 1e-9 {
        let n = objective.batches();
        return Err(Error::BadObjective(format!(
            "the weights of its {n} batches sum to {sum}: each must be the batch's fraction of the examples"
        )));
    }
    let buffers = copies(objective)?;
    let (loss, grad) = batch_gradient(objective, 0)?;
    for ((name, before), (_, after)) in buffers.iter().zip(copies(objective)?) {
        if *before != after {
            return Err(Error::NotDeterministic(format!("evaluating the loss changes the buffer `{name}`")));
        }
    }
    let (again, grad_again) = batch_gradient(objective, 0)?;
    let space = objective.params().space();
    let epsilon = if space.dtype == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    let tolerance = epsilon * if space.device.is_cpu() { CPU_EPSILONS } else { OTHER_EPSILONS };
    if (loss - again).abs() > tolerance * loss.abs() {
        return Err(Error::NotDeterministic(format!("the first batch has loss {loss}, then {again}")));
    }
    let (gap, norm) = (grad.plus(-1.0, &grad_again)?.norm()?, grad.norm()?);
    // rounding is that of the summands, which at a minimum are larger than their sum: the loss stands in for their size
    if gap > tolerance * (norm + loss.abs()) {
        return Err(Error::NotDeterministic(format!(
            "two gradients of the first batch differ by {gap:.3e}, their norm is {norm:.3e}"
        )));
    }
    Ok(())
}

fn copies<O: Objective + ?Sized>(objective: &O) -> Result<Vec<(String, Vec<f64>)>> {
    let host = |x: &Tensor| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    objective.buffers().into_iter().map(|(name, x)| Ok((name, host(&x)?))).collect()
}
