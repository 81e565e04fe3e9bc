//! The diagonal of an operator from random probes.

mod squares;

use super::config::TraceConfig;
use crate::measured::{Measured, Stop};
use crate::observer::{Observer, Progress};
use crate::operator::{LinearOperator, Meter, Product};
use crate::statistics::{Estimate, Moments};
use crate::{Error, Result};
use flat_comm::Ranks;
use flat_core::{ParamVec, Purpose, Streams};
use serde::Serialize;
use squares::Squares;
use std::collections::{BTreeMap, VecDeque};

/// The estimator of Bekas, Kokiopoulou and Saad (2007, "An Estimator for the Diagonal of a Matrix"), element by element,
/// for probes with `E z z^T = I`.
///
/// ```text
/// diag A = E z * (A z)
/// ```
///
/// Entry i has the variance `sum_{j != i} a_ij^2` a probe with signs, which is why [`TraceConfig`]'s default is them:
/// the other distributions add their own. Most single entries of a network are smaller than their error, so that sizes of
/// estimated entries are sizes of noise. The report therefore sums up each parameter by numbers that noise does not
/// enter: the trace of its block, and the root mean square of its entries from products of independent probes. Costs one
/// product a probe and up to 10 vectors of d f64 numbers on the host.
///
/// Probe k is [`crate::Hutchinson`]'s probe k: the sums over the layers are that estimator's traces.
#[derive(Debug, Clone)]
pub struct Diagonal {
    config: TraceConfig,
}

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
    /// Root mean square of the entries, without the probes' noise. Its interval is Student's of 8 groups of probes,
    /// or of as many as there are probes. No interval with fewer than three.
    pub rms: Estimate,
    /// Where the mean size of the entries lies, with 95 %: `|trace| / size <= mean |a_ii| <= rms`.
    pub mean_abs: Bounds,
    /// Root mean square of the estimated entries' standard errors; `None` with one probe.
    pub entry_std_error: Option<f64>,
}

/// Ends that a number lies between, both together with 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bounds {
    /// It is at least this.
    pub at_least: f64,
    /// It is at most this; `None` where too few probes tell.
    pub at_most: Option<f64>,
}

/// A diagonal and its layers. Serializes without the vectors.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct DiagonalEstimate {
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
    /// The settings.
    pub config: TraceConfig,
}

impl Diagonal {
    /// An estimator that draws `config.max_probes` probes.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense, `rel_tol` among them.
    pub fn new(config: TraceConfig) -> Result<Self> {
        Ok(Self { config: config.of_sketch(1)? })
    }

    /// Estimates the diagonal. Costs one product a probe. An interruption gives the report of the probes completed.
    ///
    /// # Errors
    /// A product that is not finite; the operator's own; [`Error::Interrupted`] if no probe was completed.
    pub fn run(
        &self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        observer: &mut dyn Observer,
    ) -> Result<Measured<DiagonalEstimate>> {
        let (meter, most) = (Meter::start(operator), self.config.max_probes);
        let space = operator.space().clone();
        let d = space.layout.len();
        // means and sums of squared deviations (Welford)
        let (mut mean, mut squares) = (vec![0.0; d], vec![0.0; d]);
        let (mut groups, mut stop) = (Squares::new(most, d), Stop::Budget);
        let (mut total, mut layers) = (Moments::default(), vec![Moments::default(); space.layout.entries().len()]);
        let (at_once, mut ahead) = (operator.products_at_once() as u64, VecDeque::new());
        let mut told = false;
        for k in 0..most {
            let so_far = total.estimate(0.95, 0)?;
            let at = |done: u64, within: &Progress, e: &Estimate| Progress {
                done,
                of: most,
                value: (done > 0).then_some(e.value),
                error: e.std_error,
                ..*within
            };
            if ahead.is_empty() {
                let draw = |k| self.config.probe.draw(&space, &streams.at(Purpose::Probe, k));
                let probes = (k..most.min(k + at_once)).map(draw).collect::<Result<Vec<_>>>()?;
                let watch = &mut |within: &Progress| observer.observe(&at(k, within, &so_far));
                match operator.products(&Ranks::default(), &probes.iter().collect::<Vec<_>>(), watch) {
                    Ok(found) => ahead.extend(probes.into_iter().zip(found)),
                    Err(Error::Interrupted) if k > 0 => {
                        stop = Stop::Interrupted;
                        break;
                    }
                    Err(e) => return Err(e),
                }
            }
            let Some((z, Product { product, .. })) = ahead.pop_front() else { break };
            let sample = z.hadamard(&product)?.to_f64()?;
            let n = (k + 1) as f64;
            for ((mean, squares), x) in mean.iter_mut().zip(&mut squares).zip(&sample) {
                let delta = x - *mean;
                *mean += delta / n;
                *squares += delta * (x - *mean);
            }
            groups.push(k, &sample);
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
            // told to stop, it takes the products that are there already
            told = told || observer.observe(&at(k + 1, &Progress::within(1, 1), &now)).is_break();
            if told && ahead.is_empty() && k + 1 < most {
                stop = Stop::Interrupted;
                break;
            }
        }
        let probes = total.count();
        let errors = (probes >= 2).then(|| {
            let n = probes as f64;
            squares.iter().map(|s| (s / (n - 1.0) / n).sqrt()).collect::<Vec<f64>>()
        });
        let matvecs = meter.matvecs(operator);
        let mut per_layer = BTreeMap::new();
        for (entry, moments) in space.layout.entries().iter().zip(&layers) {
            let range = entry.offset..entry.offset + entry.len;
            let errors = errors.as_ref().map(|e| &e[range.clone()]);
            let (rms, trace) = (groups.rms(range, matvecs)?, moments.estimate(0.95, matvecs)?);
            let layer = LayerDiagonal::new(entry.len, errors, trace, rms);
            per_layer.insert(entry.name.clone(), layer);
        }
        let result = DiagonalEstimate {
            diagonal: ParamVec::from_f64(&space, mean)?,
            std_error: errors.map(|e| ParamVec::from_f64(&space, e)).transpose()?,
            per_layer,
            trace: total.estimate(0.95, matvecs)?,
            config: self.config.clone(),
        };
        Ok(meter.measured(operator, Some(streams), stop, result))
    }
}

impl LayerDiagonal {
    fn new(size: usize, errors: Option<&[f64]>, trace: Estimate, rms: Estimate) -> Self {
        let n = size as f64;
        let mean = trace.scaled(1.0 / n);
        // no interval, or one about zero, says nothing of the least
        let at_least = mean.ci95.map_or(0.0, |[lo, hi]| lo.max(-hi).max(0.0));
        let mean_abs = Bounds { at_least, at_most: rms.ci95.map(|[_, hi]| hi.max(at_least)) };
        let entry_std_error = errors.map(|e| (e.iter().map(|e| e * e).sum::<f64>() / n).sqrt());
        Self { size, trace, mean, rms, mean_abs, entry_std_error }
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
