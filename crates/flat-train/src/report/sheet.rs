//! A table of runs: one row each, one column a quantity. What is the same in all of them is said in a sentence instead.

use super::run::Run;
use super::table::{NONE, table};
use flat_plot::swatch;
use maud::{Markup, Render, html};

/// Columns over runs.
pub(super) struct Sheet<'a> {
    runs: &'a [Run],
    /// The cell of each run, whose mark stands beside the run's name.
    cells: &'a [usize],
    columns: Vec<(String, Vec<Option<Markup>>)>,
}

impl<'a> Sheet<'a> {
    /// A sheet without columns.
    pub fn new(runs: &'a [Run], cells: &'a [usize]) -> Self {
        Self { runs, cells, columns: Vec::new() }
    }

    /// Adds a column of text or of markup. One that no run has a cell in is left out.
    pub fn column<R: Render>(&mut self, head: &str, cell: impl Fn(&'a Run) -> Option<R>) {
        let cells: Vec<Option<Markup>> = self.runs.iter().map(|run| Some(cell(run)?.render())).collect();
        if cells.iter().any(Option::is_some) {
            self.columns.push((head.to_string(), cells));
        }
    }

    /// The table, without the runs that it knows nothing of; of a single run one row a quantity.
    pub fn html(self) -> Markup {
        if let [run] = self.runs {
            let heads = [String::new(), run.name.clone()];
            let row = |(head, cells): &(String, Vec<Option<Markup>>)| Some(vec![head.render(), cells[0].clone()?]);
            return table("The run.", &heads, &self.columns.iter().filter_map(row).collect::<Vec<_>>());
        }
        let text = |cell: &Option<Markup>| cell.as_ref().map(|markup| markup.0.clone());
        let (same, differ): (Vec<_>, Vec<_>) =
            self.columns.iter().partition(|(_, cells)| cells.iter().all(|cell| text(cell) == text(&cells[0])));
        let heads: Vec<String> = ["run".to_string()].into_iter().chain(differ.iter().map(|c| c.0.clone())).collect();
        let row = |i: usize| {
            let name = html! { (swatch(self.cells[i])) (self.runs[i].name) };
            let cells = differ.iter().map(|(_, cells)| cells[i].clone().unwrap_or_else(|| NONE.render()));
            [name].into_iter().chain(cells).collect::<Vec<Markup>>()
        };
        let known = |i: &usize| differ.iter().any(|(_, cells)| cells[*i].is_some());
        let rows: Vec<Vec<Markup>> = (0..self.runs.len()).filter(known).map(row).collect();
        html! {
            @if !same.is_empty() {
                p class="same" {
                    "The same in all runs: "
                    @for (i, (head, cells)) in same.iter().enumerate() {
                        @if i > 0 { "; " }
                        (head) " " @if let Some(cell) = &cells[0] { (cell) }
                    }
                    "."
                }
            }
            @if !differ.is_empty() { (table("One row a run.", &heads, &rows)) }
        }
    }
}
