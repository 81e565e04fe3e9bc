//! The values of the holes in the prose: rules at their defaults beside SGD, and the candidates tried.

use super::{Case, File, Found, Plan, Rule};
use crate::interval::{Mean, short};
use crate::markdown::{Page, Table};
use crate::network::network;
use crate::paired::{Group, differences, ends};
use crate::prose::{Holes, Prose};
use crate::scale::Scale;
use anyhow::{Context, Result};
use flat_run::value::percentage;

pub(super) fn page(scale: Scale, file: &File, plan: &Plan, found: &Found) -> Result<Page> {
    let prose = Prose::new(include_str!("../../studies/defaults.md"), scale);
    let case = plan.cases.first().context("the study has no case")?;
    let run = file.flags.under(&case.flags).config()?.with_effect()?;
    let mut tables = Vec::new();
    for (case, groups) in plan.cases.iter().zip(&found.groups) {
        let (sgd, rest) = groups.split_first().context("the study has no rules")?;
        let pairs: Vec<(&str, &Group, &Group)> = rest.iter().map(|g| (g.name.as_str(), g, sgd)).collect();
        let holes = Holes::default()
            .table("ends", ends(&format!("{}: the ends of the runs, means over the seeds.", case.key), groups))
            .table("differences", differences(&format!("{}: beside SGD, seed by seed.", case.key), &pairs));
        tables.extend(prose.fragment("case", holes)?);
    }
    let holes = Holes::default()
        .flags(&run, &["momentum", "lr", "schedule", "batch-size", "weight-decay"])
        .text("cases", plan.cases.iter().map(describe).collect::<Vec<_>>().join("\n"))
        .text("seeds", plan.seeds)
        .text("probes", run["flatness-probes"].to_string())
        .text("examples", run["flatness-examples"].to_string())
        .text("goal", file.goal)
        .blocks("tables", tables)
        .table("verdicts", verdicts(file.goal, &plan.cases, &found.groups))
        .text("in-short", in_short(file, plan, &found.groups))
        .table("candidates", candidates(&file.rules, plan, found)?);
    prose.page(holes)
}

fn describe(case: &Case) -> String {
    let [train, validation, test] = case.images;
    format!(
        "- {}: {} on {}, {} epochs; {train} training, {validation} validation and {test} test images.",
        case.key,
        network(&case.flags),
        case.flags.text("dataset").unwrap_or_default(),
        case.flags.number("epochs").unwrap_or_default()
    )
}

fn verdicts(goal: f64, cases: &[Case], groups: &[Vec<Group>]) -> Table {
    let mut table = Table::new(
        format!("Goal: the ratio's whole interval at most {goal}, the accuracy's interval not wholly below 0."),
        &["case", "rule", "trbar over SGD's", "test acc. - SGD's, points", "goal"],
    );
    for (case, groups) in cases.iter().zip(groups) {
        for group in &groups[1..] {
            let (ratio, accuracy) = (group.log_ratio(&groups[0]), group.accuracy_above(&groups[0]));
            let met = match (ratio.and_then(|m| m.ci95), accuracy.and_then(|m| m.ci95)) {
                (Some([_, high]), Some([_, best])) if high.exp() <= goal && best >= 0.0 => "met",
                (Some(_), Some(_)) => "missed",
                _ => "missed: a run diverged",
            };
            table.row([
                case.key.clone(),
                group.name.clone(),
                ratio.map_or("diverged".into(), |m| m.map(f64::exp).text(short)),
                accuracy.map_or("diverged".into(), |m| m.text(percentage)),
                met.to_string(),
            ]);
        }
    }
    table
}

fn candidates(rules: &[Rule], plan: &Plan, found: &Found) -> Result<Table> {
    let mut columns = vec!["candidate".to_string()];
    for case in &plan.cases {
        columns.extend(["train loss", "trbar ratio", "validation acc., points"].map(|c| format!("{}: {c}", case.key)));
    }
    columns.extend(["no worse", "chosen", "default"].map(String::from));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let seeds = if plan.search_seeds == 1 { "one seed".into() } else { format!("{} seeds", plan.search_seeds) };
    let mut table = Table::new(format!("Candidates beside SGD of the same seed, {seeds}."), &columns);
    let word = |yes: bool, word: &str| if yes { word.to_string() } else { String::new() };
    for rule in rules {
        let of_rule: Vec<_> = found.tried.iter().filter(|t| t.candidate.rule() == rule.key()).collect();
        let scores = of_rule.iter().enumerate().filter_map(|(i, t)| Some((i, t.score()?)));
        let best = scores.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i);
        for (i, tried) in of_rule.into_iter().enumerate() {
            let mut row = vec![tried.candidate.name()];
            for beside in &tried.beside {
                row.extend([short(beside.train_loss), short(beside.log_ratio.exp()), percentage(beside.accuracy)]);
            }
            row.push(word(tried.score().is_some(), "yes"));
            row.push(word(best == Some(i), "chosen"));
            row.push(word(tried.candidate.is_default()?, "default"));
            table.row(row);
        }
    }
    Ok(table)
}

/// Which rules reach the goal in every case: with their whole intervals, and in the mean.
fn in_short(file: &File, plan: &Plan, groups: &[Vec<Group>]) -> String {
    let reach = |end: &dyn Fn(&Mean) -> Option<f64>| {
        let reached = |i: usize| {
            let below = |m: Mean| end(&m).is_some_and(|x| x.exp() <= file.goal);
            groups.iter().all(|groups| groups[i].log_ratio(&groups[0]).is_some_and(below))
        };
        let names = file.rules.iter().enumerate().skip(1).filter(|(i, _)| reached(*i)).map(|(_, r)| r.name.as_str());
        let names: Vec<&str> = names.collect();
        if names.is_empty() { "no rule".to_string() } else { names.join(", ") }
    };
    let cases: Vec<&str> = plan.cases.iter().map(|c| c.key.as_str()).collect();
    format!(
        "In short, a trace of at most {} of SGD's in every case ({}): with the whole interval {}; in the mean {}.",
        file.goal,
        cases.join(", "),
        reach(&|m| m.ci95.map(|[_, high]| high)),
        reach(&|m| Some(m.value))
    )
}
