//! The ratios that the study set out to show, beside those found.

use super::FITTED;
use super::compare::Row;
use super::part::File;
use crate::interval::short;
use crate::markdown::Table;
use anyhow::Result;
use flat_run::value::percentage;

/// The methods against what was asked of them, at equal training loss.
pub(super) fn asked(file: &File, rows: &[Row]) -> Result<Table> {
    let mut table =
        Table::new("What was asked for, at equal training loss, and what was found.", &["asked", "found", "met"]);
    let of = |method: &str| rows.iter().find(|r| r.setting.method == method);
    for asked in &file.asked {
        if let Some(row) = of(&asked.method) {
            let met = row.at_equal_loss.map(|m| m.value >= asked.factor && m.ci95.is_some_and(|[lo, _]| lo > 1.0));
            let asked =
                format!("{} lowers trbar {} times against SGD, the interval apart from 1", row.name, asked.factor);
            table.row([asked, times(row), word(met).into()]);
        }
    }
    let (mut rs, mut sa) = (Vec::new(), Vec::new());
    for row in rows {
        let method = file.method(&row.setting.method)?;
        if method.is_rs() {
            rs.push(row);
        } else if method.is_sa() {
            sa.push(row);
        }
    }
    if let (Some(rs), Some((first, smaller))) = (rs.first(), sa.split_first()) {
        let (a, b) = (first.setting.size(), rs.setting.size());
        table.row(["SA has the smaller rho", &format!("{a} against {b}"), word(Some(a < b))]);
        let found = format!("SA: {}; RS: {}", times(first), times(rs));
        table.row(["SA lowers trbar at least as much as RS", &found, more(first, rs)]);
        for row in smaller {
            let asked = format!("{} lowers trbar at least as much as {}", row.name, first.name);
            table.row([asked, times(row), more(row, first).into()]);
        }
    }
    let low = |row: &Row| row.train_accuracy.unwrap_or_default();
    if let Some(worst) = rows.iter().min_by(|a, b| low(a).total_cmp(&low(b))) {
        let asked = format!("training accuracy stays at {} % or above", 100.0 * FITTED);
        let found = format!("lowest {} % ({})", percentage(low(worst)), worst.name);
        table.row([asked, found, word(Some(low(worst) >= FITTED)).into()]);
    }
    Ok(table)
}

fn times(row: &Row) -> String {
    match (row.at_equal_loss, row.at_equal_evals) {
        (Some(m), _) => format!("{} times", m.text(short)),
        (None, Some(m)) => format!("no common loss; {} times after equal evaluations", m.text(short)),
        (None, None) => "diverged".into(),
    }
}

/// Whether a condition on ratios at equal loss holds; `None` where there are no such ratios.
fn word(met: Option<bool>) -> &'static str {
    met.map_or("cannot be told", |met| if met { "yes" } else { "no" })
}

/// Whether one method's ratio at equal loss is at least another's. Intervals that overlap show neither.
fn more(a: &Row, b: &Row) -> &'static str {
    at_least(a.at_equal_loss.and_then(|m| m.ci95), b.at_equal_loss.and_then(|m| m.ci95))
}

fn at_least(a: Option<[f64; 2]>, b: Option<[f64; 2]>) -> &'static str {
    match (a, b) {
        (Some([low, _]), Some([_, high])) if low >= high => "yes",
        (Some([_, high]), Some([low, _])) if high < low => "no",
        (Some(_), Some(_)) => "not shown: the intervals overlap",
        _ => "cannot be told",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_is_not_yes() {
        assert_eq!(at_least(Some([2.0, 3.0]), Some([1.0, 1.9])), "yes");
        assert_eq!(at_least(Some([1.0, 1.9]), Some([2.0, 3.0])), "no");
        assert_eq!(at_least(Some([5.7, 6.7]), Some([5.2, 5.8])), "not shown: the intervals overlap");
        assert_eq!(at_least(None, Some([5.2, 5.8])), "cannot be told");
    }
}
