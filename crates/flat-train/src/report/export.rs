//! The ranking as CSV, as Markdown and as text.

use super::ranking::{Ranking, Row};
use super::table::NONE;
use flat_reproduce::Table;
use flat_run::value::{csv, percentage, short};
use flat_sweep::Spread;

impl Ranking {
    /// A line a setting in CSV, in plain decimals; empty where there is no number. Accuracies are in percent,
    /// differences in points.
    pub(super) fn csv(&self) -> String {
        let ends = |name: &str| ["", "_low", "_high"].map(|end| format!("{name}{end}"));
        let mut head: Vec<String> = ["rank", "name"].map(String::from).into();
        head.extend(self.varied.iter().map(|name| format!("setting_{}", name.replace('-', "_"))));
        head.extend(["runs", "seeds", "in_progress", "diverged"].map(String::from));
        head.extend(ends(&format!("{}_percent", self.key)));
        head.extend(ends("above_baseline_points"));
        head.extend(ends("above_first_points"));
        head.extend(["gradient_evaluations", "wall_seconds"].map(String::from));
        head.extend(ends("trace"));
        head.push("verdict".into());
        let mut lines = vec![head];
        for row in &self.rows {
            let mut line = vec![row.rank.to_string(), row.name.clone()];
            line.extend(self.varied.iter().map(|name| row.settings.get(name).cloned().unwrap_or_default()));
            line.extend([row.runs, row.seeds.len(), row.in_progress, row.diverged].map(|n| n.to_string()));
            for spread in [row.score, row.above_baseline, row.above_first] {
                line.extend(decimals(spread, percent));
            }
            line.extend([row.evals, row.wall_s].map(decimal));
            line.extend(decimals(row.trace, |x| x));
            line.push(row.verdict.clone());
            lines.push(line);
        }
        csv(&lines)
    }

    /// Heads and rows of the table for a person, without the columns that nothing is in.
    pub(super) fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        type Column = (String, fn(&Ranking, &Row) -> Option<String>);
        let text = |name: &str| name.to_string();
        let columns: [Column; 9] = [
            (text("setting"), |_, row| Some(format!("{}. {}", row.rank, row.name))),
            (text("seeds"), |_, row| Some(row.seeds.len().to_string())),
            (format!("{}, %", self.metric.unwrap_or("accuracy")), |_, row| row.score.map(|s| interval(s, percentage))),
            (format!("minus {}, points", self.baseline), |ranking, row| match row.name == ranking.baseline {
                true => Some("baseline".into()),
                false => row.above_baseline.map(|s| interval(s, signed)),
            }),
            (text("minus the first, points"), |ranking, row| {
                // where the baseline is the first, the column before says it
                let other = ranking.rows.first().is_some_and(|first| first.name != ranking.baseline);
                row.above_first.filter(|_| other).map(|s| interval(s, signed))
            }),
            (text("shown"), |_, row| Some(row.verdict.clone())),
            (text("gradient evaluations"), |_, row| row.evals.map(|x| format!("{x:.0}"))),
            (text("seconds"), |_, row| row.wall_s.map(|x| format!("{x:.1}"))),
            (text("trace"), |_, row| row.trace.map(|s| interval(s, short))),
        ];
        let used = || columns.iter().filter(|(_, of)| self.rows.iter().any(|row| of(self, row).is_some()));
        let row = |row: &Row| used().map(|(_, of)| of(self, row).unwrap_or_else(|| NONE.into())).collect();
        (used().map(|(head, _)| head.clone()).collect(), self.rows.iter().map(row).collect())
    }

    /// The answer, the table and what to know, in Markdown.
    pub(super) fn markdown(&self, title: &str, note: Option<&str>) -> String {
        let (columns, rows) = self.table();
        let table = Table { caption: CAPTION.into(), columns, rows };
        let note = note.map(|note| format!("{note}\n\n")).unwrap_or_default();
        let known: String = self.notes.iter().map(|note| format!("- {note}\n")).collect();
        format!("# {title}\n\n{note}{}\n\n{}\n{known}", self.verdict.join(" "), table.markdown())
    }

    /// The answer in short lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let row = |row: &Row| {
            let score = row.score.map_or(NONE.into(), |s| format!("{} %", interval(s, percentage)));
            format!("  {}. {}: {score}, {}", row.rank, row.name, row.verdict)
        };
        self.verdict.iter().cloned().chain(self.rows.iter().map(row)).collect()
    }
}

/// What a table of the ranking shows.
pub(super) const CAPTION: &str = "Means over the seeds [95 % interval]; differences paired by seed.";

/// A mean with its interval.
pub(super) fn interval(spread: Spread, number: fn(f64) -> String) -> String {
    let ends = spread.ci95.map(|[low, high]| format!(" [{}, {}]", number(low), number(high)));
    format!("{}{}", number(spread.mean), ends.unwrap_or_default())
}

/// A difference in points with its sign.
fn signed(x: f64) -> String {
    format!("{:+.2}", 100.0 * x)
}

fn decimal(x: Option<f64>) -> String {
    x.map(|x| x.to_string()).unwrap_or_default()
}

fn decimals(spread: Option<Spread>, scale: fn(f64) -> f64) -> [String; 3] {
    let ends = spread.and_then(|s| s.ci95);
    [spread.map(|s| s.mean), ends.map(|e| e[0]), ends.map(|e| e[1])].map(|x| decimal(x.map(scale)))
}

/// A part of 1 in percent, without what the product adds by rounding.
fn percent(x: f64) -> f64 {
    (1e12 * x).round() / 1e10
}
