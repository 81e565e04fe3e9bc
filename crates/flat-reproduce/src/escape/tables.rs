//! The tables of the page.

use super::compare::Row;
use super::part::Part;
use super::{Outcome, Trial};
use crate::interval::{Mean, short};
use crate::markdown::Table;
use crate::training::Point;
use flat_run::value::percentage;

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
                outcome.part.clone(),
                seed.to_string(),
                percentage(m.random.train_accuracy),
                percentage(m.bad.train_accuracy),
                percentage(m.bad.held_out_accuracy),
                short(m.bad.train_loss),
                trace(&m.bad),
                percentage(m.good.held_out_accuracy),
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
            "{}: the ends of the runs, means over the seeds with 95 % intervals. The last two columns are trbar(SGD) / \
             trbar(method), first at equal training loss (log-log interpolation along the run that went lower), then at \
             equal gradient evaluations.",
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
            "SGD / method, equal loss",
            "SGD / method, equal evals",
        ],
    );
    for (i, row) in rows.iter().enumerate() {
        let [rho, lr, gate] = row.setting.numbers();
        let ratio = |mean: &Option<Mean>| match i {
            0 => "1".into(),
            _ => mean.map_or("no common loss".into(), |m| m.text(short)),
        };
        table.row([
            row.name.clone(),
            rho,
            lr,
            gate,
            text(&row.evals, |x| format!("{x:.0}")).split(' ').next().unwrap_or_default().to_string(),
            text(&row.train_loss, short),
            row.train_accuracy.map_or("diverged".into(), percentage),
            text(&row.test_accuracy, percentage),
            text(&row.gain, percentage),
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
        &["method", "mean margin", "SGD / method, trbar at unit margin"],
    );
    for (i, row) in rows.iter().enumerate() {
        if let (Some(margin), Some(ratio)) = (row.margin, row.at_unit_margin) {
            let ratio = if i == 0 { "1".into() } else { ratio.text(short) };
            table.row([row.name.clone(), margin.text(short), ratio]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
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
            table.row([variant.method.clone(), variant.name.clone(), String::new(), "diverged".into()]);
            continue;
        };
        let mean = |f: &dyn Fn(&Point) -> f64| Mean::of(&ends.iter().map(|p| f(p)).collect::<Vec<_>>());
        let lowest = ends.iter().fold(1.0, |low: f64, p| low.min(p.train_accuracy));
        table.row([
            variant.method.clone(),
            variant.name.clone(),
            mean(&|p| p.evals).map_or(String::new(), |m| format!("{:.0}", m.value)),
            text(&mean(&|p| p.train_loss.ln()).map(|m| m.map(f64::exp)), short),
            percentage(lowest),
            text(&mean(&|p| p.held_out_accuracy), percentage),
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
        let contender = outcome.contenders.iter().find(|c| c.setting.method == setting.method);
        let method = contender.map_or(&setting.method, |c| &c.name).clone();
        let chosen = contender.is_some_and(|c| c.setting == *setting);
        let chosen = if chosen { "chosen" } else { "" }.to_string();
        let numbers = match fit.end() {
            Some(end) => [
                format!("{:.0}", end.evals),
                short(end.train_loss),
                percentage(end.train_accuracy),
                percentage(end.held_out_accuracy),
            ],
            None => ["", "diverged", "", ""].map(String::from),
        };
        table.row([method, rho, lr, gate].into_iter().chain(numbers).chain([chosen]));
    }
    table
}
