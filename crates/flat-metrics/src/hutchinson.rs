//! The trace of an operator from random probes.

use crate::report::{Found, Progress, TraceReport};
use crate::sampling::{Draw, Sample};
use crate::{Form, LinearOperator, Product, Result, TraceConfig};
use flat_core::{Purpose, Streams};
use std::ops::ControlFlow;
use std::time::Instant;

/// Hutchinson's estimator: `tr A = E z^T A z` for a random vector z with `E z z^T = I` (Hutchinson 1990, "A Stochastic
/// Estimator of the Trace of the Influence Matrix for Laplacian Smoothing Splines").
///
/// Each probe is unbiased, costs one product, and has the variance of its [`crate::ProbeDistribution`]. The part of
/// `z^T A z` within one parameter's entries is an unbiased estimate of the trace of that parameter's diagonal block, so
/// the traces of all layers come at no extra cost ([`TraceConfig::per_layer`] leaves them out). Memory: three vectors of d numbers beside the operator's.
///
/// Probe k is drawn from the stream (seed, probe, k): the same on every device, and independent of how many there are.
#[derive(Debug, Clone)]
pub struct Hutchinson {
    config: TraceConfig,
}

impl Hutchinson {
    /// An estimator with these settings.
    ///
    /// # Errors
    /// [`crate::Error::BadConfig`] naming the setting that makes no sense.
    pub fn new(config: TraceConfig) -> Result<Self> {
        Ok(Self { config: config.validated()? })
    }

    /// Estimates the trace. Costs one product a probe.
    ///
    /// # Errors
    /// A quadratic form that is not finite; the operator's own.
    pub fn run(&self, operator: &mut dyn LinearOperator, streams: &Streams) -> Result<TraceReport> {
        self.run_watched(operator, streams, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`Self::run`], calling `progress` before every batch and after every probe. [`ControlFlow::Break`] ends the
    /// run with the report of the probes completed. The callback must not use the model, which may be displaced.
    ///
    /// # Errors
    /// As [`Self::run`]; [`crate::Error::Interrupted`] if no probe was completed.
    pub fn run_watched(
        &self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<TraceReport> {
        let (start, before) = (Instant::now(), operator.matvecs());
        let space = operator.space().clone();
        let sample = Sample::take(&self.config, &space, progress, |k, watch| {
            let z = self.config.probe.draw(&space, &streams.at(Purpose::Probe, k))?;
            if !self.config.per_layer {
                let Form { value, batches } = operator.form(&z, watch)?;
                return Draw::total(value, batches, k);
            }
            let Product { product, batches } = operator.apply_by_batch(&z, watch)?;
            Draw::quadratic(&z, &product, 1.0, batches, k)
        })?;
        let (trace, layers) = sample.estimates(operator.matvecs() - before)?;
        let (clusters, stopped_by) = (sample.clusters, sample.stopped_by);
        let found =
            Found { estimator: "hutchinson", trace, layers, clusters, leave_one_out: None, radius: None, stopped_by };
        Ok(found.report(&self.config, &space, operator.origin(), streams, start))
    }
}
