//! The ranking of cells: the answer to the question who won.

use flat_sweep::Spread;
use serde::Serialize;
use std::collections::BTreeMap;

/// The answer to the question who won.
#[derive(Debug, Clone, Serialize)]
pub struct Ranking {
    /// The accuracy that cells are ranked by, in words; `None` while no run has ended.
    pub(super) metric: Option<&'static str>,
    /// Its name in a file.
    #[serde(skip)]
    pub(super) key: &'static str,
    /// The cell that the others are compared with.
    pub(super) baseline: String,
    /// Settings that are not the same in all runs, but for the seed.
    pub(super) varied: Vec<String>,
    /// The answer in sentences.
    pub(super) verdict: Vec<String>,
    /// The cells, the best first.
    pub(super) rows: Vec<Row>,
    /// What was left out, and what to know when reading the numbers.
    pub(super) notes: Vec<String>,
}

/// A cell of the ranking. Accuracies are in 0..1.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// From 1.
    pub(super) rank: usize,
    /// Its name.
    pub(super) name: String,
    /// Its values of the settings that vary.
    pub(super) settings: BTreeMap<String, String>,
    /// Its runs.
    pub(super) runs: usize,
    /// Seeds that came to a number.
    pub(super) seeds: Vec<u64>,
    /// Runs that have not ended.
    pub(super) in_progress: usize,
    /// Runs that diverged.
    pub(super) diverged: usize,
    /// What cells are ranked by.
    pub(super) score: Option<Spread>,
    /// The same less the baseline's, paired by seed; `None` for the baseline.
    pub(super) above_baseline: Option<Spread>,
    /// The same less the first cell's, paired by seed; `None` for the first.
    pub(super) above_first: Option<Spread>,
    /// Gradient evaluations of a run, in the mean.
    pub(super) evals: Option<f64>,
    /// Seconds of a run, in the mean.
    pub(super) wall_s: Option<f64>,
    /// Trace of the Hessian, where measured; of a single run with the interval of its probes.
    pub(super) trace: Option<Spread>,
    /// What the difference to the first shows.
    pub(super) verdict: String,
    /// Its place in the list of cells, which decides its colour.
    #[serde(skip)]
    pub(super) cell: usize,
}
