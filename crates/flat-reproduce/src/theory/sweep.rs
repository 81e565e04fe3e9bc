//! Steps until a point is (eps, sqrt eps)-flat, over eps and over D.

use super::bowl::Bowl;
use super::fit::{Interval, Power};
use super::landscape::{Landscape, norm};
use super::valley::Valley;
use super::walk::{Algorithm, Choice, Walk, walk};
use crate::{Scale, Study};
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

/// The lines of a scale.
pub(super) fn lines(scale: Scale) -> Vec<Line> {
    use {Algorithm::*, Along::*, Family::*};
    let mut lines = Vec::new();
    let mut add = |family, along, algorithm, regime: &str, places: Vec<(f64, usize)>, bound: f64, by_hand: f64| {
        // GD, SAM and NSO have neither
        let [bound, by_hand] = [bound, by_hand].map(|x| Some(x).filter(|x| x.is_finite()));
        lines.push(Line { family, along, algorithm, regime: regime.into(), places, bound, by_hand });
    };
    let at = |dim: usize, list: &[f64]| list.iter().map(|eps| (*eps, dim)).collect::<Vec<_>>();
    let of = |eps: f64, list: &[usize]| list.iter().map(|dim| (eps, *dim)).collect::<Vec<_>>();
    if scale == Scale::Smoke {
        add(Bowl, Eps, Rs, "", at(4, &[0.1, 0.07, 0.05]), -3.0, -2.0);
        add(Bowl, Eps, Sa, "eps D^3 > 1", at(4, &[0.1, 0.05, 0.025]), -2.0, -1.0);
        add(Valley, Eps, Rs, "", at(4, &[0.2, 0.15, 0.1]), -3.0, -3.0);
        add(Valley, Dim, Sa, "eps D^3 < 1", of(0.02, &[2, 3]), -4.0, -4.0);
        add(Bowl, Eps, Gd, "", at(4, &[0.1]), f64::NAN, f64::NAN);
        return lines;
    }
    let paper = scale == Scale::Paper;
    let more = |list: &[f64], extra: &[f64]| [list, if paper { extra } else { &[] }].concat();
    add(Bowl, Eps, Rs, "", at(4, &more(&[0.1, 0.05, 0.02, 0.01, 0.005], &[0.002, 0.001])), -3.0, -2.0);
    add(Bowl, Eps, Sa, "eps D^3 > 1", at(4, &[0.1, 0.05, 0.03, 0.02]), -2.0, -1.0);
    add(Bowl, Eps, Sa, "eps D^3 < 1", at(4, &more(&[0.01, 0.005, 0.002, 0.001], &[0.0005, 0.0002])), -3.0, -2.0);
    add(Valley, Eps, Rs, "", at(4, &more(&[0.2, 0.1, 0.05, 0.02, 0.01], &[0.005])), -3.0, -3.0);
    add(Valley, Eps, Sa, "eps D^3 > 1", at(4, &[0.2, 0.1, 0.05, 0.03, 0.02]), -2.0, -2.0);
    add(Valley, Eps, Sa, "eps D^3 < 1", at(4, &more(&[0.01, 0.007, 0.005, 0.003], &[0.002, 0.001])), -3.0, -3.0);
    add(Bowl, Dim, Rs, "", of(0.02, &[2, 4, 8, 16, 32]), 0.0, 1.0);
    add(Bowl, Dim, Sa, "eps D^3 < 1", of(0.001, &[2, 4, 6, 8]), -4.0, -3.0);
    add(Bowl, Dim, Sa, "eps D^3 > 1", of(0.001, &[12, 16, 24, 32]), -1.0, 0.0);
    add(Valley, Dim, Rs, "", of(0.03, &[2, 4, 8, 16, 32]), 0.0, 0.0);
    add(Valley, Dim, Sa, "eps D^3 < 1", of(0.008, &[2, 3, 4, 5]), -4.0, -4.0);
    add(Valley, Dim, Sa, "eps D^3 > 1", of(0.008, &[6, 8, 12, 16, 24, 32]), -1.0, -1.0);
    for algorithm in [Gd, Sam, Nso] {
        add(Bowl, Eps, algorithm, "", at(4, &[0.1, 0.05, 0.02]), f64::NAN, f64::NAN);
        add(Valley, Eps, algorithm, "", at(4, &[0.2, 0.1, 0.05]), f64::NAN, f64::NAN);
    }
    lines
}

/// How many seeds a scale has.
pub(super) fn seeds(scale: Scale) -> u64 {
    match scale {
        Scale::Smoke => 2,
        Scale::Cpu => 10,
        Scale::Paper => 20,
    }
}

/// Steps that are allowed, as a multiple of those the mean drift of RS (of SA for SA) would take.
pub(super) const PATIENCE: f64 = 4.0;

/// Runs a line; `None` where a signal asked to stop.
pub(super) fn run(study: &mut Study, line: Line) -> Result<Option<Swept>> {
    let (scale, seed) = (study.provenance().scale, study.provenance().seed);
    let mut found = Vec::new();
    for &(eps, dim) in &line.places {
        let (landscape, start, beta, time) = setting(line.family, line.along, eps, dim);
        let choice = Choice::of_theorem(line.algorithm, eps, dim, beta);
        let predicted = choice.steps_for(time, dim);
        // a step of SA may be followed by plain ones that bring it back below the gate
        let patience = if line.algorithm == Algorithm::Sa { 5.0 * PATIENCE } else { PATIENCE };
        let limit = (patience * predicted).ceil() as u64;
        let Line { family, along, algorithm, .. } = line;
        let place = Place { family, along, eps, dim, choice, limit, seeds: seeds(scale), seed };
        let key = format!("sweep-{family:?}-{along:?}-{}-eps{eps}-d{dim}", algorithm.name()).to_lowercase();
        let cell = study.cell(&key, &place, |_| {
            let mut walks = Vec::new();
            for k in 0..place.seeds {
                match walk(&*landscape, &start, &choice, eps, limit, seed.wrapping_mul(1009).wrapping_add(k))? {
                    Some(walk) => walks.push(walk),
                    None => return Ok(None),
                }
            }
            Ok(Some(Found { choice, predicted, walks }))
        })?;
        match cell {
            Some(cell) => found.push(cell),
            None => return Ok(None),
        }
    }
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
