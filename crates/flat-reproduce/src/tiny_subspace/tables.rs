//! Tables and plot of the page.

use super::{Branch, Group, Plan, Start};
use crate::interval::{Mean, short};
use crate::markdown::{Block, Table};
use crate::paired::{DIVERGED, text};
use anyhow::Result;
use flat_plot::{Axis, Chart, Point, Series, curves};
use flat_run::store::write_whole;
use flat_run::value::percentage;
use std::path::Path;

/// A ratio near 1.
fn factor(x: f64) -> String {
    format!("{x:.4}")
}

/// The mean over the branches that all arrived.
fn over(branches: &[Branch], of: impl Fn(&Branch) -> f64) -> Option<Mean> {
    Mean::of(&branches.iter().map(|b| b.diverged.is_none().then(|| of(b))).collect::<Option<Vec<_>>>()?)
}

/// The geometric mean of one positive number a seed.
fn ratio(logs: Option<Vec<f64>>) -> Option<Mean> {
    Some(Mean::of(&logs?)?.map(f64::exp))
}

/// What an interval of a ratio says.
fn verdict(ratio: Option<Mean>, below: &str, above: &str) -> String {
    match ratio.and_then(|r| r.ci95) {
        Some([_, hi]) if hi < 1.0 => below.into(),
        Some([lo, _]) if lo > 1.0 => above.into(),
        Some(_) => "not shown to differ from 1".into(),
        None => String::new(),
    }
}

/// Where the methods begin and end.
pub(super) fn ends(starts: &[Start], groups: &[Group]) -> Table {
    let columns = [
        "method",
        "steps",
        "evals",
        "Hessian products",
        "train loss",
        "over that at the start",
        "the loss",
        "train acc., %",
        "test acc., %",
        "share of the gradient",
        "gap",
    ];
    let mut table = Table::new("The start and the ends of the runs, means over the seeds.", &columns);
    let of = |f: fn(&Start) -> f64| Mean::of(&starts.iter().map(f).collect::<Vec<_>>());
    table.row([
        "start".to_string(),
        starts.first().map_or(String::new(), |s| s.steps.to_string()),
        starts.first().map_or(String::new(), |s| format!("{:.0}", s.evals)),
        String::new(),
        text(of(|s| s.train_loss), short),
        String::new(),
        String::new(),
        text(of(|s| s.train_accuracy), percentage),
        text(of(|s| s.test_accuracy), percentage),
        text(of(|s| s.aligned.share), short),
        text(of(|s| s.aligned.gap), short),
    ]);
    for group in groups {
        let fallen = ratio(logs(&group.branches, starts));
        table.row([
            group.name.clone(),
            group.branches.first().map_or(String::new(), |b| b.steps.to_string()),
            over(&group.branches, |b| b.evals).map_or(DIVERGED.into(), |m| format!("{:.0}", m.value)),
            over(&group.branches, |b| b.products as f64).map_or(DIVERGED.into(), |m| format!("{:.0}", m.value)),
            text(over(&group.branches, |b| b.train_loss), short),
            text(fallen, factor),
            verdict(fallen, "falls", "rises"),
            text(over(&group.branches, |b| b.train_accuracy), percentage),
            text(over(&group.branches, |b| b.test_accuracy), percentage),
            text(over(&group.branches, |b| b.aligned.map_or(f64::NAN, |a| a.share)), short),
            text(over(&group.branches, |b| b.aligned.map_or(f64::NAN, |a| a.gap)), short),
        ]);
    }
    table
}

/// Logarithms of final losses over those at the start, seed by seed.
fn logs(branches: &[Branch], starts: &[Start]) -> Option<Vec<f64>> {
    let of = |(b, s): (&Branch, &Start)| b.diverged.is_none().then(|| (b.train_loss / s.train_loss).ln());
    branches.iter().zip(starts).map(of).collect()
}

/// Final losses over those of the reference, seed by seed.
pub(super) fn differences(groups: &[Group]) -> Table {
    let mut table =
        Table::new("The training loss at the end over that of SGD, seed by seed.", &["method", "ratio", "against SGD"]);
    let Some((reference, others)) = groups.split_first() else { return table };
    for group in others {
        let of = |(b, r): (&Branch, &Branch)| {
            (b.diverged.is_none() && r.diverged.is_none()).then(|| (b.train_loss / r.train_loss).ln())
        };
        let ratio = ratio(group.branches.iter().zip(&reference.branches).map(of).collect());
        table.row([group.name.clone(), text(ratio, factor), verdict(ratio, "lower", "higher")]);
    }
    table
}

/// Products to find the subspace from nothing and from the one before.
pub(super) fn cost(plan: &Plan, starts: &[Start], groups: &[Group]) -> Table {
    let columns = ["subspace", "Hessian products each time"];
    let mut table = Table::new("Hessian products over the training set to find the subspace once.", &columns);
    let cold = Mean::of(&starts.iter().map(|s| s.aligned.products as f64).collect::<Vec<_>>());
    table.row(["from nothing, at the start".to_string(), text(cold, short)]);
    let refreshes = plan.steps.div_ceil(plan.every) as f64;
    for group in groups.iter().filter(|g| g.branches.iter().any(|b| b.products > 0)) {
        // the first of a run is from nothing too
        let warm = |(b, s): (&Branch, &Start)| {
            b.diverged.is_none().then(|| (b.products as f64 - s.aligned.products as f64) / (refreshes - 1.0).max(1.0))
        };
        let warm: Option<Vec<f64>> = group.branches.iter().zip(starts).map(warm).collect();
        let name = format!("{}, from the one {} steps before", group.name, plan.every);
        table.row([name, text(warm.and_then(|w| Mean::of(&w)), short)]);
    }
    table
}

/// What the age of the subspace changes, on one seed.
pub(super) fn fresh(plan: &Plan, start: &Start, tried: &[(String, u64, Branch)]) -> Table {
    let caption = format!(
        "{} steps of the first seed with subspaces of different age; the training loss at the start is {}.",
        plan.fresh_steps,
        short(start.train_loss)
    );
    let mut table = Table::new(caption, &["method", "found anew every", "Hessian products", "train loss"]);
    for (name, every, branch) in tried {
        let loss = if branch.diverged.is_some() { DIVERGED.into() } else { format!("{:.6}", branch.train_loss) };
        table.row([name.clone(), format!("{every} steps"), branch.products.to_string(), loss]);
    }
    table
}

/// Draws the training loss along the runs into the folder.
pub(super) fn curve(folder: &Path, starts: &[Start], groups: &[Group]) -> Result<Vec<Block>> {
    let marks = |branches: &[Branch]| -> Vec<Point> {
        let length = branches.iter().map(|b| b.curve.len()).min().unwrap_or_default();
        let along = (0..length).filter_map(|i| {
            let losses: Vec<f64> = branches.iter().map(|b| b.curve[i].1).collect();
            let mean = Mean::of(&losses)?;
            Some(Point { x: branches[0].curve[i].0 as f64, y: mean.value, band: mean.ci95 })
        });
        let at_start = Mean::of(&starts.iter().map(|s| s.train_loss).collect::<Vec<_>>());
        at_start.map(|m| Point { x: 0.0, y: m.value, band: m.ci95 }).into_iter().chain(along).collect()
    };
    let caption =
        format!("means over {} seeds with Student's intervals; a point is the mean over an epoch", starts.len());
    let chart = Chart {
        title: "Training loss after the start",
        caption: &caption,
        x: Axis { label: "steps after the start", logarithmic: false },
        y: Axis { label: "training loss", logarithmic: true },
        series: groups
            .iter()
            .map(|g| Series { name: &g.name, points: marks(&g.branches), dashed: false })
            .filter(|s| !s.points.is_empty())
            .collect(),
    };
    write_whole(&folder.join("train-loss.svg"), curves(&chart)?.as_bytes())?;
    Ok(vec![Block::figure("train-loss.svg", format!("Training loss after the start; {caption}."))])
}
