//! The folder of a sweep, read back: its leaderboard, and the metric against each setting that varies.

use super::plot::{Plot, svg_address};
use anyhow::Result;
use flat_plot::{Axis, Chart, Point, Series, curves};
use flat_sweep::{Board, Row};
use std::collections::BTreeSet;
use std::path::Path;

/// Curves of a plot at most: as many as it has colours.
const MOST: usize = 8;

/// A sweep on the page.
#[derive(Debug)]
pub(super) struct SweepPage {
    /// The folder's name, longer where another folder has the same.
    pub name: String,
    /// The folder as it was named.
    pub path: String,
    /// Its leaderboard.
    pub board: Board,
    /// A plot a setting that is a number and varies.
    pub figures: Vec<Plot>,
}

impl SweepPage {
    /// Reads `sweep.json`.
    ///
    /// # Errors
    /// A missing or damaged file, which is named.
    pub fn read(folder: &Path, name: String) -> Result<Self> {
        let board = Board::read(folder)?;
        let figures = board.varied.iter().filter_map(|setting| plot(&board, setting).transpose());
        let figures = figures.collect::<Result<_>>()?;
        Ok(Self { name, path: folder.display().to_string(), board, figures })
    }
}

/// The metric against a setting; `None` where fewer than two numbers were tried.
fn plot(board: &Board, setting: &str) -> Result<Option<Plot>> {
    let value = |row: &Row| row.settings.get(setting)?.parse::<f64>().ok().filter(|x| x.is_finite());
    let metric = |row: &Row| {
        let (spread, scale) = (row.by(board.select)?, if board.select.is_fraction() { 100.0 } else { 1.0 });
        Some((scale * spread.mean, spread.ci95.map(|ends| ends.map(|x| scale * x))))
    };
    let rows: Vec<(f64, &Row)> =
        board.rows.iter().filter_map(|row| Some((value(row)?, metric(row).map(|_| row)?))).collect();
    let mut values: Vec<f64> = rows.iter().map(|(x, _)| *x).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    if values.len() < 2 {
        return Ok(None);
    }
    let Grouped { groups, rest } = group(board, setting, &rows);
    // draws lie anywhere: a line between them would say nothing
    let drawn =
        values.len() == rows.len() && board.varied.len() > 1 && groups.len() < rows.len() && values.len() > MOST;
    let series = groups.iter().take(MOST).map(|(name, rows)| {
        // of several rows at one value the best, which comes first
        let mut best: Vec<(f64, &Row)> = Vec::new();
        for (x, row) in rows {
            if best.iter().all(|(y, _)| y != x) {
                best.push((*x, row));
            }
        }
        best.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut points = Vec::new();
        for (x, (y, band)) in best.iter().filter_map(|(x, row)| Some((*x, metric(row)?))) {
            points.push(Point { x, y, band });
            if drawn {
                points.push(Point { x, y: f64::NAN, band: None });
            }
        }
        Series { name, points, dashed: false }
    });
    let label = board.select.label();
    let logarithmic = geometric(&values);
    let more = groups.len().saturating_sub(MOST);
    let mut caption = format!("{label} against {setting}{}", if logarithmic { ", logarithmic" } else { "" });
    caption.push_str(", means over the seeds with 95 % intervals");
    if rest {
        caption.push_str("; of several cells at one value the best");
    }
    if more > 0 {
        caption.push_str(&format!("; the {MOST} curves with the best cells, {more} more are in the table"));
    }
    let chart = Chart {
        title: &format!("{label} against {setting}"),
        caption: &caption,
        x: Axis { label: setting, logarithmic },
        y: Axis { label, logarithmic: false },
        series: series.collect(),
    };
    Ok(Some(Plot { file: String::new(), address: svg_address(&curves(&chart)?), caption }))
}

/// Rows by what else varies, those of the best first.
struct Grouped<'a> {
    groups: Vec<(String, Vec<(f64, &'a Row)>)>,
    /// Whether settings are left that vary within a group.
    rest: bool,
}

/// One group a combination of the other settings, or of those among them that are no numbers where the former are too many.
fn group<'a>(board: &Board, setting: &str, rows: &[(f64, &'a Row)]) -> Grouped<'a> {
    let others: Vec<&String> = board.varied.iter().filter(|name| *name != setting).collect();
    let of = |names: &[&String]| {
        let mut groups: Vec<(String, Vec<(f64, &'a Row)>)> = Vec::new();
        for (x, row) in rows {
            let key: Vec<String> =
                names.iter().filter_map(|n| Some(format!("{n}={}", row.settings.get(*n)?))).collect();
            let key = if key.is_empty() { "all cells".to_string() } else { key.join(", ") };
            match groups.iter_mut().find(|(name, _)| *name == key) {
                Some((_, rows)) => rows.push((*x, row)),
                None => groups.push((key, vec![(*x, row)])),
            }
        }
        groups
    };
    let whole = of(&others);
    if whole.len() <= MOST {
        return Grouped { groups: whole, rest: false };
    }
    let is_number =
        |name: &str| rows.iter().all(|(_, row)| row.settings.get(name).is_none_or(|v| v.parse::<f64>().is_ok()));
    let words: Vec<&String> = others.into_iter().filter(|name| !is_number(name)).collect();
    Grouped { groups: of(&words), rest: true }
}

/// Whether values ask for a logarithmic axis: positive, and with equal ratios or over a factor of ten.
fn geometric(values: &[f64]) -> bool {
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return false };
    let ratios: BTreeSet<i64> = values.windows(2).map(|w| (50.0 * (w[1] / w[0]).ln()).round() as i64).collect();
    *first > 0.0 && (last / first >= 10.0 || values.len() > 2 && ratios.len() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_logarithmic_where_the_grid_is_geometric() {
        for (values, expected) in [
            (vec![0.01, 0.02, 0.04], true),
            (vec![0.1, 0.2, 0.3], false),
            (vec![0.1, 0.2], false),
            (vec![0.01, 0.5, 1.0], true),
            (vec![0.0, 1.0, 10.0], false),
        ] {
            assert_eq!(geometric(&values), expected, "{values:?}");
        }
    }
}
