//! The trace of an operator from random probes.

use crate::estimate::Moments;
use crate::{Error, Estimate, LinearOperator, Result, Tick, TraceConfig};
use flat_core::{ParamVec, Purpose, Streams};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

/// Hutchinson's estimator: `tr A = E z^T A z` for a vector z of independent signs (Hutchinson 1990, "A Stochastic
/// Estimator of the Trace of the Influence Matrix for Laplacian Smoothing Splines").
///
/// Each probe is unbiased with variance `2 (||A||_F^2 - sum_i a_ii^2)`, the smallest among probes of independent
/// entries, and costs one product. The part of `z^T A z` within one parameter's entries is an unbiased estimate of the
/// trace of that parameter's diagonal block, so the traces of all layers come at no extra cost.
///
/// Probe k is drawn from the stream (seed, probe, k): the same on every device, and independent of how many there are.
#[derive(Debug, Clone)]
pub struct Hutchinson {
    config: TraceConfig,
}

/// How far an estimator has come; given to its callback before every batch and after every probe.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Probes (or columns) completed.
    pub probes: u64,
    /// Most probes there will be.
    pub max_probes: u64,
    /// Position within the current product.
    pub tick: Tick,
    /// The trace so far; for [`exact_trace`] the partial sum. `None` before the first probe.
    pub value: Option<f64>,
    /// Standard error so far; `None` before the second probe.
    pub std_error: Option<f64>,
    /// Seconds since the start.
    pub wall_s: f64,
}

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
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TraceReport {
    /// tr A.
    pub trace: Estimate,
    /// tr A / d, comparable among models of different size.
    pub trace_normalized: Estimate,
    /// Trace of the diagonal block of each parameter, by name; they sum to `trace`. Each interval covers its own block
    /// with 95 %, not all of them together.
    pub per_layer: BTreeMap<String, Estimate>,
    /// d, the number of trainable parameters.
    pub dim: usize,
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

/// The sample so far.
struct Sample {
    total: Moments,
    layers: Vec<Moments>,
    probes: u64,
}

impl Sample {
    fn push(&mut self, parts: &[f64]) {
        self.total.push(parts.iter().sum());
        self.layers.iter_mut().zip(parts).for_each(|(m, x)| m.push(*x));
        self.probes += 1;
    }
}

impl Hutchinson {
    /// An estimator with these settings.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense.
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
    /// As [`Self::run`]; [`Error::Interrupted`] if no probe was completed.
    pub fn run_watched(
        &self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<TraceReport> {
        let start = Instant::now();
        let space = operator.space().clone();
        let (looks, t_level, before) = (self.config.looks(), self.config.t_level(), operator.matvecs());
        let layers = vec![Moments::default(); space.layout.entries().len()];
        let mut sample = Sample { total: Moments::default(), layers, probes: 0 };
        let mut stopped_by = StoppedBy::Budget;
        while sample.probes < self.config.max_probes {
            let so_far = sample.total.estimate(t_level, 0)?;
            let report = |probes, tick, e: &Estimate| Progress {
                probes,
                max_probes: self.config.max_probes,
                tick,
                value: (probes > 0).then_some(e.value),
                std_error: e.std_error,
                wall_s: start.elapsed().as_secs_f64(),
            };
            let z = ParamVec::rademacher(&space, &streams.at(Purpose::Probe, sample.probes))?;
            let mut last = Tick { done: 0, of: 1 };
            let product = operator.apply_watched(&z, &mut |tick| {
                last = tick;
                progress(&report(sample.probes, tick, &so_far))
            });
            match product {
                Ok(az) => sample.push(&quadratic(&z, &az, sample.probes)?),
                Err(Error::Interrupted) if sample.probes > 0 => {
                    stopped_by = StoppedBy::Interrupted;
                    break;
                }
                Err(e) => return Err(e),
            }
            let now = sample.total.estimate(t_level, operator.matvecs() - before)?;
            let narrow =
                || matches!((self.config.rel_tol, now.relative_half_width()), (Some(tol), Some(w)) if w <= tol);
            if looks.contains(&sample.probes) && narrow() {
                stopped_by = StoppedBy::RelTol;
                break;
            }
            let done = Tick { done: last.of, of: last.of };
            if progress(&report(sample.probes, done, &now)).is_break() && sample.probes < self.config.max_probes {
                stopped_by = StoppedBy::Interrupted;
                break;
            }
        }
        let (matvecs, origin) = (operator.matvecs() - before, operator.origin());
        let trace = sample.total.estimate(t_level, matvecs)?;
        let names = space.layout.entries().iter().map(|e| e.name.clone());
        let layers = sample.layers.iter().map(|m| m.estimate(t_level, matvecs));
        Ok(TraceReport {
            trace_normalized: trace.scaled(1.0 / space.layout.len() as f64),
            trace,
            per_layer: names.zip(layers).map(|(name, e)| Ok((name, e?))).collect::<Result<_>>()?,
            dim: space.layout.len(),
            operator: origin.operator,
            examples: origin.examples,
            batches: origin.batches,
            bn_mode: origin.bn_mode,
            dtype: space.dtype.as_str().into(),
            seed: streams.seed(),
            config: self.config.clone(),
            stopped_by,
            wall_s: start.elapsed().as_secs_f64(),
        })
    }
}

/// `z^T A z` over each parameter's entries.
fn quadratic(z: &ParamVec, az: &ParamVec, probe: u64) -> Result<Vec<f64>> {
    let parts = z.dot_per_entry(az)?;
    match parts.iter().position(|x| !x.is_finite()) {
        None => Ok(parts),
        Some(i) => {
            let name = &z.layout().entries()[i].name;
            Err(Error::NonFinite { quantity: format!("probe {probe} over `{name}`"), value: parts[i] })
        }
    }
}

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
