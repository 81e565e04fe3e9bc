//! The trace of an operator from random probes.

use super::config::TraceConfig;
use super::sampling::{Draw, Sample};
use super::trace::{Parts, Trace};
use crate::Result;
use crate::measured::Measured;
use crate::observer::Observer;
use crate::operator::{Form, LinearOperator, Meter, Product};
use flat_comm::Ranks;
use flat_core::{ParamVec, Purpose, Streams};

/// Hutchinson's estimator (1990, "A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian Smoothing
/// Splines"), for random vectors z with `E z z^T = I`.
///
/// ```text
/// tr A = E z^T A z
/// ```
///
/// Each probe is unbiased, costs one product, and has the variance of its [`crate::ProbeDistribution`]. The part of
/// `z^T A z` within one parameter's entries is an unbiased estimate of the trace of that parameter's diagonal block, so
/// the traces of all layers come at no extra cost. Where [`TraceConfig::per_layer`] leaves them out, some probes may take one
/// pass over the data together ([`LinearOperator::forms_at_once`]). Memory: three vectors of d numbers beside the operator's, or
/// as many as there are such probes.
///
/// [Ranks](flat_comm::here) draw a share of the probes each; the estimate and where it stops are those of one process.
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

    /// Estimates the trace. Costs one product a probe. An interruption gives the report of the probes completed.
    ///
    /// # Errors
    /// A quadratic form that is not finite; the operator's own; [`crate::Error::Interrupted`] if no probe was completed.
    pub fn run(
        &self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        observer: &mut dyn Observer,
    ) -> Result<Measured<Trace>> {
        let (mut meter, space) = (Meter::start(operator), operator.space().clone());
        let ranks = flat_comm::here();
        let probe = |k| self.config.probe.draw(&space, &streams.at(Purpose::Probe, k));
        let sample = if self.config.per_layer {
            let block = operator.products_at_once() as u64;
            Sample::take_blocks(&self.config, &space, (block, &ranks), observer, |range, observer| {
                let probes = range.clone().map(probe).collect::<Result<Vec<_>>>()?;
                let found = operator.products(&Ranks::default(), &probes.iter().collect::<Vec<_>>(), observer)?;
                let draw = |((z, p), k): ((&ParamVec, Product), u64)| Draw::quadratic(z, &p.product, 1.0, p.batches, k);
                probes.iter().zip(found).zip(range).map(draw).collect()
            })?
        } else {
            let block = operator.forms_at_once() as u64;
            Sample::take_blocks(&self.config, &space, (block, &ranks), observer, |range, observer| {
                let probes = range.clone().map(probe).collect::<Result<Vec<_>>>()?;
                let forms = operator.forms(&probes, observer)?;
                let draw = |(Form { value, batches }, k)| Draw::total(value, batches, k);
                forms.into_iter().zip(range).map(draw).collect()
            })?
        };
        meter.count_elsewhere(sample.elsewhere);
        let (trace, layers) = sample.estimates(meter.matvecs(operator))?;
        let (clusters, stop) = (sample.clusters, sample.stop);
        let parts = Parts { estimator: "hutchinson", trace, layers, clusters, leave_one_out: None, radius: None };
        Ok(meter.measured(operator, Some(streams), stop, parts.trace(&self.config, &space)))
    }
}
