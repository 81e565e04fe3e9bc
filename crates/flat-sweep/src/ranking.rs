//! Cells from the best to the worst, and what their differences show.

use crate::board::Row;
use crate::cell::Cell;
use crate::record::{Record, State};
use crate::select::Select;
use crate::spread::Spread;
use std::cmp::Ordering;
use std::collections::BTreeMap;

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

    /// Runs that diverged or failed.
    pub fn lost(&self) -> usize {
        self.count(State::Diverged) + self.count(State::Failed)
    }

    pub fn spread(&self, of: impl Fn(&Record) -> Option<f64>) -> Option<Spread> {
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
        let difference = if comparable { Spread::paired(&own, &of_best) } else { None };
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
            val_worst_group: t.spread(|run| run.val_worst_group),
            verdict: verdict(i, t, seeds, difference.as_ref(), select),
            difference,
            test_accuracy: t.spread(|run| run.test_accuracy),
            test_loss: t.spread(|run| run.test_loss),
            train_accuracy: t.spread(|run| run.train_accuracy),
            trace: t.spread(|run| run.trace),
            lambda_max: t.spread(|run| run.lambda_max),
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
    let worse = if select.sign() > 0.0 { Ordering::Less } else { Ordering::Greater };
    match difference.and_then(Spread::sign) {
        Some(shown) if shown == worse => "worse".into(),
        Some(_) => "not distinguishable".into(),
        None => "one seed: no interval".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_run::RunConfig;

    fn cell(name: &str) -> Cell {
        Cell { name: name.into(), settings: Vec::new(), config: RunConfig::default(), steps: 1 }
    }

    fn run(accuracy: Option<f64>) -> Record {
        let state = if accuracy.is_some() { State::Finished } else { State::Diverged };
        Record { val_accuracy: accuracy, val_loss: accuracy.map(|a| 1.0 - a), ..Record::bare(state, None) }
    }

    fn tried<'a>(cell: &'a Cell, accuracies: &[Option<f64>]) -> Tried<'a> {
        let runs = accuracies.iter().enumerate().map(|(seed, a)| (seed as u64, run(*a))).collect();
        Tried { cell, runs, dropped_after: None }
    }

    fn ranked(mut all: Vec<Tried<'_>>, select: Select, seeds: usize) -> Vec<Row> {
        rank(&mut all, select, seeds);
        rows(&all, select, seeds)
    }

    #[test]
    fn differences_are_seed_by_seed_and_decide_what_is_shown() {
        let [a, b, c] = ["a", "b", "c"].map(cell);
        // the cells overlap, but b is a point below a on every seed, and c above and below
        for select in [Select::Accuracy, Select::Loss] {
            let rows = ranked(
                vec![
                    tried(&c, &[Some(0.60), Some(0.50), Some(0.67)]),
                    tried(&b, &[Some(0.49), Some(0.59), Some(0.695)]),
                    tried(&a, &[Some(0.50), Some(0.60), Some(0.70)]),
                ],
                select,
                3,
            );
            let shown: Vec<(&str, &str)> = rows.iter().map(|r| (r.cell.as_str(), r.verdict.as_str())).collect();
            assert_eq!(shown, [("a", "best"), ("b", "worse"), ("c", "not distinguishable")], "{select}");
            // -0.01, -0.01, -0.005: mean -1 / 120, standard deviation 1 / 346.41, t(2) = 4.302653
            let [low, high] = rows[1].difference.and_then(|d| d.ci95).expect("an interval");
            let sign = select.sign();
            let (mean, half) = (-1.0 / 120.0, 4.302_653 / 346.410_16 / 3f64.sqrt());
            let [first, last] = if sign > 0.0 { [mean - half, mean + half] } else { [-mean - half, -mean + half] };
            assert!((low - first).abs() < 1e-7 && (high - last).abs() < 1e-7, "{select}: {low} {high}");
        }
    }

    #[test]
    fn a_cell_with_a_lost_run_is_below_all_that_have_none() {
        let [a, b, c] = ["a", "b", "c"].map(cell);
        let all = vec![tried(&a, &[None, None]), tried(&b, &[Some(0.9), None]), tried(&c, &[Some(0.1), Some(0.2)])];
        let rows = ranked(all, Select::Accuracy, 2);
        let shown: Vec<(&str, &str)> = rows.iter().map(|r| (r.cell.as_str(), r.verdict.as_str())).collect();
        assert_eq!(shown, [("c", "best"), ("b", "diverged in 1 of 2"), ("a", "diverged in 2 of 2")]);
        assert!(rows[2].val_accuracy.is_none() && rows[2].difference.is_none());
    }

    #[test]
    fn one_seed_shows_no_difference() {
        let [a, b] = ["a", "b"].map(cell);
        let rows = ranked(vec![tried(&a, &[Some(0.5)]), tried(&b, &[Some(0.4)])], Select::Accuracy, 1);
        assert_eq!(
            (rows[1].verdict.as_str(), rows[1].difference.map(|d| d.ci95)),
            ("one seed: no interval", Some(None))
        );
    }

    #[test]
    fn cells_that_halving_dropped_come_after_those_that_it_kept_longer() {
        let [a, b, c] = ["a", "b", "c"].map(cell);
        let dropped = |t, steps| Tried { dropped_after: Some(steps), ..t };
        let all =
            vec![dropped(tried(&a, &[Some(0.9)]), 10), dropped(tried(&b, &[Some(0.2)]), 30), tried(&c, &[Some(0.1)])];
        let order: Vec<String> = ranked(all, Select::Accuracy, 1).into_iter().map(|r| r.cell).collect();
        assert_eq!(order, ["c", "b", "a"]);
    }
}
