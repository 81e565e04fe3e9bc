//! The exact trace, as the sum of all diagonal elements.

use crate::measured::{Measured, Stop};
use crate::observer::{Observer, Progress};
use crate::operator::{LinearOperator, Meter, basis};
use crate::{Error, Result};
use flat_comm::Ranks;
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
    let (dim, at_once) = (space.layout.len(), operator.products_at_once());
    let mut trace = 0.0;
    let mut per_layer = BTreeMap::new();
    for entry in space.layout.entries() {
        let mut block = 0.0;
        let end = entry.offset + entry.len;
        for i in (entry.offset..end).step_by(at_once) {
            let directions = (i..end.min(i + at_once)).map(|i| basis(&space, i)).collect::<Result<Vec<_>>>()?;
            let value = (i > 0).then_some(trace + block);
            let watch = &mut |within: &Progress| {
                observer.observe(&Progress { done: i as u64, of: dim as u64, value, ..*within })
            };
            let columns = operator.products(&Ranks::default(), &directions.iter().collect::<Vec<_>>(), watch)?;
            for (e, column) in directions.iter().zip(columns) {
                block += e.dot(&column.product)?;
            }
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
