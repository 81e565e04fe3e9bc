//! Accuracy against the trace of the Hessian: one point a cell, with both intervals.

use super::chart::shape;
use super::html::escape;
use super::paper::{HEIGHT, Paper, WIDTH};
use super::ranking::{Ranking, Row};
use super::scale::Scale;
use flat_run::value::short;
use flat_sweep::Spread;
use std::fmt::Write;

/// Cells up to which each point has its name beside it.
const NAMED: usize = 12;
/// Height of a line of text.
const LINE: f64 = 13.0;
/// Mean width of a letter.
const LETTER: f64 = 6.2;

/// A point with its intervals, accuracies in percent.
struct At<'a> {
    row: &'a Row,
    x: Spread,
    y: Spread,
}

/// The SVG element; `None` where fewer than two cells have a trace and an accuracy.
pub(super) fn svg(ranking: &Ranking) -> Option<String> {
    let hundred = |y: Spread| Spread { mean: 100.0 * y.mean, ci95: y.ci95.map(|e| e.map(|x| 100.0 * x)), ..y };
    let at = |row| {
        let row: &Row = row;
        Some(At { row, x: row.trace?, y: hundred(row.score?) })
    };
    let points: Vec<At<'_>> = ranking.rows.iter().filter_map(at).collect();
    if points.len() < 2 {
        return None;
    }
    let axis = |of: fn(&At<'_>) -> Spread| {
        let means = || points.iter().map(|p| of(p).mean);
        Scale::roomy(means(), means().chain(points.iter().filter_map(|p| of(p).ci95).flatten()))
    };
    let paper = Paper::new(axis(|p| p.x), axis(|p| p.y));
    let metric = ranking.metric?;
    let below = format!("trace of the Hessian{}", if paper.x.logarithmic { " (log scale)" } else { "" });
    let words: Vec<String> = points.iter().map(words).collect();
    let mut out = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"tr dr\">\n\
         <title id=\"tr\">{metric}, percent, against the trace of the Hessian</title>\n<desc id=\"dr\">{}.</desc>\n",
        escape(&words.join("; "))
    );
    paper.axes(&below, &mut out);
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    for (point, words) in points.iter().zip(&words) {
        let (x, y) = paper.at(point.x.mean, point.y.mean);
        let cell = point.row.cell;
        let _ = writeln!(out, "<g class=\"s{cell}\">");
        if let Some([low, high]) = point.x.ci95 {
            let ((left, _), (right, _)) = (paper.at(low, point.y.mean), paper.at(high, point.y.mean));
            let _ = writeln!(out, "<path class=\"whisker\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>");
        }
        if let Some([low, high]) = point.y.ci95 {
            let ((_, bottom), (_, top)) = (paper.at(point.x.mean, low), paper.at(point.x.mean, high));
            let _ = writeln!(out, "<path class=\"whisker\" d=\"M{x:.1} {bottom:.1}V{top:.1}\"/>");
        }
        let _ = writeln!(
            out,
            "<path class=\"mark\" d=\"M{x:.1} {y:.1}{}\"><title>{}</title></path>",
            shape(cell),
            escape(words)
        );
        out.push_str("</g>\n");
        if points.len() <= NAMED {
            name(&point.row.name, x, y, &mut taken, &mut out);
        }
    }
    out.push_str("</svg>\n");
    Some(out)
}

/// A name beside its point: above or below, right or left, where no other name is.
fn name(name: &str, x: f64, y: f64, taken: &mut Vec<(f64, f64, f64)>, out: &mut String) {
    let width = LETTER * name.chars().count() as f64;
    let mut places = [-6.0, LINE + 1.0, -6.0 - LINE, 2.0 * LINE + 1.0]
        .into_iter()
        .flat_map(|line| [x + 7.0, x - 7.0 - width].into_iter().map(move |left| (left, y + line)));
    let within = |left: f64| left >= 0.0 && left + width <= WIDTH;
    let free = |left: f64, line: f64| {
        taken.iter().all(|(from, to, at)| left > *to || left + width < *from || (line - at).abs() >= LINE)
    };
    let found = places.find(|(left, line)| within(*left) && free(*left, *line));
    let (left, line) = found.unwrap_or(((x + 7.0).min(WIDTH - width).max(0.0), y - 6.0));
    taken.push((left, left + width, line));
    let _ = writeln!(out, "<text x=\"{left:.1}\" y=\"{line:.1}\">{}</text>", escape(name));
}

fn words(point: &At<'_>) -> String {
    let number = |s: Spread| {
        let ends = s.ci95.map(|[low, high]| format!(" ({} to {})", short(low), short(high)));
        format!("{}{}", short(s.mean), ends.unwrap_or_default())
    };
    format!("{}: {} percent at trace {}", point.row.name, number(point.y), number(point.x))
}
