//! GERNE beside plain and balanced sampling on coloured MNIST.
//!
//! I. Asaad, M. Shadaydeh, J. Denzler, "Gradient Extrapolation for Debiased Representation Learning", ICCV 2025, arXiv 2503.13236.

use crate::args::ReproduceArgs;
use crate::flags::Flags;
use crate::images::{HeldOut, Images};
use crate::interval::{Mean, percent};
use crate::markdown::{Page, Table};
use crate::network::network;
use crate::paired::{Group, best, trial};
use crate::prose::{Holes, Prose};
use crate::recipe::{Scales, Sizes};
use crate::study::Study;
use crate::training::{Point, cell, of_seed};
use anyhow::{Context, Result};
use flat_data::{Coloring, Dataset, DatasetKind};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Its sizes, grids, seeds and recipes.
pub(crate) const FILE: &str = include_str!("../studies/groups.toml");

/// The study's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    flags: Flags,
    methods: [Method; 3],
    scales: Scales<Plan>,
}

/// A method of the comparison: plain sampling, balanced sampling, GERNE.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Method {
    key: String,
    name: String,
    /// Factor on the epochs.
    epochs: u64,
    flags: Flags,
}

/// What the comparison does at a scale.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    seeds: u64,
    epochs: u64,
    images: Sizes,
    /// Shares of the training images in the colour of their class.
    correlations: Vec<f64>,
    flags: Flags,
    /// What the search tries, by the methods' keys.
    grid: BTreeMap<String, Flags>,
}

impl Method {
    /// What is tried of it.
    fn settings(&self, plan: &Plan) -> Result<Vec<Flags>> {
        let grid = plan.grid.get(&self.key).with_context(|| format!("the study's grid has no {}", self.key))?;
        Ok(grid.combinations())
    }

    fn key(&self, setting: &Flags) -> Result<String> {
        let beta = setting.number("gerne-beta").map(|beta| format!("-beta{beta}")).unwrap_or_default();
        Ok(format!("{}-lr{}{beta}", self.key, setting.needed("lr")?))
    }

    fn name(&self, setting: &Flags) -> String {
        let beta = setting.number("gerne-beta").map(|beta| format!(", beta {beta}")).unwrap_or_default();
        format!("{}{beta}", self.name)
    }
}

/// The first images of MNIST in the colours of a seed: training images biased, validation and test images balanced.
fn colored(mnist: &Dataset, correlation: f64, seed: u64, [train, validation, test]: Sizes) -> Result<Images> {
    let held_out: Vec<usize> = (train..train + validation).collect();
    let color = |test| {
        let part = Dataset { kind: DatasetKind::Mnist, train: mnist.train.take(train)?, test };
        Coloring { correlation, seed }.apply(&part)
    };
    let (validated, tested) = (color(mnist.train.select(&held_out)?)?, color(mnist.test.take(test)?)?);
    Ok(Images {
        dir: ".".into(),
        train: validated.train.into(),
        validation: validated.test.into(),
        test: tested.test.into(),
        curvature: train,
    })
}

fn average(point: &Point) -> Option<f64> {
    Some(point.groups?.average_group.accuracy)
}

fn worst(point: &Point) -> Option<f64> {
    Some(point.groups?.worst_group.accuracy)
}

fn text(mean: Option<Mean>) -> String {
    mean.map_or("diverged".into(), |mean| mean.text(percent))
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let File { flags, methods, mut scales } = study.settings()?;
    let plan = scales.at(args.scale)?;
    let flags = flags.under(&plan.flags);
    let mnist = Dataset::load(DatasetKind::Mnist, args.data_dir.as_deref())?;
    let grids = methods.iter().map(|method| method.settings(&plan)).collect::<Result<Vec<_>>>()?;
    let runs = grids.iter().map(Vec::len).sum::<usize>() + methods.len() * plan.seeds as usize;
    study.plan(plan.correlations.len() * runs);
    let mut trials = Table::new(
        "The settings tried: accuracies in percent, one seed that is not among those compared.",
        &["correlation", "method", "lr", "train loss", "train acc.", "validation acc.", "chosen"],
    );
    let mut ends = Table::new(
        "The ends of the runs on the test images, means over the seeds, in percent.",
        &["correlation", "method", "lr", "evals", "train acc.", "average group", "worst group"],
    );
    let mut differences = Table::new(
        "Differences seed by seed, in points.",
        &["correlation", "difference", "average group", "worst group"],
    );
    let mut kept = Vec::new();
    for &correlation in &plan.correlations {
        let images = |seed| colored(&mnist, correlation, seed, plan.images);
        let mut groups = Vec::new();
        for (method, grid) in methods.iter().zip(&grids) {
            let run = |setting: &Flags, seed| {
                let flags = flags.under(&method.flags).under(setting).count("epochs", method.epochs * plan.epochs);
                of_seed(&flags, seed, args)
            };
            let (mut tried, seed) = (Vec::new(), args.seed + plan.seeds);
            let searched = images(seed)?;
            for setting in grid {
                let key = format!("c{correlation}-search-{}", method.key(setting)?);
                let fit = cell(study, &key, &run(setting, seed), &searched, HeldOut::Validation)?;
                let Some(fit) = fit else { return Ok(None) };
                tried.push((setting.clone(), fit));
            }
            let setting = best(&tried)?;
            for (of, fit) in &tried {
                let first = [correlation.to_string(), method.name(of), of.needed("lr")?.to_string()];
                trials.row(first.into_iter().chain(trial(fit, *of == setting)));
            }
            let mut fits = Vec::new();
            for seed in args.seed..args.seed + plan.seeds {
                let key = format!("c{correlation}-run-{}-s{seed}", method.key(&setting)?);
                let fit = cell(study, &key, &run(&setting, seed), &images(seed)?, HeldOut::Test)?;
                let Some(fit) = fit else { return Ok(None) };
                fits.push(fit);
            }
            let of = json!({ "correlation": correlation, "method": method.key, "flags": setting });
            kept.push(json!({ "setting": of, "fits": fits }));
            let group = Group { name: method.name(&setting), lr: setting.needed("lr")?, fits };
            ends.row([
                correlation.to_string(),
                group.name.clone(),
                group.lr.to_string(),
                group.mean(&|p| Some(p.evals)).map_or("diverged".into(), |m| format!("{:.0}", m.value)),
                text(group.mean(&|p| Some(p.train_accuracy))),
                text(group.mean(&average)),
                text(group.mean(&worst)),
            ]);
            groups.push(group);
        }
        let [plain, balanced, gerne] = &groups[..] else { anyhow::bail!("the comparison is of three methods") };
        for (words, a, b) in [
            ("GERNE - plain", gerne, plain),
            ("GERNE - balanced", gerne, balanced),
            ("balanced - plain", balanced, plain),
        ] {
            let cells =
                [correlation.to_string(), words.to_string(), text(a.above(b, &average)), text(a.above(b, &worst))];
            differences.row(cells);
        }
    }
    let config = flags.config()?.with_effect()?;
    let gerne = &methods[2].flags;
    let count = (flat_data::COLORS.len()) * DatasetKind::ColoredMnist.classes;
    let holes = Holes::default()
        .flags(&config, &["momentum", "batch-size", "weight-decay", "schedule"])
        .images(plan.images)
        .text("c", gerne.needed("gerne-c")?)
        .text("network", network(&flags))
        .text("seeds", plan.seeds)
        .text("groups", count)
        .text("of-group", plan.images[2] / count)
        .table("ends", ends)
        .table("differences", differences)
        .table("trials", trials);
    let page = Prose::new(include_str!("../studies/groups.md"), args.scale).page(holes)?;
    Ok(Some((page, json!(kept))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::parse;
    use crate::scale::Scale;

    #[test]
    fn every_setting_of_every_scale_makes_a_run() -> Result<()> {
        for scale in Scale::COMMON {
            let File { flags, methods, mut scales } = parse(None, FILE)?;
            let plan = scales.at(scale)?;
            for method in &methods {
                for setting in method.settings(&plan)? {
                    flags.under(&plan.flags).under(&method.flags).under(&setting).config()?;
                }
            }
        }
        Ok(())
    }
}
