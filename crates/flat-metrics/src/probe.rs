//! Checks that there is a Hessian to measure, and that an operator is it.

use crate::gradient::batch_gradient;
use crate::{Error, LinearOperator, Objective, Result};
use candle_core::{DType, Tensor};
use flat_core::{ParamVec, Purpose, Streams};

/// Rounding that two evaluations of one batch may differ by, in units of the element type's epsilon. On a CPU they are
/// equal, except that a BLAS may add up in an order that depends on where a buffer lies; on a GPU atomic additions come
/// in any order. Dropout and augmentation change a loss by percents.
const CPU_EPSILONS: f64 = 1e2;
const OTHER_EPSILONS: f64 = 1e3;

/// Evaluates loss and gradient of the first batch twice and refuses an objective whose results differ (dropout,
/// augmentation) or whose [`Objective::buffers`] move (BatchNorm in training mode). Also checks the batch weights, and
/// that the loss depends on every parameter. Every Hessian operator does this when made. Costs two gradient evaluations
/// of one batch.
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

/// Relative asymmetry `|<u, Av> - <v, Au>| / max(||Au||, ||Av||)` for two random sign vectors, which is of the order of
/// the antisymmetric part's share of the matrix. Costs two products.
///
/// # Errors
/// [`Error::NotSymmetric`] above `tolerance` (1e-8 suits an exact Hessian in f64, 1e-3 in f32); the operator's own.
pub fn check_symmetry(operator: &mut dyn LinearOperator, streams: &Streams, tolerance: f64) -> Result<f64> {
    let space = operator.space().clone();
    let u = ParamVec::rademacher(&space, &streams.at2(Purpose::Probe, 0, 0))?;
    let v = ParamVec::rademacher(&space, &streams.at2(Purpose::Probe, 0, 1))?;
    let (au, av) = (operator.apply(&u)?, operator.apply(&v)?);
    let gap = (u.dot(&av)? - v.dot(&au)?).abs();
    let size = au.norm()?.max(av.norm()?);
    let asymmetry = if gap == 0.0 { 0.0 } else { gap / size };
    if asymmetry <= tolerance { Ok(asymmetry) } else { Err(Error::NotSymmetric { asymmetry, tolerance }) }
}

/// Largest `||Av - Bv|| / ||Bv||` over `probes` random sign vectors: how well two operators agree, such as an exact
/// Hessian and its differences. Costs `probes` products of each.
///
/// # Errors
/// Operators on different spaces; the operators' own.
pub fn disagreement(
    a: &mut dyn LinearOperator,
    b: &mut dyn LinearOperator,
    streams: &Streams,
    probes: u64,
) -> Result<f64> {
    let space = a.space().clone();
    let mut worst = 0.0f64;
    for k in 0..probes {
        let v = ParamVec::rademacher(&space, &streams.at2(Purpose::Probe, 1, k))?;
        let (av, bv) = (a.apply(&v)?, b.apply(&v)?);
        let (gap, size) = (av.plus(-1.0, &bv)?.norm()?, bv.norm()?);
        worst = worst.max(if gap == 0.0 { 0.0 } else { gap / size });
    }
    Ok(worst)
}
