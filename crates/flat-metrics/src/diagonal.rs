//! The diagonal of an operator from random probes.

use crate::estimate::Moments;
use crate::{Error, Estimate, LinearOperator, Product, Progress, Result, Tick, TraceConfig};
use flat_core::{ParamVec, Purpose, Streams};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

/// The estimator of Bekas, Kokiopoulou and Saad (2007, "An Estimator for the Diagonal of a Matrix"):
/// `diag A = E z * (A z)` element by element, for probes with `E z z^T = I`.
///
/// Entry i has the variance `sum_{j != i} a_ij^2` a probe with signs, which is why [`TraceConfig`]'s default is them:
/// the other distributions add their own. Each entry comes with its standard error; most single entries of a network are
/// smaller than it, so the report sums up each parameter: the trace of its block with an interval, the mean size, and
/// quantiles of the entries. Costs one product a probe and two vectors of d f64 numbers on the host.
///
/// Probe k is [`crate::Hutchinson`]'s probe k: the sums over the layers are that estimator's traces.
#[derive(Debug, Clone)]
pub struct Diagonal {
    config: TraceConfig,
}

/// Levels of the quantiles in [`LayerDiagonal::quantiles`].
pub const QUANTILE_LEVELS: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// The diagonal within one parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LayerDiagonal {
    /// Numbers in the parameter.
    pub size: usize,
    /// Trace of the block: the sum of the entries.
    pub trace: Estimate,
    /// Trace over size: the mean entry.
    pub mean: Estimate,
    /// Mean size of the estimated entries. Noise adds to it: about `0.8 entry_std_error` where that is much larger than
    /// the entries themselves.
    pub mean_abs: f64,
    /// Root mean square of the entries' standard errors; `None` with one probe.
    pub entry_std_error: Option<f64>,
    /// Quantiles of the estimated entries at [`QUANTILE_LEVELS`].
    pub quantiles: [f64; 5],
    /// Fraction of the entries that are below zero by more than two of their standard errors; `None` with one probe.
    pub negative: Option<f64>,
}

/// A diagonal, its layers, and what they were computed on. Serializes without the vectors.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct DiagonalReport {
    /// The estimated entries.
    #[serde(skip)]
    pub diagonal: ParamVec,
    /// Their standard errors; `None` with one probe.
    #[serde(skip)]
    pub std_error: Option<ParamVec>,
    /// Each parameter, by name.
    pub per_layer: BTreeMap<String, LayerDiagonal>,
    /// Trace of the whole.
    pub trace: Estimate,
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
    /// Seconds spent.
    pub wall_s: f64,
}

impl Diagonal {
    /// An estimator that draws `config.max_probes` probes.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense, `rel_tol` among them.
    pub fn new(config: TraceConfig) -> Result<Self> {
        Ok(Self { config: config.of_sketch(1)? })
    }

    /// Estimates the diagonal. Costs one product a probe.
    ///
    /// # Errors
    /// A product that is not finite; the operator's own.
    pub fn run(&self, operator: &mut dyn LinearOperator, streams: &Streams) -> Result<DiagonalReport> {
        self.run_watched(operator, streams, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`Self::run`], calling `progress` before every batch and after every probe.
    ///
    /// # Errors
    /// As [`Self::run`]; [`Error::Interrupted`] when `progress` says so.
    pub fn run_watched(
        &self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<DiagonalReport> {
        let (start, before, probes) = (Instant::now(), operator.matvecs(), self.config.max_probes);
        let space = operator.space().clone();
        let d = space.layout.len();
        // means and sums of squared deviations (Welford)
        let (mut mean, mut squares) = (vec![0.0; d], vec![0.0; d]);
        let (mut total, mut layers) = (Moments::default(), vec![Moments::default(); space.layout.entries().len()]);
        for k in 0..probes {
            let so_far = total.estimate(0.95, 0)?;
            let at = |probes: u64, tick, e: &Estimate| Progress {
                probes,
                max_probes: self.config.max_probes,
                tick,
                value: (probes > 0).then_some(e.value),
                std_error: e.std_error,
                wall_s: start.elapsed().as_secs_f64(),
            };
            let z = self.config.probe.draw(&space, &streams.at(Purpose::Probe, k))?;
            let Product { product, .. } = operator.apply_by_batch(&z, &mut |tick| progress(&at(k, tick, &so_far)))?;
            let sample = z.hadamard(&product)?.to_f64()?;
            let n = (k + 1) as f64;
            for ((mean, squares), x) in mean.iter_mut().zip(&mut squares).zip(&sample) {
                let delta = x - *mean;
                *mean += delta / n;
                *squares += delta * (x - *mean);
            }
            let parts = space.layout.entries().iter().map(|e| sample[e.offset..e.offset + e.len].iter().sum::<f64>());
            let mut sum = 0.0;
            for (moments, part) in layers.iter_mut().zip(parts) {
                moments.push(part);
                sum += part;
            }
            if !sum.is_finite() {
                return Err(Error::NonFinite { quantity: format!("probe {k} of the diagonal"), value: sum });
            }
            total.push(sum);
            let now = total.estimate(0.95, 0)?;
            let done = Tick { done: 1, of: 1 };
            if progress(&at(k + 1, done, &now)).is_break() && k + 1 < probes {
                return Err(Error::Interrupted);
            }
        }
        let errors = (probes >= 2).then(|| {
            let n = probes as f64;
            squares.iter().map(|s| (s / (n - 1.0) / n).sqrt()).collect::<Vec<f64>>()
        });
        let matvecs = operator.matvecs() - before;
        let mut per_layer = BTreeMap::new();
        for (entry, moments) in space.layout.entries().iter().zip(&layers) {
            let range = entry.offset..entry.offset + entry.len;
            let errors = errors.as_ref().map(|e| &e[range.clone()]);
            let layer = LayerDiagonal::new(&mean[range], errors, moments.estimate(0.95, matvecs)?);
            per_layer.insert(entry.name.clone(), layer);
        }
        let origin = operator.origin();
        Ok(DiagonalReport {
            diagonal: ParamVec::from_f64(&space, mean)?,
            std_error: errors.map(|e| ParamVec::from_f64(&space, e)).transpose()?,
            per_layer,
            trace: total.estimate(0.95, matvecs)?,
            dim: d,
            operator: origin.operator,
            examples: origin.examples,
            batches: origin.batches,
            bn_mode: origin.bn_mode,
            dtype: space.dtype.as_str().into(),
            seed: streams.seed(),
            config: self.config.clone(),
            wall_s: start.elapsed().as_secs_f64(),
        })
    }
}

impl LayerDiagonal {
    fn new(entries: &[f64], errors: Option<&[f64]>, trace: Estimate) -> Self {
        let n = entries.len() as f64;
        let mut sorted = entries.to_vec();
        sorted.sort_by(f64::total_cmp);
        let below = |errors: &[f64]| entries.iter().zip(errors).filter(|(x, e)| **x < -2.0 * **e).count() as f64 / n;
        Self {
            size: entries.len(),
            mean: trace.scaled(1.0 / n),
            trace,
            mean_abs: entries.iter().map(|x| x.abs()).sum::<f64>() / n,
            entry_std_error: errors.map(|e| (e.iter().map(|e| e * e).sum::<f64>() / n).sqrt()),
            quantiles: QUANTILE_LEVELS.map(|level| quantile(&sorted, level)),
            negative: errors.map(below),
        }
    }
}

/// The quantile of this level, in 0..=1, of ordered numbers, at least one: linear interpolation between neighbours (type 7
/// of Hyndman and Fan 1996).
pub fn quantile(sorted: &[f64], level: f64) -> f64 {
    let place = level * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_the_ordered_numbers() {
        let x = [0.0, 1.0, 2.0, 10.0];
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|level| quantile(&x, level)), [0.0, 0.75, 1.5, 10.0]);
        assert_eq!(quantile(&[3.0], 0.95), 3.0);
    }
}
