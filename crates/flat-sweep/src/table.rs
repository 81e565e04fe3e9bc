//! The leaderboard as text for a person and as CSV.

use crate::board::{Board, Row};
use crate::select::Select;
use crate::spread::Spread;
use flat_run::value::table::{Table, item};
use flat_run::value::{csv, percentage, short};

/// A column: its head with the unit, and a cell's text.
type Column = (&'static str, fn(&Board, &Row) -> Option<String>);

fn spread(spread: Option<Spread>, number: fn(f64) -> String) -> Option<String> {
    spread.map(|s| s.text(number))
}

fn difference(board: &Board) -> fn(f64) -> String {
    if board.select.is_fraction() { percentage } else { short }
}

const COLUMNS: [Column; 14] = [
    ("cell", |_, row| Some(row.cell.clone())),
    ("val. acc., %", |_, row| spread(row.val_accuracy, percentage)),
    ("val. loss", |_, row| spread(row.val_loss, short)),
    ("worst group, %", |_, row| spread(row.val_worst_group, percentage)),
    ("minus best", |board, row| spread(row.difference, difference(board))),
    ("shown", |_, row| Some(row.verdict.clone())),
    ("test acc., %", |_, row| spread(row.test_accuracy, percentage)),
    ("test loss", |_, row| spread(row.test_loss, short)),
    ("train acc., %", |_, row| spread(row.train_accuracy, percentage)),
    ("trace", |_, row| spread(row.trace, short)),
    ("lambda_max", |_, row| spread(row.lambda_max, short)),
    ("evals", |_, row| row.evals.map(short)),
    ("steps", |_, row| row.steps.map(short)),
    ("seconds", |_, row| row.wall_s.map(short)),
];

impl Board {
    /// Heads and rows of the table for a person, without the columns that nothing is in. Means over the seeds ± standard
    /// deviation [95 % interval].
    pub fn columns(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let used: Vec<&Column> =
            COLUMNS.iter().filter(|(_, of)| self.rows.iter().any(|row| of(self, row).is_some())).collect();
        let head = |name: &str| match name {
            "minus best" => match self.select {
                Select::Loss => "loss minus best",
                Select::Accuracy => "acc. minus best, points",
                Select::WorstGroup => "worst group minus best, points",
            }
            .to_string(),
            name => name.to_string(),
        };
        let counts = |row: &Row| {
            let more = [(row.diverged, "diverged"), (row.failed, "failed")];
            let more = more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect::<String>();
            let dropped = row.dropped_after.map(|steps| format!(", dropped after {steps} steps")).unwrap_or_default();
            format!("{} of {}{more}{dropped}", row.finished, self.seeds.len())
        };
        let heads =
            ["".to_string()].into_iter().chain(used.iter().map(|(name, _)| head(name))).chain(["finished".into()]);
        let row = |row: &Row| {
            let cells = used.iter().map(|(_, of)| of(self, row).unwrap_or_else(|| "–".into()));
            [row.rank.to_string()].into_iter().chain(cells).chain([counts(row)]).collect()
        };
        (heads.collect(), self.rows.iter().map(row).collect())
    }

    /// The table, what failed and what to know, for a person.
    pub fn text(&self) -> String {
        let (heads, rows) = self.columns();
        let mut table = Table::new(heads.len(), heads);
        rows.into_iter().for_each(|row| table.row(row));
        let mut lines = vec![table.text()];
        lines.push(String::new());
        lines.extend(self.failures.iter().map(|f| item(&format!("failed: {} seed {}: {}", f.cell, f.seed, f.why))));
        lines.extend(self.notes.iter().map(|note| item(&format!("note: {note}"))));
        lines.push(item(&self.describe()));
        lines.join("\n")
    }

    /// The settings of the sweep in one line.
    pub fn describe(&self) -> String {
        let halving = self.halving.as_ref().map(|h| format!(", halving {h}")).unwrap_or_default();
        let state = if self.complete { "" } else { ", not complete" };
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        format!(
            "{}{state}: {} varied, seeds {}, budget {}{halving}, by {} on {} validation images; {} at a time on {} each ({}); schema {}",
            self.out,
            self.varied.join(", "),
            seeds.join(","),
            self.budget,
            self.select,
            self.validation,
            of(self.jobs, "run"),
            of(self.threads, "thread"),
            self.jobs_why,
            self.schema
        )
    }

    /// A line a cell with numbers as they are, in CSV (RFC 4180); empty where there is none.
    pub fn csv(&self) -> String {
        let numbers = |name: &str| ["mean", "std", "low", "high"].map(|end| format!("{name}_{end}"));
        let mut head: Vec<String> = ["rank", "cell"].map(String::from).into();
        head.extend(self.varied.clone());
        for name in SPREADS {
            head.extend(numbers(name));
        }
        head.extend(LAST.map(String::from));
        let text = |x: Option<f64>| x.map(|x| x.to_string()).unwrap_or_default();
        let mut lines = vec![head];
        for row in &self.rows {
            let mut line = vec![row.rank.to_string(), row.cell.clone()];
            line.extend(self.varied.iter().map(|name| row.settings.get(name).cloned().unwrap_or_default()));
            let spreads = [
                row.val_accuracy,
                row.val_loss,
                row.difference,
                row.test_accuracy,
                row.test_loss,
                row.train_accuracy,
                row.trace,
                row.val_worst_group,
                row.lambda_max,
            ];
            for spread in spreads {
                let ends = spread.and_then(|s| s.ci95);
                line.extend([
                    text(spread.map(|s| s.mean)),
                    text(spread.and_then(|s| s.std)),
                    text(ends.map(|e| e[0])),
                    text(ends.map(|e| e[1])),
                ]);
            }
            line.push(row.verdict.clone());
            line.extend([row.evals, row.steps, row.wall_s].map(text));
            line.extend([row.finished, row.diverged, row.failed].map(|n| n.to_string()));
            line.push(row.dropped_after.map(|n| n.to_string()).unwrap_or_default());
            lines.push(line);
        }
        csv(&lines)
    }
}

const SPREADS: [&str; 9] = [
    "val_accuracy",
    "val_loss",
    "difference",
    "test_accuracy",
    "test_loss",
    "train_accuracy",
    "trace",
    "val_worst_group",
    "lambda_max",
];
const LAST: [&str; 8] = ["verdict", "evals", "steps", "wall_s", "finished", "diverged", "failed", "dropped_after"];

fn of(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
