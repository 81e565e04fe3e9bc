//! The tables of the page.

use super::claim::{Number, Says, Seen, Verdict};
use super::{Compared, Outcome};
use crate::interval::{Mean, percent, short};
use crate::markdown::Table;
use crate::paired::Group;
use crate::training::Point;

const DIVERGED: &str = "diverged";

fn text(mean: Option<Mean>, number: impl Fn(f64) -> String) -> String {
    mean.map_or(DIVERGED.into(), |m| m.text(number))
}

/// How the runs of a case end.
pub(super) fn ends(outcome: &Outcome<'_>) -> Table {
    let mut table = Table::new(
        format!("{}: the ends of the runs, means over the seeds.", outcome.case.key),
        &["method", "lr", "evals", "steps", "train loss", "test acc., %", "trbar", "lambda_max", "seconds"],
    );
    for Compared { method, group, .. } in &outcome.compared {
        let Some(group) = group else {
            table.row([method.name.clone(), "every setting diverged".into()]);
            continue;
        };
        let log = |of: &dyn Fn(&Point) -> Option<f64>| group.mean(&|p| Some(of(p)?.ln())).map(|m| m.map(f64::exp));
        let value =
            |of: &dyn Fn(&Point) -> Option<f64>| group.mean(of).map_or(DIVERGED.into(), |m| format!("{:.0}", m.value));
        table.row([
            group.name.clone(),
            group.lr.to_string(),
            value(&|p| Some(p.evals)),
            value(&|p| Some(p.step as f64)),
            text(group.mean(&|p| Some(p.train_loss)), short),
            text(group.mean(&|p| Some(p.held_out_accuracy)), percent),
            text(log(&|p| p.trbar), short),
            text(log(&|p| p.lambda_max), short),
            text(group.mean(&|p| p.wall_s), short),
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
            number.difference(group, reference).map_or(DIVERGED.to_string(), |difference| number.text(difference))
        };
        let row = [
            vec![group.name.clone()],
            Number::ALL.map(shown).to_vec(),
            vec![flatter(group, reference).to_string(), accurate(group, reference).to_string()],
        ];
        table.row(row.concat());
    }
    table
}

/// Whether the trace and the largest eigenvalue are both shown to be lower, or both to be higher.
fn flatter(group: &Group, reference: &Group) -> &'static str {
    let of = |number: Number| {
        let ends = number.difference(group, reference).and_then(|m| m.ci95)?;
        Some(Seen::of(Says::Open, ends.map(f64::ln), 0.0))
    };
    match (of(Number::Trace), of(Number::LambdaMax)) {
        (Some(Seen::Lower), Some(Seen::Lower)) => "flatter",
        (Some(Seen::Higher), Some(Seen::Higher)) => "sharper",
        (Some(Seen::Lower), Some(_)) => "by the trace alone",
        (Some(_), Some(Seen::Lower)) => "by lambda_max alone",
        (None, _) | (_, None) => "",
        _ => "cannot be told apart",
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
            verdict.difference.map_or(DIVERGED.into(), |difference| verdict.number.text(difference)),
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
                    text(trial.train_accuracy, percent),
                    text(trial.val_accuracy, percent),
                    chosen.to_string(),
                ]);
            }
        }
    }
    table
}
