//! The points where the algorithms end on the paper's two test functions.

use super::bowl::Bowl;
use super::fit::Interval;
use super::landscape::{Analytic, Landscape};
use super::walk::{Algorithm, Choice};
use crate::study::Study;
use anyhow::Result;
use flat_run::signal;
use serde::{Deserialize, Serialize};

/// A function and its start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Case {
    /// D; 2 is the hyperbola.
    pub(super) dim: usize,
    /// Steps.
    pub(super) steps: u64,
}

/// Where one algorithm ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) case: Case,
    pub(super) algorithm: Algorithm,
    /// trbar at Phi(x) at the end, over the seeds.
    pub(super) trbar: Interval,
    /// Gradients of f.
    pub(super) queries: f64,
    /// (step, trbar at Phi(x)) along the walk of the first seed.
    pub(super) path: Vec<(u64, f64)>,
}

/// Learning rates, radius and gate of the reference runs.
const CHOICE: Choice = Choice { algorithm: Algorithm::Gd, eta: 0.01, plain: 0.01, rho: 0.1, gate: 1.0 };

impl Case {
    /// The function and the start.
    pub(super) fn setting(&self) -> (Bowl, Vec<f64>) {
        match self.dim {
            2 => (Bowl::hyperbola(), vec![4.0, 0.25]),
            d => {
                let bowl = Bowl::new(d);
                (bowl, bowl.minimum((8.0f64 / 3.0).powi(2)))
            }
        }
    }
}

/// Runs all; `None` where a signal asked to stop.
pub(super) fn run(study: &mut Study<'_>, cases: &[Case], seeds: u64) -> Result<Option<Vec<End>>> {
    let seed = study.provenance().seed;
    let all = cases.iter().flat_map(|case| Algorithm::ALL.into_iter().map(move |algorithm| (*case, algorithm)));
    study.all(all, |study, (case, algorithm)| {
        let choice = Choice { algorithm, ..CHOICE };
        let key = format!("ends-d{}-{}", case.dim, algorithm.name().to_lowercase());
        study.cell(&key, &(case, choice, seeds, seed), |_| end(case, choice, seeds, seed))
    })
}

fn end(case: Case, choice: Choice, seeds: u64, seed: u64) -> Result<Option<End>> {
    let (bowl, start) = case.setting();
    let trbar = |x: &[f64]| bowl.trbar(&bowl.limit(x));
    let (mut last, mut path, mut queries) = (Vec::new(), Vec::new(), 0.0);
    for k in 0..seeds {
        let mut objective = Analytic::new(&bowl, &start)?;
        let mut optimizer = choice.optimizer(&objective, case.dim, seed.wrapping_mul(1009).wrapping_add(k))?;
        let every = (case.steps / 100).max(1);
        for step in 0..case.steps {
            if k == 0 && step % every == 0 {
                path.push((step, trbar(&objective.x()?)));
            }
            optimizer.step(&mut objective)?;
            if step % 1024 == 0 && signal::stop_requested() {
                return Ok(None);
            }
        }
        let end = trbar(&objective.x()?);
        if k == 0 {
            path.push((case.steps, end));
        }
        last.push(end);
        queries = optimizer.evals();
    }
    Ok(Some(End { case, algorithm: choice.algorithm, trbar: Interval::mean(&last)?, queries, path }))
}
