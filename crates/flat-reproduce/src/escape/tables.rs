//! The tables of the page.

use super::compare::Row;
use super::method::Method;
use super::part::Part;
use super::{FITTED, Outcome, Trial};
use crate::Table;
use crate::interval::{Mean, percent, short};
use crate::training::Point;

pub(super) fn minima(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new(
        "The minima that the runs start at, and good ones of the same network from random weights by the same plain SGD. \
         Accuracies in percent; the random labels are fitted on all copies.",
        &[
            "part",
            "seed",
            "random labels fitted",
            "bad: train",
            "bad: test",
            "bad: loss",
            "bad: trbar",
            "good: test",
            "good: loss",
            "good: trbar",
            "a bad minimum",
        ],
    );
    let trace = |p: &Point| p.trbar.map_or(String::new(), short);
    for outcome in outcomes {
        for (seed, m) in outcome.minima.iter().enumerate() {
            table.row([
                outcome.part.to_string(),
                seed.to_string(),
                percent(m.random.train_accuracy),
                percent(m.bad.train_accuracy),
                percent(m.bad.held_out_accuracy),
                short(m.bad.train_loss),
                trace(&m.bad),
                percent(m.good.held_out_accuracy),
                short(m.good.train_loss),
                trace(&m.good),
                if m.is_bad() { "yes" } else { "no" }.to_string(),
            ]);
        }
    }
    table
}

fn text(mean: &Option<Mean>, number: impl Fn(f64) -> String) -> String {
    mean.map_or("diverged".into(), |m| m.text(number))
}

pub(super) fn headline(outcome: &Outcome, rows: &[Row]) -> Table {
    let mut table = Table::new(
        format!(
            "{}: the ends of the runs, means over the seeds with 95 % intervals. SGD / it says how many times larger SGD's \
             trbar is: at the larger of the two final training losses, which the other run has passed (interpolated on its \
             way, in logarithms), and after the same number of evaluations.",
            outcome.title
        ),
        &[
            "method",
            "rho",
            "lr",
            "gate",
            "evals",
            "train loss",
            "train acc., lowest, %",
            "test acc., %",
            "gain, points",
            "trbar",
            "lambda_max",
            "SGD / it, equal loss",
            "SGD / it, equal evals",
        ],
    );
    for row in rows {
        let [rho, lr, gate] = row.setting.numbers();
        let ratio = |mean: &Option<Mean>| match row.setting.method {
            Method::Sgd => "1".into(),
            _ => mean.map_or("no common loss".into(), |m| m.text(short)),
        };
        table.row([
            row.setting.method.name(),
            rho,
            lr,
            gate,
            text(&row.evals, |x| format!("{x:.0}")).split(' ').next().unwrap_or_default().to_string(),
            text(&row.train_loss, short),
            row.train_accuracy.map_or("diverged".into(), percent),
            text(&row.test_accuracy, percent),
            text(&row.gain, percent),
            text(&row.trbar, short),
            text(&row.lambda_max, short),
            ratio(&row.at_equal_loss),
            ratio(&row.at_equal_evals),
        ]);
    }
    table
}

/// The traces where margins do not count; `None` where they were not measured.
pub(super) fn margins(rows: &[Row]) -> Option<Table> {
    let mut table = Table::new(
        "Where margins do not count: with the last layer's weights and biases divided by the mean margin, the label's logit \
         less the largest other one over the images that the Hessian is of, the network answers as before, its mean margin is \
         1, and the size of the logits has no part in the trace.",
        &["method", "mean margin", "SGD / it, trbar at unit margin"],
    );
    for row in rows {
        if let (Some(margin), Some(ratio)) = (row.margin, row.at_unit_margin) {
            let ratio = if row.setting.method == Method::Sgd { "1".into() } else { ratio.text(short) };
            table.row([row.setting.method.name(), margin.text(short), ratio]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

/// What was asked of the comparison, and what came out.
pub(super) fn measures(rows: &[Row]) -> Table {
    let mut table =
        Table::new("What was asked for, at equal training loss, and what was found.", &["asked", "found", "met"]);
    let of = |method: Method| rows.iter().find(|r| r.setting.method == method);
    let times = |row: &Row| match (row.at_equal_loss, row.at_equal_evals) {
        (Some(m), _) => format!("{} times", m.text(short)),
        (None, Some(m)) => format!("no common loss; {} times after equal evaluations", m.text(short)),
        (None, None) => "diverged".into(),
    };
    // whether a condition on ratios at equal loss holds; `None` where there are no such ratios
    let word = |met: Option<bool>| met.map_or("cannot be told", |met| if met { "yes" } else { "no" });
    for (method, factor) in [(Method::Rs, 2.0), (Method::Sa(128), 4.0)] {
        if let Some(row) = of(method) {
            let met = row.at_equal_loss.map(|m| m.value >= factor && m.ci95.is_some_and(|[lo, _]| lo > 1.0));
            let asked = format!("{} lowers trbar {factor} times against SGD, the interval apart from 1", method.name());
            table.row([asked, times(row), word(met).into()]);
        }
    }
    if let (Some(rs), Some(sa)) = (of(Method::Rs), of(Method::Sa(128))) {
        let (a, b) = (sa.setting.rho, rs.setting.rho);
        table.row(["SA has the smaller rho", &format!("{a} against {b}"), word(Some(a < b))]);
        let found = format!("SA: {}; RS: {}", times(sa), times(rs));
        table.row(["SA lowers trbar at least as much as RS", &found, more(sa, rs)]);
        for small in [Method::Sa(64), Method::Sa(8), Method::Sa(1)].into_iter().filter_map(of) {
            let asked = format!("{} lowers trbar at least as much as batch 128", small.setting.method.name());
            table.row([asked, times(small), more(small, sa).into()]);
        }
    }
    let low = |row: &Row| row.train_accuracy.unwrap_or_default();
    if let Some(worst) = rows.iter().min_by(|a, b| low(a).total_cmp(&low(b))) {
        let found = format!("lowest {} % ({})", percent(low(worst)), worst.setting.method.name());
        table.row(["training accuracy stays at 99.9 % or above", &found, word(Some(low(worst) >= FITTED))]);
    }
    table
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

pub(super) fn ablations(outcome: &Outcome, part: &Part) -> Table {
    let mut table = Table::new(
        format!(
            "Ablations: the chosen setting with one thing changed, {} evaluations, means over the seeds with 95 % intervals.",
            part.search_evals
        ),
        &["method", "change", "evals", "train loss", "train acc., lowest, %", "test acc., %", "trbar"],
    );
    for variant in &outcome.variants {
        let ends: Option<Vec<&Point>> = variant.fits.iter().map(|fit| fit.end()).collect();
        let Some(ends) = ends else {
            table.row([variant.method.name(), variant.name.clone(), String::new(), "diverged".into()]);
            continue;
        };
        let mean = |f: &dyn Fn(&Point) -> f64| Mean::of(&ends.iter().map(|p| f(p)).collect::<Vec<_>>());
        let lowest = ends.iter().fold(1.0, |low: f64, p| low.min(p.train_accuracy));
        table.row([
            variant.method.name(),
            variant.name.clone(),
            mean(&|p| p.evals).map_or(String::new(), |m| format!("{:.0}", m.value)),
            text(&mean(&|p| p.train_loss.ln()).map(|m| m.map(f64::exp)), short),
            percent(lowest),
            text(&mean(&|p| p.held_out_accuracy), percent),
            text(&mean(&|p| p.trbar.unwrap_or(f64::NAN).ln()).map(|m| m.map(f64::exp)), short),
        ]);
    }
    table
}

pub(super) fn search(outcome: &Outcome) -> Table {
    let mut table = Table::new(
        format!("{}: the settings tried, from the first seed's bad minimum.", outcome.title),
        &["method", "rho", "lr", "gate", "evals", "train loss", "train acc., %", "validation acc., %", "chosen"],
    );
    for Trial { setting, fit } in &outcome.trials {
        let [rho, lr, gate] = setting.numbers();
        let chosen = outcome.contenders.iter().any(|c| c.setting == *setting);
        let chosen = if chosen { "chosen" } else { "" }.to_string();
        let numbers = match fit.end() {
            Some(end) => [
                format!("{:.0}", end.evals),
                short(end.train_loss),
                percent(end.train_accuracy),
                percent(end.held_out_accuracy),
            ],
            None => ["", "diverged", "", ""].map(String::from),
        };
        table.row([setting.method.name(), rho, lr, gate].into_iter().chain(numbers).chain([chosen]));
    }
    table
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
