//! Ranks cells by their mean accuracy over the seeds, each beside a baseline and beside the first.

use super::cell::{Cell, varied};
use super::ranking::{Ranking, Row};
use super::run::Run;
use super::summary::Summary;
use super::verdict;
use anyhow::Result;
use flat_core::name::instead;
use flat_run::usage;
use flat_sweep::Spread;
use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};

/// What cells may be ranked by: its name, its key, and where a run has it, in 0..1.
type Metric = (&'static str, &'static str, fn(&Summary) -> Option<f64>);

/// The first that any run has is taken.
const METRICS: [Metric; 3] = [
    ("test accuracy", "test_accuracy", |s| s.test_accuracy),
    ("validation accuracy", "validation_accuracy", |s| s.val_accuracy),
    ("training accuracy", "training_accuracy", |s| s.train_accuracy),
];

/// A cell with its scores by seed.
struct Entry<'a> {
    place: usize,
    cell: &'a Cell,
    scores: BTreeMap<u64, f64>,
    /// Runs that came to no number.
    missing: usize,
}

impl Entry<'_> {
    fn score(&self) -> Option<Spread> {
        Spread::of(&self.scores.values().copied().collect::<Vec<_>>())
    }

    fn order(&self, other: &Self) -> Ordering {
        let mean = |entry: &Self| entry.score().map_or(f64::NEG_INFINITY, |s| s.mean);
        self.missing.cmp(&other.missing).then(mean(other).total_cmp(&mean(self)))
    }
}

/// The ranking of these cells of these runs, beside a baseline: the cell of that name, or of a run of that name;
/// without one the best cell of plain SGD, else the first cell named.
///
/// # Errors
/// A baseline that is no cell, in a usage error that lists those that there are.
pub(super) fn ranking(runs: &[Run], cells: &[Cell], baseline: Option<&str>) -> Result<Ranking> {
    let metric = METRICS.iter().find(|(.., of)| runs.iter().filter_map(Run::ended).any(|s| of(s).is_some()));
    let score = |run: &Run| metric.and_then(|(.., of)| of(run.ended()?));
    let mut notes = Vec::new();
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (place, cell) in cells.iter().enumerate() {
        let (mut scores, mut missing) = (BTreeMap::new(), 0);
        for run in cell.runs.iter().map(|i| &runs[*i]) {
            let (Some(seed), Some(score)) = (run.seed(), score(run)) else {
                missing += 1;
                continue;
            };
            match scores.entry(seed) {
                btree_map::Entry::Vacant(free) => _ = free.insert(score),
                btree_map::Entry::Occupied(_) => {
                    notes.push(format!("{} is left out: seed {seed} of {} is there already", run.name, cell.name));
                }
            }
        }
        entries.push(Entry { place, cell, scores, missing });
    }
    entries.sort_by(Entry::order);
    let named = baseline.map(|name| find(name, runs, cells)).transpose()?;
    let sgd = || entries.iter().find(|e| runs[e.cell.runs[0]].is_plain_sgd()).map(|e| e.place);
    let base = named.or_else(sgd).unwrap_or(0);
    let of_base = entries.iter().find(|e| e.place == base).map(|e| e.scores.clone()).unwrap_or_default();
    let of_first = entries.first().map(|e| e.scores.clone()).unwrap_or_default();

    let keys = varied(&runs.iter().collect::<Vec<_>>());
    let row = |(i, entry): (usize, &Entry<'_>)| {
        let all: Vec<&Run> = entry.cell.runs.iter().map(|i| &runs[*i]).collect();
        let mean = |of: fn(&Summary) -> Option<f64>| {
            let known: Vec<f64> = all.iter().filter_map(|run| of(run.ended()?)).collect();
            Spread::of(&known).map(|spread| spread.mean)
        };
        let setting = |key: &&str| Some((key.to_string(), all.first()?.setting(key)?.to_string()));
        let mut row = Row {
            rank: i + 1,
            name: entry.cell.name.clone(),
            settings: keys.iter().filter_map(setting).collect(),
            runs: all.len(),
            seeds: entry.scores.keys().copied().collect(),
            in_progress: all.iter().filter(|run| run.summary.is_none()).count(),
            diverged: all.iter().filter(|run| run.summary.as_ref().is_some_and(Summary::diverged)).count(),
            score: entry.score(),
            above_baseline: Spread::paired(&entry.scores, &of_base).filter(|_| entry.place != base),
            above_first: Spread::paired(&entry.scores, &of_first).filter(|_| i > 0),
            evals: mean(|s| s.evals),
            wall_s: mean(|s| s.wall_s),
            trace: trace(&all),
            verdict: String::new(),
            cell: entry.place,
        };
        row.verdict = verdict::of_row(&row);
        row
    };
    let rows: Vec<Row> = entries.iter().enumerate().map(row).collect();
    let mut ranking = Ranking {
        metric: metric.map(|(name, ..)| *name),
        key: metric.map_or(METRICS[0].1, |(_, key, _)| key),
        baseline: cells.get(base).map(|cell| cell.name.clone()).unwrap_or_default(),
        varied: keys.iter().map(ToString::to_string).collect(),
        verdict: Vec::new(),
        rows,
        notes,
    };
    ranking.verdict = verdict::of(&ranking);
    ranking.notes.extend(verdict::notes(&ranking));
    Ok(ranking)
}

/// The cell of a name, or that of the run of a name.
fn find(name: &str, runs: &[Run], cells: &[Cell]) -> Result<usize> {
    let cell = |cell: &Cell| cell.name.eq_ignore_ascii_case(name);
    let with_run = |cell: &Cell| cell.runs.iter().any(|i| runs[*i].name == name);
    let found = cells.iter().position(cell).or_else(|| cells.iter().position(with_run));
    found.ok_or_else(|| {
        let names: Vec<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
        usage(format!("--baseline {name}: no setting of these runs; {}, or the name of a run", instead(name, &names)))
    })
}

/// The trace of the Hessian over runs that ended; of a single one with the interval of its probes.
fn trace(runs: &[&Run]) -> Option<Spread> {
    let points: Vec<_> = runs.iter().filter_map(|run| run.ended()?.trace.as_ref()).collect();
    let values: Vec<f64> = points.iter().filter_map(|point| point.value).collect();
    let own = |spread: Spread| match points[..] {
        [point] => Spread { ci95: point.interval, ..spread },
        _ => spread,
    };
    Spread::of(&values).map(own)
}
