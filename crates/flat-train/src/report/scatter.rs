//! Accuracy against the trace of the Hessian: one point a cell, with both intervals.

use super::ranking::{Ranking, Row};
use flat_plot::{Ranged, Spot, scatter};
use flat_run::value::short;
use flat_sweep::Spread;
use maud::Markup;

/// The chart; `None` where fewer than two cells have a trace and an accuracy.
pub(super) fn svg(ranking: &Ranking) -> Option<Markup> {
    let spots: Vec<Spot<'_>> = ranking.rows.iter().filter_map(spot).collect();
    let title = format!("{}, percent, against the trace of the Hessian", ranking.metric?);
    (spots.len() > 1).then(|| scatter("r", &title, "trace of the Hessian", &spots))
}

/// A cell with its accuracy in percent.
fn spot(row: &Row) -> Option<Spot<'_>> {
    let ranged = |spread: Spread, times: f64| (times * spread.mean, spread.ci95.map(|ends| ends.map(|x| times * x)));
    let (x, y) = (ranged(row.trace?, 1.0), ranged(row.score?, 100.0));
    let number = |(mean, ends): Ranged| {
        let ends = ends.map(|[low, high]| format!(" ({} to {})", short(low), short(high)));
        format!("{}{}", short(mean), ends.unwrap_or_default())
    };
    let words = format!("{}: {} percent at trace {}", row.name, number(y), number(x));
    Some(Spot { class: row.cell, name: &row.name, x, y, words })
}
