//! The distribution of all eigenvalues of an operator.

mod curve;

use crate::estimate::of_means;
use crate::rank::EffectiveRank;
use crate::{Error, Estimate, LinearOperator, Quadrature, Result, Tick};
use curve::Curve;
use flat_core::{ParamVec, Purpose, Streams};
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::Instant;

/// Settings of [`SpectralDensity`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DensityConfig {
    /// Independent start vectors; at least 2 for a band.
    pub probes: u64,
    /// Lanczos steps m from each, at least 2.
    pub steps: usize,
    /// Standard deviation of the smoothing Gaussian, as a fraction of the distance between the outermost Ritz values.
    pub width: f64,
    /// Points of the grid.
    pub points: usize,
}

impl Default for DensityConfig {
    /// 10 probes of 80 steps, smoothed over 1 % of the spectrum's range, on 1,024 points.
    fn default() -> Self {
        Self { probes: 10, steps: 80, width: 0.01, points: 1024 }
    }
}

impl DensityConfig {
    /// The same settings, if they make sense.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field.
    pub fn validated(self) -> Result<Self> {
        let bad = |field, value: String, remedy| Err(Error::BadConfig { field, value, remedy });
        if self.probes == 0 {
            return bad("probes", "0".into(), "draw at least one start vector, two for a band");
        }
        if self.steps < 2 {
            let remedy = "take at least two Lanczos steps, from which tr A^2 and tr A^3 are exact; 80 for a network";
            return bad("steps", self.steps.to_string(), remedy);
        }
        if !(self.width > 0.0 && self.width <= 1.0) {
            return bad(
                "width",
                self.width.to_string(),
                "give a fraction of the range above 0 and up to 1, such as 0.01",
            );
        }
        // the grid spans the range and MARGIN widths on each side; more than one point a width resolves a Gaussian
        let least = 2.0 * (1.0 / self.width + 2.0 * MARGIN);
        if (self.points as f64) < least || self.points > MOST_POINTS {
            return bad(
                "points",
                self.points.to_string(),
                "take at least 2 / width + 20 points, and at most a million",
            );
        }
        Ok(self)
    }
}

/// Widths of the Gaussian that the grid reaches beyond the outermost Ritz values: 6e-7 of a peak there is outside.
const MARGIN: f64 = 5.0;
const MOST_POINTS: usize = 1_000_000;

/// Stochastic Lanczos quadrature: the spectral density `(1/d) sum_j N(x; lambda_j, sigma^2)` of a symmetric operator as the
/// mean over random unit vectors of `sum_i w_i N(x; t_i, sigma^2)` with the nodes and weights of a [`Quadrature`] (Lin,
/// Saad & Yang 2016, "Approximating Spectral Densities of Large Matrices"; Ghorbani, Krishnan & Xiao 2019, arXiv
/// 1901.10159).
///
/// Costs `probes * steps` products at most. Probes follow each other, so that memory is that of one: `steps + 2` vectors
/// of d numbers; 80 steps on a million f32 parameters hold 0.33 GB.
///
/// Two errors remain. That of finitely many probes is in the band. That of finitely many steps is not: the quadrature is
/// exact for polynomials of degree `2 steps - 1`, and details finer than about `range / steps` in the bulk are those of the
/// quadrature, while well separated outer eigenvalues are sharp. The moments up to degree `2 steps - 1` carry no error but
/// that of the probes.
///
/// Probe k is uniform on the sphere from the stream (seed, probe, (2^64 - 2, k)), which no trace or [`crate::Lanczos`]
/// draws from.
///
/// ```
/// use flat_core::Streams;
/// use flat_metrics::{Dense, DensityConfig, SpectralDensity};
///
/// # fn main() -> flat_metrics::Result<()> {
/// // 20 eigenvalues 1 and 20 eigenvalues 4
/// let mut a = Dense::from_fn(40, |i, j| if i != j { 0.0 } else if i < 20 { 1.0 } else { 4.0 })?;
/// let config = DensityConfig { probes: 20, steps: 10, ..DensityConfig::default() };
/// let report = SpectralDensity::new(config)?.run(&mut a, &Streams::new(0))?;
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

/// How far [`SpectralDensity`] has come; given to its callback before every batch and after every probe.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct DensityProgress {
    /// Probes completed.
    pub probes: u64,
    /// Products completed, counted as `steps` for every finished probe.
    pub matvecs: u64,
    /// Most products there will be.
    pub max_matvecs: u64,
    /// Position within the current product.
    pub tick: Tick,
    /// Smallest and largest Ritz value of the finished probes.
    pub range: Option<[f64; 2]>,
    /// Seconds since the start.
    pub wall_s: f64,
}

/// A smoothed spectral density with its band, its moments, and what it was computed on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DensityReport {
    /// Where the density is given, in ascending order.
    pub grid: Vec<f64>,
    /// Eigenvalues a unit of length, as a fraction of all, at each point of the grid.
    pub density: Vec<f64>,
    /// Lower and upper ends of the 95 % Student-t interval of each value of `density` by itself, from the spread among the
    /// probes, cut off at 0; empty with one probe.
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
    /// d, the number of trainable parameters.
    pub dim: usize,
    /// Operator products spent.
    pub matvecs: u64,
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
    pub config: DensityConfig,
    /// The callback asked to stop; the report covers the probes completed.
    pub interrupted: bool,
    /// Seconds spent.
    pub wall_s: f64,
}

impl SpectralDensity {
    /// The method with these settings.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense.
    pub fn new(config: DensityConfig) -> Result<Self> {
        Ok(Self { config: config.validated()? })
    }

    /// Estimates the density.
    ///
    /// # Errors
    /// A product that is not finite; the operator's own.
    pub fn run(&self, operator: &mut dyn LinearOperator, streams: &Streams) -> Result<DensityReport> {
        self.run_watched(operator, streams, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`Self::run`], calling `progress` before every batch and after every probe. [`ControlFlow::Break`] ends the run
    /// with the report of the probes completed. The callback must not use the model, which may be displaced.
    ///
    /// # Errors
    /// As [`Self::run`]; [`Error::Interrupted`] if no probe was completed.
    pub fn run_watched(
        &self,
        operator: &mut dyn LinearOperator,
        streams: &Streams,
        progress: &mut dyn FnMut(&DensityProgress) -> ControlFlow<()>,
    ) -> Result<DensityReport> {
        let (start, before) = (Instant::now(), operator.matvecs());
        let space = operator.space().clone();
        let steps = self.config.steps.min(space.layout.len());
        let max_matvecs = self.config.probes * steps as u64;
        let mut quadratures: Vec<Quadrature> = Vec::new();
        let (mut range, mut interrupted) = (None, false);
        for k in 0..self.config.probes {
            let at = |probes: u64, done: usize, tick, range| DensityProgress {
                probes,
                matvecs: probes * steps as u64 + done as u64,
                max_matvecs,
                tick,
                range,
                wall_s: start.elapsed().as_secs_f64(),
            };
            let v = ParamVec::sphere(&space, &streams.at2(Purpose::Probe, u64::MAX - 1, k))?;
            let found = Quadrature::compute(operator, v, steps, &mut |done, tick| progress(&at(k, done, tick, range)));
            match found {
                Ok(quadrature) => quadratures.push(quadrature),
                Err(Error::Interrupted) if k > 0 => {
                    interrupted = true;
                    break;
                }
                Err(e) => return Err(e),
            }
            range = Some(outermost(&quadratures));
            let finished = at(k + 1, 0, Tick { done: 0, of: 1 }, range);
            if progress(&finished).is_break() && k + 1 < self.config.probes {
                interrupted = true;
                break;
            }
        }
        let (matvecs, origin, dim) = (operator.matvecs() - before, operator.origin(), space.layout.len());
        let range = outermost(&quadratures);
        let curve = Curve::smooth(&quadratures, range, &self.config)?;
        let moment = |k| moment(&quadratures, k, matvecs);
        Ok(DensityReport {
            grid: curve.grid,
            density: curve.density,
            band: curve.band,
            cumulative: curve.cumulative,
            sigma: curve.sigma,
            range,
            moments: [moment(0)?, moment(1)?, moment(2)?, moment(3)?],
            rank: EffectiveRank::of(&quadratures, dim, matvecs)?,
            quadratures,
            dim,
            matvecs,
            operator: origin.operator,
            examples: origin.examples,
            batches: origin.batches,
            bn_mode: origin.bn_mode,
            dtype: space.dtype.as_str().into(),
            seed: streams.seed(),
            config: self.config.clone(),
            interrupted,
            wall_s: start.elapsed().as_secs_f64(),
        })
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
