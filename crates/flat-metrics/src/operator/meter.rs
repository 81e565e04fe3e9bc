//! Products and seconds of one run of an estimator.

use super::linear::LinearOperator;
use crate::measured::{Effort, Measured, Stop};
use flat_core::Streams;
use std::time::Instant;

/// Counts what an estimator spends on an operator.
pub(crate) struct Meter {
    start: Instant,
    before: u64,
    /// Products that other ranks computed.
    elsewhere: u64,
}

impl Meter {
    pub(crate) fn start(operator: &dyn LinearOperator) -> Self {
        Self { start: Instant::now(), before: operator.matvecs(), elsewhere: 0 }
    }

    /// Products so far.
    pub(crate) fn matvecs(&self, operator: &dyn LinearOperator) -> u64 {
        operator.matvecs() - self.before + self.elsewhere
    }

    /// Counts products that other ranks computed.
    pub(crate) fn count_elsewhere(&mut self, products: u64) {
        self.elsewhere += products;
    }

    /// The result with the operator's provenance and the cost so far.
    pub(crate) fn measured<T>(
        &self,
        operator: &dyn LinearOperator,
        streams: Option<&Streams>,
        stop: Stop,
        result: T,
    ) -> Measured<T> {
        let effort = Effort {
            matvecs: self.matvecs(operator),
            seed: streams.map(Streams::seed),
            wall_s: self.start.elapsed().as_secs_f64(),
            ..Effort::default()
        };
        Measured { result, provenance: operator.provenance(), effort, stop }
    }
}
