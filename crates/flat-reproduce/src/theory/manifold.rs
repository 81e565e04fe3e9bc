//! The walk to the sparse solution along a manifold of minima, in up to 10^5 dimensions.

use super::landscape::{Analytic, Landscape};
use super::sparse::Sparse;
use super::walk::{Algorithm, Choice};
use crate::study::Study;
use anyhow::Result;
use flat_run::signal;
use serde::{Deserialize, Serialize};

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Setting {
    pub(super) dim: usize,
    pub(super) choice: Choice,
    /// Gradients of f that may be spent.
    pub(super) queries: f64,
    seed: u64,
}

/// Where a run stood after so many gradients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Stand {
    pub(super) queries: f64,
    /// trbar at Phi(x) over its smallest value.
    pub(super) ratio: f64,
    /// Distance of Phi(x) to the nearest flattest minimum.
    pub(super) distance: f64,
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) setting: Setting,
    pub(super) path: Vec<Stand>,
    /// Gradients until trbar was within 5 % of its smallest value.
    pub(super) arrived: Option<f64>,
}

/// Blocks of the regression.
pub(super) const BLOCKS: usize = 4;

/// What a start has beyond its weights, see [`Sparse::start`].
const SPARE: f64 = 1.0;

/// Sizes of the regression of the study's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Places {
    dims: Vec<usize>,
    /// Gradients of f that a run may spend.
    gradients: f64,
}

impl Places {
    /// The runs: SA and RS at the same radius, and RS at a radius that grows as D^1/4.
    pub(super) fn settings(&self, seed: u64) -> Vec<Setting> {
        let mut all = Vec::new();
        for &dim in &self.dims {
            let wide = 0.2 * (dim as f64).powf(0.25);
            for (algorithm, rho) in [(Algorithm::Sa, 0.2), (Algorithm::Rs, 0.2), (Algorithm::Rs, wide)] {
                let choice = Choice { algorithm, eta: 0.05, plain: 0.2, rho, gate: 0.3 };
                // RS hardly moves there: what SA needs, and a little more, shows it
                let short = dim > 10_000 && algorithm == Algorithm::Rs;
                let queries = if short { self.gradients / 3.0 } else { self.gradients };
                all.push(Setting { dim, choice, queries, seed });
            }
        }
        all
    }
}

/// Runs all; `None` where a signal asked to stop.
pub(super) fn run(study: &mut Study<'_>, places: &Places) -> Result<Option<Vec<Run>>> {
    study.all(places.settings(study.provenance().seed), |study, setting| {
        let Setting { dim, choice, .. } = setting;
        let key = format!("manifold-d{dim}-{}-rho{:.3}", choice.algorithm.name().to_lowercase(), choice.rho);
        study.cell(&key, &setting, |_| descend(setting))
    })
}

fn descend(setting: Setting) -> Result<Option<Run>> {
    let sparse = Sparse::new(setting.dim, BLOCKS);
    let mut objective = Analytic::new(&sparse, &sparse.start(SPARE))?;
    let mut optimizer = setting.choice.optimizer(&objective, sparse.dim(), setting.seed)?;
    let mut run = Run { setting, path: Vec::new(), arrived: None };
    // 200 looks, evenly spaced
    let mut due = 0.0;
    loop {
        if optimizer.evals() >= due {
            due += setting.queries / 200.0;
            let at = sparse.limit(&objective.x()?);
            let ratio = sparse.trbar(&at) / sparse.least_trbar();
            let stand = Stand { queries: optimizer.evals(), ratio, distance: sparse.distance_to_flattest(&at) };
            run.path.push(stand);
            if ratio <= 1.05 && run.arrived.is_none() {
                run.arrived = Some(stand.queries);
            }
            if signal::stop_requested() {
                return Ok(None);
            }
            if stand.queries >= setting.queries || ratio <= 1.01 {
                return Ok(Some(run));
            }
        }
        optimizer.step(&mut objective)?;
    }
}
