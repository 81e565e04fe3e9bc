//! The distribution of all eigenvalues of an operator.

mod config;
mod curve;
mod shared;

pub use config::DensityConfig;

use super::rank::EffectiveRank;
use crate::linalg::{Quadrature, room};
use crate::measured::{Measured, Stop};
use crate::observer::{Observer, Progress};
use crate::operator::{LinearOperator, Meter};
use crate::statistics::{Estimate, of_means};
use crate::{Error, Result};
use curve::Curve;
use flat_core::{ParamVec, Purpose, Streams};
use serde::Serialize;
use std::collections::VecDeque;
use std::ops::Range;

/// Stochastic Lanczos quadrature: an estimate of the smoothed density of all eigenvalues of a symmetric operator
/// (Lin, Saad & Yang 2016, "Approximating Spectral Densities of Large Matrices"; Ghorbani, Krishnan & Xiao 2019,
/// arXiv 1901.10159). The density `(1/d) sum_j N(x; lambda_j, sigma^2)` is the mean over random unit vectors of
/// `sum_i w_i N(x; t_i, sigma^2)`, with the nodes and weights of a [`Quadrature`].
///
/// Costs `probes * steps` products at most. Probes follow each other, so that memory is that of one: `steps + 2` vectors
/// of d numbers; 80 steps on a million f32 parameters hold 0.33 GB.
///
/// Two errors remain. That of finitely many probes is in the band. That of finitely many steps is not: the quadrature is
/// exact for polynomials of degree `2 steps - 1`, and details finer than about `range / steps` in the bulk are those of the
/// quadrature, while well separated outer eigenvalues are sharp. The moments up to degree `2 steps - 1` carry no error but
/// that of the probes.
///
/// [Ranks](flat_comm::here) take a probe each; the result is that of one process.
///
/// Probe k is uniform on the sphere from the stream (seed, probe, (2^64 - 2, k)), which no trace or [`crate::Lanczos`]
/// draws from.
///
/// ```
/// use flat_core::Streams;
/// use flat_metrics::{Dense, DensityConfig, Silent, SpectralDensity};
///
/// # fn main() -> flat_metrics::Result<()> {
/// // 20 eigenvalues 1 and 20 eigenvalues 4
/// let mut a = Dense::from_fn(40, |i, j| if i != j { 0.0 } else if i < 20 { 1.0 } else { 4.0 })?;
/// let config = DensityConfig { probes: 20, steps: 10, ..DensityConfig::default() };
/// let report = SpectralDensity::new(config)?.run(&mut a, &Streams::new(0), &mut Silent)?;
/// assert!((report.range[0] - 1.0).abs() < 1e-12 && (report.range[1] - 4.0).abs() < 1e-12);
/// let [lo, hi] = report.moments[1].ci95.expect("several probes");
/// assert!(lo < 2.5 && 2.5 < hi);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SpectralDensity {
    config: DensityConfig,
}

/// A smoothed spectral density with its band and its moments.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Density {
    /// Where the density is given, in ascending order.
    pub grid: Vec<f64>,
    /// Eigenvalues a unit of length, as a fraction of all, at each point of the grid.
    pub density: Vec<f64>,
    /// Ends of the 95 % Student-t interval of each value of `density` by itself. They come from the spread among the
    /// probes, are cut off at 0, and are absent with one probe.
    pub band: Vec<[f64; 2]>,
    /// Fraction of the eigenvalues below each point of the grid, smoothed likewise.
    pub cumulative: Vec<f64>,
    /// Standard deviation of the smoothing Gaussian, in units of an eigenvalue.
    pub sigma: f64,
    /// Smallest and largest Ritz value: no eigenvalue is proven to be outside, the outer ones are close to these.
    pub range: [f64; 2],
    /// tr(A^k) / d for k = 0, 1, 2, 3, unbiased with `steps` of at least 2; the first is 1 by construction.
    pub moments: [Estimate; 4],
    /// Effective ranks and the curvature score.
    pub rank: EffectiveRank,
    /// The quadratures that all of this was computed from, one a probe.
    pub quadratures: Vec<Quadrature>,
    /// The settings.
    pub config: DensityConfig,
}

impl SpectralDensity {
    /// The method with these settings.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense.
    pub fn new(config: DensityConfig) -> Result<Self> {
        Ok(Self { config: config.validated()? })
    }

    /// Estimates the density. An interruption gives the report of the probes completed.
    ///
    /// # Errors
    /// A product that is not finite; the operator's own; [`Error::Interrupted`] if no probe was completed.
    pub fn run(
        &self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        observer: &mut dyn Observer,
    ) -> Result<Measured<Density>> {
        let mut meter = Meter::start(operator);
        let ranks = flat_comm::here();
        let space = operator.space().clone();
        let steps = self.config.steps.min(space.layout.len());
        let of = self.config.probes * steps as u64;
        // as many probes at once as share products and fit into memory
        let block = (operator.products_at_once() as u64).min(room(&space) / (steps as u64 + 2)).max(1);
        let mut quadratures: Vec<Quadrature> = Vec::new();
        // those that ranks computed beside the first of them
        let mut ahead = VecDeque::new();
        let (mut range, mut stop, mut told) = (None::<[f64; 2]>, Stop::Budget, false);
        for k in 0..self.config.probes {
            let at = |probes: u64, within: &Progress, range: Option<[f64; 2]>| {
                let done = probes * steps as u64 + within.done;
                Progress { done, of, value: range.map(|r| r[1]), range, ..*within }
            };
            let watch = &mut |within: &Progress| observer.observe(&at(k, within, range));
            let found = match ahead.pop_front() {
                Some(found) => Ok(found),
                None => {
                    let until = self.config.probes.min(k + block * ranks.size() as u64);
                    let compute = |probes: Range<u64>| {
                        let start = |k| ParamVec::sphere(&space, &streams.at2(Purpose::Probe, u64::MAX - 1, k));
                        let starts = probes.map(start).collect::<std::result::Result<_, _>>()?;
                        Quadrature::compute(operator, starts, steps, watch)
                    };
                    shared::computed(&ranks, k..until, compute).and_then(|all| {
                        ahead.extend(all);
                        ahead.pop_front().ok_or(Error::Interrupted)
                    })
                }
            };
            match found {
                Ok((quadrature, elsewhere)) => {
                    meter.count_elsewhere(elsewhere);
                    quadratures.push(quadrature);
                }
                Err(Error::Interrupted) if k > 0 => {
                    stop = Stop::Interrupted;
                    break;
                }
                Err(e) => return Err(e),
            }
            range = Some(outermost(&quadratures));
            let finished = at(k + 1, &Progress::within(0, 1), range);
            // told to stop, it takes the quadratures that are there already
            told = told || observer.observe(&finished).is_break();
            if told && ahead.is_empty() && k + 1 < self.config.probes {
                stop = Stop::Interrupted;
                break;
            }
        }
        let (matvecs, range) = (meter.matvecs(operator), outermost(&quadratures));
        let curve = Curve::smooth(&quadratures, range, &self.config)?;
        let moment = |k| moment(&quadratures, k, matvecs);
        let result = Density {
            grid: curve.grid,
            density: curve.density,
            band: curve.band,
            cumulative: curve.cumulative,
            sigma: curve.sigma,
            range,
            moments: [moment(0)?, moment(1)?, moment(2)?, moment(3)?],
            rank: EffectiveRank::of(&quadratures, space.layout.len(), matvecs)?,
            quadratures,
            config: self.config.clone(),
        };
        Ok(meter.measured(operator, Some(streams), stop, result))
    }
}

/// Smallest and largest node.
fn outermost(quadratures: &[Quadrature]) -> [f64; 2] {
    let nodes = || quadratures.iter().flat_map(|q| q.nodes.iter().copied());
    [nodes().fold(f64::INFINITY, f64::min), nodes().fold(f64::NEG_INFINITY, f64::max)]
}

/// tr(A^k) / d.
fn moment(quadratures: &[Quadrature], k: i32, matvecs: u64) -> Result<Estimate> {
    let samples: Vec<[f64; 1]> = quadratures.iter().map(|q| [q.integrate(|t| t.powi(k))]).collect();
    let mut found = of_means(&samples, matvecs, |[x]| x)?;
    // a mean of even powers is not negative
    if let Some([low, _]) = found.ci95.as_mut().filter(|_| k % 2 == 0) {
        *low = low.max(0.0);
    }
    Ok(found)
}
