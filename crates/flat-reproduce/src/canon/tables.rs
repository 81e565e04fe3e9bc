//! The tables of the page.

use super::claim::{Number, Says, Seen, Verdict};
use super::{Compared, Outcome};
use crate::interval::{Mean, short};
use crate::markdown::Table;
use crate::paired::Group;
use crate::training::Point;
use flat_run::value::percentage;

/// Of runs that diverged, or have no such number.
const NONE: &str = "none";

fn text(mean: Option<Mean>, number: impl Fn(f64) -> String) -> String {
    mean.map_or(NONE.into(), |m| m.text(number))
}

/// How the runs of a case end.
pub(super) fn ends(outcome: &Outcome<'_>) -> Table {
    let mut table = Table::new(
        format!("{}: the ends of the runs, means over the seeds.", outcome.case.key),
        &[
            "method",
            "lr",
            "evals",
            "steps",
            "train loss",
            "test acc., %",
            "trbar",
            "lambda_max",
            "trbar at unit margin",
            "seconds",
        ],
    );
    for Compared { method, group, .. } in &outcome.compared {
        let Some(group) = group else {
            table.row([method.name.clone(), "every setting diverged".into()]);
            continue;
        };
        let log = |of: &dyn Fn(&Point) -> Option<f64>| group.mean(&|p| Some(of(p)?.ln())).map(|m| m.map(f64::exp));
        let value =
            |of: &dyn Fn(&Point) -> Option<f64>| group.mean(of).map_or(NONE.into(), |m| format!("{:.0}", m.value));
        table.row([
            group.name.clone(),
            group.lr.to_string(),
            value(&|p| Some(p.evals)),
            value(&|p| Some(p.step as f64)),
            text(group.mean(&|p| Some(p.train_loss)), short),
            text(group.mean(&|p| Some(p.held_out_accuracy)), percentage),
            text(log(&|p| p.trbar), short),
            text(log(&|p| p.lambda_max), short),
            text(group.fits_mean(&|fit| Some(fit.unit_margin?.trbar.ln())).map(|m| m.map(f64::exp)), short),
            text(log(&|p| p.wall_s), short),
        ]);
    }
    table
}

/// Every method beside the first one, seed by seed.
pub(super) fn differences(outcome: &Outcome<'_>) -> Table {
    let reference = outcome.compared.first();
    let name = reference.map_or("", |c| c.method.name.as_str());
    let numbers = Number::ALL.map(Number::name);
    let columns = [&["method"][..], &numbers, &["flatter", "more accurate"]].concat();
    let mut table = Table::new(format!("{}: beside {name}, seed by seed.", outcome.case.key), &columns);
    let Some(reference) = reference.and_then(|c| c.group.as_ref()) else { return table };
    for group in outcome.compared.iter().skip(1).filter_map(|c| c.group.as_ref()) {
        let shown = |number: Number| {
            number.difference(group, reference).map_or(NONE.to_string(), |difference| number.text(difference))
        };
        let row = [
            vec![group.name.clone()],
            Number::ALL.map(shown).to_vec(),
            vec![flatter(group, reference), accurate(group, reference).to_string()],
        ];
        table.row(row.concat());
    }
    table
}

/// By which numbers of flatness the group is shown to be lower, and by which to be higher.
fn flatter(group: &Group, reference: &Group) -> String {
    let numbers = Number::ALL.into_iter().filter(|number| *number != Number::Accuracy);
    let mut lower = Vec::new();
    let mut higher = Vec::new();
    let mut missing = false;
    for number in numbers {
        match number.difference(group, reference).and_then(|m| m.ci95) {
            None => missing = true,
            Some(ends) => match Seen::of(Says::Open, ends.map(f64::ln), 0.0) {
                Seen::Lower => lower.push(number.short_name()),
                Seen::Higher => higher.push(number.short_name()),
                _ => {}
            },
        }
    }
    match (lower.len(), higher.len()) {
        (0, 0) if missing => String::new(),
        (0, 0) => "cannot be told apart".into(),
        (3, _) => "flatter".into(),
        (_, 3) => "sharper".into(),
        (_, 0) => format!("flatter by {}", lower.join(", ")),
        (0, _) => format!("sharper by {}", higher.join(", ")),
        _ => format!("flatter by {}, sharper by {}", lower.join(", "), higher.join(", ")),
    }
}

fn accurate(group: &Group, reference: &Group) -> &'static str {
    let ends = Number::Accuracy.difference(group, reference).and_then(|m| m.ci95);
    match ends.map(|ends| Seen::of(Says::Open, ends, 0.0)) {
        Some(Seen::Higher) => "more",
        Some(Seen::Lower) => "less",
        Some(_) => "cannot be told apart",
        None => "",
    }
}

/// The claims and what became of them.
pub(super) fn claims(verdicts: &[Verdict]) -> Table {
    let mut table = Table::new(
        "What the literature says, and what is seen here.",
        &["claim", "source", "case", "by", "first beside second", "seen"],
    );
    for verdict in verdicts {
        table.row([
            verdict.claim.clone(),
            verdict.source.clone(),
            verdict.case.clone(),
            verdict.number.name().to_string(),
            verdict.difference.map_or(NONE.into(), |difference| verdict.number.text(difference)),
            verdict.seen.words().to_string(),
        ]);
    }
    table
}

/// The settings that were tried.
pub(super) fn trials(outcomes: &[Outcome<'_>]) -> Table {
    let mut table = Table::new(
        "The settings tried, the best first: accuracies in percent on seeds that are not among those compared.",
        &["case", "method", "setting", "evals", "train acc.", "validation acc.", "chosen"],
    );
    for Outcome { case, compared } in outcomes {
        for Compared { method, trials, group } in compared {
            for (i, trial) in trials.iter().enumerate() {
                let chosen = if i == 0 && group.is_some() { "chosen" } else { "" };
                table.row([
                    case.key.clone(),
                    method.name.clone(),
                    trial.setting.words(),
                    trial.evals.map(|n| format!("{n:.0}")).unwrap_or_default(),
                    text(trial.train_accuracy, percentage),
                    text(trial.val_accuracy, percentage),
                    chosen.to_string(),
                ]);
            }
        }
    }
    table
}
