//! The exact trace, as the sum of all diagonal elements.

use crate::measured::{Measured, Stop};
use crate::observer::{Observer, Progress};
use crate::operator::{LinearOperator, Meter, basis};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;

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
}

/// `sum_i e_i^T A e_i`, the trace up to rounding. Costs d products: for small models, to check estimators by.
///
/// # Errors
/// [`Error::Interrupted`] when the observer says so; the operator's own.
pub fn exact_trace(operator: &mut dyn LinearOperator, observer: &mut dyn Observer) -> Result<Measured<ExactTrace>> {
    let meter = Meter::start(operator);
    let space = operator.space().clone();
    let dim = space.layout.len();
    let mut trace = 0.0;
    let mut per_layer = BTreeMap::new();
    for entry in space.layout.entries() {
        let mut block = 0.0;
        for i in entry.offset..entry.offset + entry.len {
            let e = basis(&space, i)?;
            let value = (i > 0).then_some(trace + block);
            let column = operator.product(&e, &mut |within: &Progress| {
                observer.observe(&Progress { done: i as u64, of: dim as u64, value, ..*within })
            })?;
            block += e.dot(&column.product)?;
        }
        trace += block;
        per_layer.insert(entry.name.clone(), block);
    }
    if !trace.is_finite() {
        return Err(Error::NonFinite { quantity: "the trace".into(), value: trace });
    }
    let result = ExactTrace { trace, trace_normalized: trace / dim as f64, per_layer };
    Ok(meter.measured(operator, None, Stop::Complete, result))
}
