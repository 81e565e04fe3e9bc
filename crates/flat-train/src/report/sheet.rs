//! A table of runs: one row each, one column a quantity. What is the same in all of them is said in a sentence instead.

use super::chart::swatch;
use super::html::{NONE, escape, table};
use super::run::Run;

/// Columns over runs.
pub(super) struct Sheet<'a> {
    runs: &'a [Run],
    /// The cell of each run, whose mark stands beside the run's name.
    cells: &'a [usize],
    columns: Vec<(String, Vec<Option<String>>)>,
}

impl<'a> Sheet<'a> {
    /// A sheet without columns.
    pub fn new(runs: &'a [Run], cells: &'a [usize]) -> Self {
        Self { runs, cells, columns: Vec::new() }
    }

    /// Adds a column: its head is text, its cells are HTML. One that no run has a cell in is left out.
    pub fn column(&mut self, head: &str, cell: impl Fn(&Run) -> Option<String>) {
        let cells: Vec<Option<String>> = self.runs.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            self.columns.push((head.to_string(), cells));
        }
    }

    /// The table, without the runs that it knows nothing of; of a single run one row a quantity.
    pub fn html(self) -> String {
        let name = |i: usize| format!("{}{}", swatch(self.cells[i]), escape(&self.runs[i].name));
        if let [run] = self.runs {
            let heads = [String::new(), run.name.clone()];
            let row = |(head, cells): &(String, Vec<Option<String>>)| Some(vec![escape(head), cells[0].clone()?]);
            return table("The run.", &heads, &self.columns.iter().filter_map(row).collect::<Vec<_>>());
        }
        let (same, differ): (Vec<_>, Vec<_>) =
            self.columns.iter().partition(|(_, cells)| cells.iter().all(|cell| *cell == cells[0]));
        let mut out = String::new();
        if !same.is_empty() {
            let said =
                same.iter().map(|(head, cells)| format!("{} {}", escape(head), cells[0].as_deref().unwrap_or(NONE)));
            out.push_str(&format!(
                "<p class=\"same\">The same in all runs: {}.</p>\n",
                said.collect::<Vec<_>>().join("; ")
            ));
        }
        if !differ.is_empty() {
            let heads: Vec<String> =
                ["run".to_string()].into_iter().chain(differ.iter().map(|c| c.0.clone())).collect();
            let row = |i: usize| {
                let cells = differ.iter().map(|(_, cells)| cells[i].clone().unwrap_or_else(|| NONE.into()));
                [name(i)].into_iter().chain(cells).collect::<Vec<String>>()
            };
            let known = |i: &usize| differ.iter().any(|(_, cells)| cells[*i].is_some());
            let rows: Vec<Vec<String>> = (0..self.runs.len()).filter(known).map(row).collect();
            out.push_str(&table("One row a run.", &heads, &rows));
        }
        out
    }
}
