//! The trace as the sum of the diagonal.

use crate::{Error, LinearOperator, Progress, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

/// A trace without error.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExactTrace {
    /// tr A.
    pub trace: f64,
    /// tr A / d.
    pub trace_normalized: f64,
    /// Trace of the diagonal block of each parameter, by name.
    pub per_layer: BTreeMap<String, f64>,
    /// d, the number of trainable parameters.
    pub dim: usize,
    /// Operator products spent: d.
    pub matvecs: u64,
}

/// `sum_i e_i^T A e_i`, the trace up to rounding. Costs d products: for small models, to check estimators by.
///
/// # Errors
/// [`Error::Interrupted`] when `progress` says so; the operator's own.
pub fn exact_trace(
    operator: &mut dyn LinearOperator,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<ExactTrace> {
    let (start, before) = (Instant::now(), operator.matvecs());
    let space = operator.space().clone();
    let dim = space.layout.len();
    let mut trace = 0.0;
    let mut per_layer = BTreeMap::new();
    for entry in space.layout.entries() {
        let mut block = 0.0;
        for i in entry.offset..entry.offset + entry.len {
            let e = crate::dense::basis(&space, i)?;
            let sum = trace + block;
            let column = operator.apply_watched(&e, &mut |tick| {
                progress(&Progress {
                    probes: i as u64,
                    max_probes: dim as u64,
                    tick,
                    value: (i > 0).then_some(sum),
                    std_error: None,
                    wall_s: start.elapsed().as_secs_f64(),
                })
            })?;
            block += e.dot(&column)?;
        }
        trace += block;
        per_layer.insert(entry.name.clone(), block);
    }
    if !trace.is_finite() {
        return Err(Error::NonFinite { quantity: "the trace".into(), value: trace });
    }
    Ok(ExactTrace { trace, trace_normalized: trace / dim as f64, per_layer, dim, matvecs: operator.matvecs() - before })
}
