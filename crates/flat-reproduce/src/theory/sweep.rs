//! Steps until a point is (eps, sqrt eps)-flat, over eps and over D.

use super::bowl::Bowl;
use super::fit::{Interval, Power};
use super::landscape::{Landscape, norm};
use super::valley::Valley;
use super::walk::{Algorithm, Choice, Walk, walk};
use crate::study::Study;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// The test functions of the sweeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Family {
    /// [`Bowl`].
    Bowl,
    /// [`Valley`] of slope 2 sqrt(eps).
    Valley,
}

/// What varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Along {
    /// eps, at a fixed D and start.
    Eps,
    /// D, at a fixed eps and a fixed multiple of sqrt(eps) as the slope at the start.
    Dim,
}

/// A line of the sweeps: what one exponent is fitted to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) family: Family,
    pub(super) along: Along,
    pub(super) algorithm: Algorithm,
    /// Which side of `eps D^3 = 1`, where there are two.
    pub(super) regime: String,
    /// (eps, D) of its places.
    pub(super) places: Vec<(f64, usize)>,
    /// The exponent of the theorem's bound.
    pub(super) bound: Option<f64>,
    /// The exponent worked out for the function, logarithms apart.
    pub(super) by_hand: Option<f64>,
}

impl Line {
    /// The coordinate of a place.
    pub(super) fn coordinate(&self, (eps, dim): (f64, usize)) -> f64 {
        if self.along == Along::Eps { eps } else { dim as f64 }
    }
}

/// A sweep of the study's file: over the listed ones of eps and dim.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Sweep {
    function: Family,
    along: Along,
    algorithm: Algorithm,
    #[serde(default)]
    regime: String,
    eps: Listed<f64>,
    dim: Listed<usize>,
    bound: Option<f64>,
    by_hand: Option<f64>,
}

/// One or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Listed<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: Copy> Listed<T> {
    fn all(&self) -> Vec<T> {
        match self {
            Self::One(x) => vec![*x],
            Self::Many(all) => all.clone(),
        }
    }
}

impl Sweep {
    /// The line that an exponent is fitted to.
    pub(super) fn line(&self) -> Line {
        let dims = self.dim.all();
        Line {
            family: self.function,
            along: self.along,
            algorithm: self.algorithm,
            regime: self.regime.clone(),
            places: self.eps.all().into_iter().flat_map(|eps| dims.iter().map(move |dim| (eps, *dim))).collect(),
            bound: self.bound,
            by_hand: self.by_hand,
        }
    }
}

/// A place of a sweep, computed as one cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    family: Family,
    along: Along,
    eps: f64,
    dim: usize,
    choice: Choice,
    limit: u64,
    seeds: u64,
    seed: u64,
}

/// What came out at a place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Found {
    /// What the algorithm ran with.
    pub(super) choice: Choice,
    /// Perturbed steps by the mean drift.
    pub(super) predicted: f64,
    /// One walk a seed.
    pub(super) walks: Vec<Walk>,
}

impl Found {
    /// The steps of the walks that arrived.
    pub(super) fn steps(&self) -> impl Iterator<Item = f64> {
        self.walks.iter().filter(|w| w.reached).map(|w| w.steps as f64)
    }

    /// Mean over the seeds, where all arrived.
    pub(super) fn mean(&self, of: impl Fn(&Walk) -> f64) -> Option<Result<Interval>> {
        let all: Vec<f64> = self.walks.iter().filter(|w| w.reached).map(of).collect();
        (all.len() == self.walks.len()).then(|| Interval::mean(&all))
    }
}

/// A line with what was found along it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Swept {
    pub(super) line: Line,
    pub(super) found: Vec<Found>,
    /// Fitted to the steps of all seeds.
    pub(super) fit: Option<Power>,
    /// Fitted to the steps by the mean drift at the same places.
    pub(super) predicted: Option<Power>,
    /// The exponent between the mean steps of the last two places.
    pub(super) last: Option<f64>,
    /// Perturbed steps measured over those of the mean drift, geometric mean over all walks.
    pub(super) ratio: Option<Interval>,
}

/// The function of a place and its start: a minimum moved off by 1 % of its size, so that SAM has a gradient to begin with.
pub(super) fn setting(family: Family, along: Along, eps: f64, dim: usize) -> (Box<dyn Landscape>, Vec<f64>, f64, f64) {
    match family {
        Family::Bowl => {
            let bowl = Bowl::new(dim);
            let q2 = if along == Along::Eps { (8.0f64 / 3.0).powi(2) } else { bowl.q2_at(4.0 * eps.sqrt()) };
            let x: Vec<f64> = bowl.minimum(q2).iter().map(|x| 1.01 * x).collect();
            (Box::new(bowl), x, bowl.curvature(q2), bowl.flow_time(q2, bowl.q2_at(eps.sqrt())))
        }
        Family::Valley => {
            let valley = Valley::new(dim, 2.0 * eps.sqrt());
            let mut x = vec![0.01 / ((dim - 1) as f64).sqrt(); dim];
            x[0] = 0.0;
            (Box::new(valley), x, valley.curvature(), valley.flow_time(eps.sqrt()))
        }
    }
}

/// Steps that are allowed, as a multiple of those the mean drift of RS (of SA for SA) would take.
pub(super) const PATIENCE: f64 = 4.0;

/// Runs a line; `None` where a signal asked to stop.
pub(super) fn run(study: &mut Study<'_>, line: Line, seeds: u64) -> Result<Option<Swept>> {
    let seed = study.provenance().seed;
    let found = study.all(&line.places, |study, &(eps, dim)| {
        let (landscape, start, beta, time) = setting(line.family, line.along, eps, dim);
        let choice = Choice::of_theorem(line.algorithm, eps, dim, beta);
        let predicted = choice.steps_for(time, dim);
        // a step of SA may be followed by plain ones that bring it back below the gate
        let patience = if line.algorithm == Algorithm::Sa { 5.0 * PATIENCE } else { PATIENCE };
        let limit = (patience * predicted).ceil() as u64;
        let Line { family, along, algorithm, .. } = line;
        let place = Place { family, along, eps, dim, choice, limit, seeds, seed };
        let key = format!("sweep-{family:?}-{along:?}-{}-eps{eps}-d{dim}", algorithm.name()).to_lowercase();
        study.cell(&key, &place, |_| {
            let mut walks = Vec::new();
            for k in 0..place.seeds {
                match walk(&*landscape, &start, &choice, eps, limit, seed.wrapping_mul(1009).wrapping_add(k))? {
                    Some(walk) => walks.push(walk),
                    None => return Ok(None),
                }
            }
            Ok(Some(Found { choice, predicted, walks }))
        })
    })?;
    let Some(found) = found else { return Ok(None) };
    let places = || line.places.iter().map(|p| line.coordinate(*p));
    let points: Vec<(f64, f64)> = places().zip(&found).flat_map(|(x, f)| f.steps().map(move |y| (x, y))).collect();
    let whole = found.iter().all(|f| f.walks.iter().all(|w| w.reached)) && line.bound.is_some();
    let expected: Vec<(f64, f64)> = places().zip(&found).map(|(x, f)| (x, f.predicted)).collect();
    let ratios: Vec<f64> =
        found.iter().flat_map(|f| f.walks.iter().map(|w| w.perturbed as f64 / f.predicted)).collect();
    let mean = |f: &Found| f.steps().sum::<f64>() / f.steps().count() as f64;
    let ends = places().zip(&found).map(|(x, f)| (x.ln(), mean(f).ln())).collect::<Vec<_>>();
    let last = match ends[..] {
        [.., (x0, y0), (x1, y1)] if whole => Some((y1 - y0) / (x1 - x0)),
        _ => None,
    };
    Ok(Some(Swept {
        last,
        fit: if whole { Power::fit(&points).ok() } else { None },
        predicted: Power::fit(&expected).ok(),
        ratio: if whole { Some(Interval::geometric_mean(&ratios)?) } else { None },
        line,
        found,
    }))
}

/// The slope at the start of a place, over sqrt(eps).
pub(super) fn slope_at_start(family: Family, along: Along, eps: f64, dim: usize) -> f64 {
    let (landscape, start, ..) = setting(family, along, eps, dim);
    norm(&landscape.tangent_gradient(&landscape.limit(&start))) / eps.sqrt()
}
