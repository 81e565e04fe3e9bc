//! The TwoNN estimator: the dimension of the manifold that points lie on.

use crate::measured::{Effort, Measured, Provenance, Stop};
use crate::observer::{Observer, Progress, ask};
use crate::statistics::t_quantile;
use crate::{Error, Result};
use serde::Serialize;
use std::time::Instant;

/// The TwoNN estimator of the intrinsic dimension of points (Facco, d'Errico, Rodriguez & Laio 2017, "Estimating the
/// intrinsic dimension of datasets by a minimal neighborhood information"). Let mu be the distance to the second
/// neighbour over that to the first. On a manifold of dimension k, mu has the distribution `1 - mu^-k` wherever the
/// density hardly changes among the two.
///
/// So ln mu is exponential with rate k. The largest `discard` of the ratios, which feel curvature and density most, are
/// left out as the authors advise, here as a censored sample: with the r smallest of n values kept,
/// `T = sum of them + (n - r) times the largest of them` gives the estimate `(r - 1) / T` (Epstein & Sobel 1953; maximum
/// likelihood instead of the authors' line fit as in Denti, Doimo, Laio & Mira 2022).
///
/// Ratios are not independent: points that are each other's nearest neighbours share a distance. The interval therefore
/// takes the sets of points that nearest-neighbour links connect (about three points each) for the independent units, and
/// is that of the logarithm of k with the variance among them (a cluster-robust variance); for independent ratios it would
/// be 1.25 times as narrow and cover in some 88 % of cases. At dimensions above 3 or so the border of a bounded set, where
/// neighbours are missing on one side, biases the estimate downwards, which no interval shows.
///
/// Costs `n^2` distances of D numbers, most of them abandoned early.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoNn {
    /// Fraction of the largest ratios left out, in [0, 1).
    pub discard: f64,
}

impl Default for TwoNn {
    /// Leaves out a tenth.
    fn default() -> Self {
        Self { discard: 0.1 }
    }
}

/// An intrinsic dimension and what it was computed from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IntrinsicDimension {
    /// The estimate.
    pub value: f64,
    /// The 95 % interval, see [`TwoNn`].
    pub ci95: [f64; 2],
    /// Points given.
    pub points: usize,
    /// Points that equal an earlier one and were left out.
    pub duplicates: usize,
    /// Ratios that count fully; the others are only known to be larger.
    pub kept: usize,
    /// Sets of points connected by nearest-neighbour links, the independent units of the interval.
    pub clusters: usize,
    /// Coordinates of a point.
    pub coordinates: usize,
}

impl TwoNn {
    /// Estimates the dimension of `points`, each of `coordinates` numbers, one after the other. The observer is asked
    /// before every point.
    ///
    /// # Errors
    /// A number that is not finite; fewer than 10 different points; [`Error::Interrupted`] when the observer said so: neighbours
    /// among a part of the points are of another set.
    pub fn run(
        &self,
        points: &[f64],
        coordinates: usize,
        observer: &mut dyn Observer,
    ) -> Result<Measured<IntrinsicDimension>> {
        let start = Instant::now();
        if !(0.0..1.0).contains(&self.discard) {
            let remedy = "give a fraction in [0, 1), such as 0.1";
            return Err(Error::BadConfig { field: "discard", value: self.discard.to_string(), remedy });
        }
        if coordinates == 0 || !points.len().is_multiple_of(coordinates) {
            let value = format!("{coordinates} for {} numbers", points.len());
            return Err(Error::BadConfig { field: "coordinates", value, remedy: "give whole points, row by row" });
        }
        if let Some(x) = points.iter().find(|x| !x.is_finite()) {
            return Err(Error::NonFinite { quantity: "a coordinate".into(), value: *x });
        }
        let mut rows: Vec<&[f64]> = points.chunks_exact(coordinates).collect();
        let given = rows.len();
        // equal points have distance 0 and no ratio; 0.0 makes -0.0 the same number
        rows.sort_by(|a, b| {
            let order = |(x, y): (&f64, &f64)| (x + 0.0).total_cmp(&(y + 0.0));
            a.iter().zip(*b).map(order).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        });
        rows.dedup_by(|a, b| a == b);
        let n = rows.len();
        if n < LEAST {
            let remedy = "the intrinsic dimension needs at least 10 different points";
            return Err(Error::BadConfig { field: "points", value: format!("{n} of {given} different"), remedy });
        }
        let (mut logs, mut links) = (Vec::with_capacity(n), Links::new(n));
        for i in 0..n {
            ask(observer, &Progress { done: i as u64, of: n as u64, ..Progress::default() })?;
            let near = Neighbours::of(&rows, i);
            links.join(i, near.nearest);
            // squared distances that underflow leave no ratio: as good as equal points
            if near.first > 0.0 {
                logs.push((0.5 * (near.second / near.first).ln(), i));
            }
        }
        let n = logs.len();
        let kept = (((1.0 - self.discard) * n as f64).ceil() as usize).clamp(2.min(n), n);
        let mut sorted: Vec<f64> = logs.iter().map(|(x, _)| *x).collect();
        sorted.sort_by(f64::total_cmp);
        let bound = sorted.get(kept.wrapping_sub(1)).copied().unwrap_or(0.0);
        let total: f64 = sorted.iter().map(|x| x.min(bound)).sum();
        if !(total.is_finite() && total > 0.0) {
            let remedy = "the two nearest neighbours of every point are equally far (a lattice): TwoNN does not apply";
            return Err(Error::BadConfig { field: "points", value: format!("{n} ratios"), remedy });
        }
        let value = (kept - 1) as f64 / total;
        // the derivative of the log-likelihood by ln k, summed over each cluster
        let mut scores = std::collections::BTreeMap::new();
        for &(x, i) in &logs {
            *scores.entry(links.root(i)).or_insert(0.0) += f64::from(u8::from(x <= bound)) - value * x.min(bound);
        }
        let clusters = scores.len();
        let error = scores.values().map(|s| s * s).sum::<f64>().sqrt() / kept as f64;
        let half = t_quantile((clusters.max(2) - 1) as f64, 0.95)? * error;
        let result = IntrinsicDimension {
            value,
            ci95: [value * (-half).exp(), value * half.exp()],
            points: given,
            duplicates: given - rows.len(),
            kept,
            clusters,
            coordinates,
        };
        let provenance = Provenance { examples: Some(given), dtype: "f64".into(), ..Provenance::default() };
        let effort = Effort { wall_s: start.elapsed().as_secs_f64(), ..Effort::default() };
        Ok(Measured { result, provenance, effort, stop: Stop::Complete })
    }
}

/// Fewest different points.
const LEAST: usize = 10;

/// The two nearest of the other points.
struct Neighbours {
    /// Index of the nearest.
    nearest: usize,
    /// Squared distance to it.
    first: f64,
    /// Squared distance to the second nearest.
    second: f64,
}

impl Neighbours {
    fn of(rows: &[&[f64]], i: usize) -> Self {
        let mut found = Self { nearest: i, first: f64::INFINITY, second: f64::INFINITY };
        // sorted points that are close in the order are often close: the bound becomes tight early
        for step in 1..rows.len() {
            for j in [i.checked_sub(step), Some(i + step).filter(|j| *j < rows.len())].into_iter().flatten() {
                let distance = squared_distance(rows[i], rows[j], found.second);
                if distance < found.first {
                    found = Self { nearest: j, first: distance, second: found.first };
                } else if distance < found.second {
                    found.second = distance;
                }
            }
        }
        found
    }
}

/// Which points are linked, directly or through others (union-find).
struct Links(Vec<usize>);

impl Links {
    fn new(n: usize) -> Self {
        Self((0..n).collect())
    }

    fn root(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    fn join(&mut self, i: usize, j: usize) {
        let (i, j) = (self.root(i), self.root(j));
        self.0[i.max(j)] = i.min(j);
    }
}

/// Squared distance, or any number from `bound` up where it is not below `bound`.
fn squared_distance(a: &[f64], b: &[f64], bound: f64) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.chunks(32).zip(b.chunks(32)) {
        sum += a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
        if sum >= bound {
            break;
        }
    }
    sum
}
