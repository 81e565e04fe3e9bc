//! What a trace estimator reports, and on the way.

use crate::clusters::Clusters;
use crate::{Estimate, Origin, ProbeDistribution, Tick, TraceConfig};
use flat_core::{Space, Streams};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

/// How far an estimator has come; given to its callback before every batch and after every probe.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Probes (products, columns) completed.
    pub probes: u64,
    /// Most probes there will be.
    pub max_probes: u64,
    /// Position within the current product.
    pub tick: Tick,
    /// The trace so far; for [`crate::exact_trace`] the partial sum. `None` before the first probe, and for
    /// [`crate::HutchPlusPlus`] and [`crate::XTrace`] until they have it.
    pub value: Option<f64>,
    /// Standard error so far; `None` before the second probe.
    pub std_error: Option<f64>,
    /// Seconds since the start.
    pub wall_s: f64,
}

/// The callback of an estimator.
pub(crate) type OnProgress<'p> = dyn FnMut(&Progress) -> ControlFlow<()> + 'p;

/// Why the probes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StoppedBy {
    /// All `max_probes` were drawn.
    Budget,
    /// The interval became as narrow as `rel_tol` asks.
    RelTol,
    /// The callback asked to stop; the report covers the probes completed.
    Interrupted,
}

/// A trace, its layers, and what they were computed on.
///
/// Two errors are told apart. `probe_std_error` is that of the probes, for these very examples: it is what the interval
/// of `trace` is made of, and more probes shrink it. `data_std_error` is that of the examples: how far the trace would
/// be from that of the distribution they were drawn from, with batches taken as independent clusters; more examples
/// shrink it, more probes do not. For the distribution's trace the two add up in squares.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TraceReport {
    /// tr A.
    pub trace: Estimate,
    /// tr A / d, comparable among models of different size.
    pub trace_normalized: Estimate,
    /// Standard error of `trace` from the probes; the same as `trace.std_error`.
    pub probe_std_error: Option<f64>,
    /// Standard error of `trace` from the choice of examples. `None` with fewer than two batches or two probes, for an
    /// operator that is no sum over batches, and where the noise of the probes hides it.
    pub data_std_error: Option<f64>,
    /// Trace of the diagonal block of each parameter, by name; they sum to `trace`. Each interval covers its own block
    /// with 95 %, not all of them together. Empty where the estimator cannot tell
    /// ([`crate::PerturbedLoss`]) or was told not to ([`TraceConfig::per_layer`]).
    pub per_layer: BTreeMap<String, Estimate>,
    /// d, the number of trainable parameters.
    pub dim: usize,
    /// How the trace was estimated: `hutchinson`, `hutch++`, `xtrace`, `perturbed-gradient` or `perturbed-loss`.
    pub estimator: String,
    /// Distribution of the probes.
    pub probe_distribution: ProbeDistribution,
    /// The leave-one-out error estimate of [`crate::XTrace`]'s authors, smaller than `probe_std_error`; `None` for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave_one_out: Option<f64>,
    /// Norm of the perturbations; `None` for estimators by products.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radius: Option<f64>,
    /// Kind of operator and how it was evaluated.
    pub operator: String,
    /// Examples that the loss averages over; `None` for a matrix given as such.
    pub examples: Option<usize>,
    /// Batches these were taken in.
    pub batches: Option<usize>,
    /// BatchNorm mode, where known.
    pub bn_mode: Option<String>,
    /// Element type, `f32` or `f64`.
    pub dtype: String,
    /// Seed of the probes.
    pub seed: u64,
    /// The settings.
    pub config: TraceConfig,
    /// Why the probes ended.
    pub stopped_by: StoppedBy,
    /// Seconds spent.
    pub wall_s: f64,
}

/// What an estimator found.
pub(crate) struct Found {
    pub(crate) estimator: &'static str,
    pub(crate) trace: Estimate,
    /// One a parameter, in the layout's order; or none.
    pub(crate) layers: Vec<Estimate>,
    pub(crate) clusters: Clusters,
    pub(crate) leave_one_out: Option<f64>,
    pub(crate) radius: Option<f64>,
    pub(crate) stopped_by: StoppedBy,
}

impl Found {
    pub(crate) fn report(
        self,
        config: &TraceConfig,
        space: &Space,
        origin: Origin,
        streams: &Streams,
        start: Instant,
    ) -> TraceReport {
        let names = space.layout.entries().iter().map(|e| e.name.clone());
        TraceReport {
            trace_normalized: self.trace.scaled(1.0 / space.layout.len() as f64),
            probe_std_error: self.trace.std_error,
            data_std_error: self.clusters.std_error(),
            trace: self.trace,
            per_layer: names.zip(self.layers).collect(),
            dim: space.layout.len(),
            estimator: self.estimator.into(),
            probe_distribution: config.probe,
            leave_one_out: self.leave_one_out,
            radius: self.radius,
            operator: origin.operator,
            examples: origin.examples,
            batches: origin.batches,
            bn_mode: origin.bn_mode,
            dtype: space.dtype.as_str().into(),
            seed: streams.seed(),
            config: config.clone(),
            stopped_by: self.stopped_by,
            wall_s: start.elapsed().as_secs_f64(),
        }
    }
}
