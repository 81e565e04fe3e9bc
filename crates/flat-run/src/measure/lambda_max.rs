//! The largest eigenvalue of an operator.

use flat_core::Streams;
use flat_metrics::{Error, Lanczos, LanczosConfig, LinearOperator, Observer};
use serde::Serialize;

/// A largest eigenvalue.
#[derive(Debug, Clone, Serialize)]
pub struct LambdaMax {
    /// The value.
    pub value: f64,
    /// Some eigenvalue is at most this far from it, and the largest is at least the value.
    pub residual: f64,
    /// Products spent.
    pub matvecs: u64,
    /// Whether the residual met the tolerance.
    pub converged: bool,
}

/// The largest eigenvalue of an operator; `residual` at most `rel_tol` of it where `max_matvecs` products are enough.
///
/// # Errors
/// [`Error::Interrupted`] when the observer says so; the operator's own.
pub fn lambda_max(
    operator: &mut dyn LinearOperator,
    max_matvecs: u64,
    rel_tol: f64,
    streams: &Streams,
    observer: &mut dyn Observer,
) -> flat_metrics::Result<LambdaMax> {
    let lanczos = Lanczos::new(LanczosConfig { top: 1, bottom: 0, max_matvecs, rel_tol })?;
    let report = lanczos.run(operator, streams, observer)?;
    let (matvecs, converged) = (report.effort.matvecs, report.converged);
    match report.top.first() {
        Some(pair) => Ok(LambdaMax { value: pair.value, residual: pair.residual, matvecs, converged }),
        None => Err(Error::Interrupted),
    }
}
