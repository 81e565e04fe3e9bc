//! Checks of an operator: its symmetry, and its agreement with another.

use super::linear::LinearOperator;
use crate::{Error, Result};
use flat_core::{ParamVec, Purpose, Streams};

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
