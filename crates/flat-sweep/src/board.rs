//! The leaderboard: cells ranked on validation images, with intervals over the seeds.

use crate::cell::Cell;
use crate::record::{Record, State};
use crate::select::Select;
use crate::spread::Spread;
use crate::store;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;

/// The result of a sweep: `sweep.json`, and what `--json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// Version of the shape.
    pub schema: u32,
    /// Folder of the sweep.
    pub out: String,
    /// Whether every run has ended; of an interrupted sweep the rest is what there is by then.
    pub complete: bool,
    /// What cells are ranked by: `accuracy` or `loss`, both on validation images.
    pub select: String,
    /// What every run may spend, as `--budget` takes it.
    pub budget: String,
    /// Successive halving, as `--halving` takes it.
    pub halving: Option<String>,
    /// Seeds of every cell.
    pub seeds: Vec<u64>,
    /// Validation images of a run.
    pub validation: usize,
    /// Processes at a time.
    pub jobs: usize,
    /// Threads of each.
    pub threads: usize,
    /// Why so many.
    pub jobs_why: String,
    /// Settings that vary.
    pub varied: Vec<String>,
    /// The cells, the best first.
    pub rows: Vec<Row>,
    /// Runs that failed.
    pub failures: Vec<Failure>,
    /// What to know when reading the numbers.
    pub notes: Vec<String>,
}

/// A cell of the leaderboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From 1.
    pub rank: usize,
    /// The cell.
    pub cell: String,
    /// Its settings among those that vary.
    pub settings: BTreeMap<String, String>,
    /// Runs that took all their steps.
    pub finished: usize,
    /// Runs that diverged.
    pub diverged: usize,
    /// Runs that failed.
    pub failed: usize,
    /// Steps after which halving dropped it.
    pub dropped_after: Option<u64>,
    /// Accuracy on the validation images, in 0..1.
    pub val_accuracy: Option<Spread>,
    /// Loss on them.
    pub val_loss: Option<Spread>,
    /// What cells are ranked by, less that of the best cell, over the seeds that both have.
    pub difference: Option<Spread>,
    /// What the difference shows.
    pub verdict: String,
    /// Accuracy on the test set, in 0..1, where it was looked at.
    pub test_accuracy: Option<Spread>,
    /// Loss on it, likewise.
    pub test_loss: Option<Spread>,
    /// Accuracy on the training images, in 0..1.
    pub train_accuracy: Option<Spread>,
    /// Trace of the Hessian of the training loss, where measured.
    pub trace: Option<Spread>,
    /// Optimizer steps of a run, in the mean.
    pub steps: Option<f64>,
    /// Gradient evaluations of a run, in mini-batch gradients, in the mean.
    pub evals: Option<f64>,
    /// Seconds of a run, in the mean.
    pub wall_s: Option<f64>,
}

/// A run that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The cell.
    pub cell: String,
    /// The seed.
    pub seed: u64,
    /// The last line that its process wrote to stderr.
    pub why: String,
}

/// A cell with its runs by seed.
pub(crate) struct Tried<'a> {
    pub cell: &'a Cell,
    pub runs: BTreeMap<u64, Record>,
    /// Steps after which halving dropped it.
    pub dropped_after: Option<u64>,
}

impl Tried<'_> {
    fn count(&self, state: State) -> usize {
        self.runs.values().filter(|run| run.state == state).count()
    }

    /// Numbers of the runs that came to one, by seed.
    fn numbers(&self, of: impl Fn(&Record) -> Option<f64>) -> BTreeMap<u64, f64> {
        let ended = |run: &Record| matches!(run.state, State::Finished | State::Paused);
        self.runs.iter().filter(|(_, run)| ended(run)).filter_map(|(seed, run)| Some((*seed, of(run)?))).collect()
    }

    fn spread(&self, of: impl Fn(&Record) -> Option<f64>) -> Option<Spread> {
        Spread::of(&self.numbers(of).into_values().collect::<Vec<_>>())
    }

    fn mean(&self, of: impl Fn(&Record) -> Option<f64>) -> Option<f64> {
        let all: Vec<f64> = self.runs.values().filter_map(of).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    }

    /// Runs of `seeds` that came to no number.
    fn missing(&self, select: Select, seeds: usize) -> usize {
        seeds - self.numbers(|run| select.of(run)).len().min(seeds)
    }
}

impl Select {
    /// The number of a run that cells are ranked by.
    pub(crate) fn of(self, run: &Record) -> Option<f64> {
        match self {
            Self::Accuracy => run.val_accuracy,
            Self::Loss => run.val_loss,
        }
    }
}

/// The better of two cells first: those that halving kept longer, then those with a number of every run, then by the mean.
fn compare(a: &Tried<'_>, b: &Tried<'_>, select: Select, seeds: usize) -> Ordering {
    let kept = |t: &Tried<'_>| t.dropped_after.unwrap_or(u64::MAX);
    let mean = |t: &Tried<'_>| t.spread(|run| select.of(run)).map_or(f64::NEG_INFINITY, |s| select.sign() * s.mean);
    kept(b)
        .cmp(&kept(a))
        .then(a.missing(select, seeds).cmp(&b.missing(select, seeds)))
        .then(mean(b).total_cmp(&mean(a)))
}

/// Puts the better cells first; equal ones stay in their order.
pub(crate) fn rank(tried: &mut [Tried<'_>], select: Select, seeds: usize) {
    tried.sort_by(|a, b| compare(a, b, select, seeds));
}

/// The rows of ranked cells.
pub(crate) fn rows(tried: &[Tried<'_>], select: Select, seeds: usize) -> Vec<Row> {
    let best = tried.first().filter(|t| t.missing(select, seeds) < seeds);
    let of_best = best.map(|t| t.numbers(|run| select.of(run))).unwrap_or_default();
    let row = |(i, t): (usize, &Tried<'_>)| {
        let own = t.numbers(|run| select.of(run));
        let comparable = i > 0 && t.dropped_after == best.and_then(|b| b.dropped_after);
        let pairs: Vec<f64> = own.iter().filter_map(|(seed, x)| Some(x - of_best.get(seed)?)).collect();
        let difference = if comparable { Spread::of(&pairs) } else { None };
        Row {
            rank: i + 1,
            cell: t.cell.name.clone(),
            settings: t.cell.settings.iter().cloned().collect(),
            finished: t.count(State::Finished),
            diverged: t.count(State::Diverged),
            failed: t.count(State::Failed),
            dropped_after: t.dropped_after,
            val_accuracy: t.spread(|run| run.val_accuracy),
            val_loss: t.spread(|run| run.val_loss),
            verdict: verdict(i, t, seeds, difference.as_ref(), select),
            difference,
            test_accuracy: t.spread(|run| run.test_accuracy),
            test_loss: t.spread(|run| run.test_loss),
            train_accuracy: t.spread(|run| run.train_accuracy),
            trace: t.spread(|run| run.trace),
            steps: t.mean(|run| run.steps.map(|n| n as f64)),
            evals: t.mean(|run| run.evals),
            wall_s: t.mean(|run| run.wall_s),
        }
    };
    tried.iter().enumerate().map(row).collect()
}

/// What a difference to the best cell shows.
fn verdict(i: usize, tried: &Tried<'_>, seeds: usize, difference: Option<&Spread>, select: Select) -> String {
    let diverged = tried.count(State::Diverged);
    if diverged > 0 {
        return format!("diverged in {diverged} of {seeds}");
    }
    let missing = tried.missing(select, seeds);
    if missing > 0 {
        return format!("no result in {missing} of {seeds}");
    }
    if tried.dropped_after.is_some() {
        return "dropped by halving".into();
    }
    if i == 0 {
        return "best".into();
    }
    let worse = |[low, high]: [f64; 2]| match select {
        Select::Accuracy => high < 0.0,
        Select::Loss => low > 0.0,
    };
    match difference.and_then(|d| d.ci95).map(worse) {
        Some(true) => "worse".into(),
        Some(false) => "not distinguishable".into(),
        None => "one seed: no interval".into(),
    }
}

impl Board {
    /// The leaderboard that a sweep left in its folder.
    ///
    /// # Errors
    /// A missing or damaged file.
    pub fn read(root: &Path) -> Result<Self> {
        store::read_board(root)
    }

    /// The best cell, where one came to a number.
    pub fn best(&self) -> Option<&Row> {
        self.rows.first().filter(|row| row.val_accuracy.is_some())
    }
}
