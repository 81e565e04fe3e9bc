//! How the cells of a sweep stand while it runs, as the screen shows them: by rank, with means, intervals and counts.

use crate::ranking::Tried;
use crate::results::Results;
use crate::select::Select;
use flat_run::value::{percentage, short};
use flat_run::{Shown, Standings, Ui};

/// The cells by rank, and how many runs of each are under way; shown whenever that changes.
pub(crate) struct Standing<'a> {
    ui: Ui<'a>,
    title: String,
    seeds: usize,
    cells: Vec<Stand>,
    /// The cell of each run under way.
    running: Vec<usize>,
}

/// A cell as far as it is.
#[derive(Debug, PartialEq)]
struct Stand {
    cell: usize,
    name: String,
    number: String,
    ended: usize,
    failed: usize,
    dropped: bool,
}

impl<'a> Standing<'a> {
    /// Shows how the cells stand now.
    pub fn new(results: &Results, ui: Ui<'a>) -> Self {
        let title = format!("best so far: {}", results.study.select.label());
        let new = Self { ui, title, seeds: results.study.seeds.len(), cells: stands(results), running: Vec::new() };
        new.show();
        new
    }

    /// Takes up that a run has ended.
    pub fn ended(&mut self, results: &Results) {
        self.cells = stands(results);
        self.show();
    }

    /// Takes up which cells have runs under way.
    pub fn running(&mut self, running: Vec<usize>) {
        if running != self.running {
            self.running = running;
            self.show();
        }
    }

    fn show(&self) {
        let rows = self.cells.iter().map(|stand| stand.row(self.seeds, &self.running)).collect();
        self.ui.show(Shown::Standings(&Standings { title: self.title.clone(), rows }));
    }
}

fn stands(results: &Results) -> Vec<Stand> {
    let stand = |tried: &Tried<'_>| Stand {
        cell: results.cells.iter().position(|cell| cell.name == tried.cell.name).unwrap_or_default(),
        name: tried.cell.name.clone(),
        number: number(tried, results.study.select),
        ended: tried.runs.len(),
        failed: tried.lost(),
        dropped: tried.dropped_after.is_some(),
    };
    results.ranked().iter().map(stand).collect()
}

/// The mean with half of its 95 % interval.
fn number(tried: &Tried<'_>, select: Select) -> String {
    let number = if select.is_fraction() { percentage } else { short };
    let Some(spread) = tried.spread(|run| select.of(run)) else { return String::new() };
    match spread.ci95 {
        Some([_, high]) => format!("{} ± {}", number(spread.mean), number(high - spread.mean)),
        None => number(spread.mean),
    }
}

impl Stand {
    fn row(&self, seeds: usize, running: &[usize]) -> [String; 3] {
        let running = running.iter().filter(|cell| **cell == self.cell).count();
        let counts = [(running, "running"), (self.failed, "failed")];
        let counts = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}"));
        let dropped = if self.dropped { ", dropped" } else { "" };
        let far = format!("{} of {seeds}{}{dropped}", self.ended, counts.collect::<String>());
        [self.name.clone(), self.number.clone(), far]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Cell;
    use crate::record::{Record, State};
    use flat_run::RunConfig;

    #[test]
    fn a_row_says_mean_interval_and_what_became_of_the_runs() {
        let cell = Cell { name: "lr 0.1".into(), settings: Vec::new(), config: RunConfig::default(), steps: 1 };
        let run = |accuracy| Record { val_accuracy: Some(accuracy), ..Record::bare(State::Finished, None) };
        let runs = [(0, run(0.5)), (1, run(0.6)), (2, Record::bare(State::Failed, None))].into();
        let tried = Tried { cell: &cell, runs, dropped_after: None };
        // t(1) = 12.7062 times the standard error 0.05
        assert_eq!(number(&tried, Select::Accuracy), "55.00 ± 63.53");
        let (ended, failed) = (tried.runs.len(), tried.lost());
        let stand = Stand { cell: 4, name: "lr 0.1".into(), number: String::new(), ended, failed, dropped: false };
        assert_eq!(stand.row(5, &[4, 1, 4])[2], "3 of 5, 2 running, 1 failed");
        assert_eq!(Stand { dropped: true, failed: 0, ..stand }.row(5, &[1])[2], "3 of 5, dropped");
    }
}
