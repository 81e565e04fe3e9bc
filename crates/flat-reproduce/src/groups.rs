//! GERNE beside plain and balanced sampling on coloured MNIST.
//!
//! I. Asaad, M. Shadaydeh, J. Denzler, "Gradient Extrapolation for Debiased Representation Learning", ICCV 2025, arXiv 2503.13236.

use crate::args::ReproduceArgs;
use crate::comparison::{Compared, Comparison, Grid, Method, cells};
use crate::flags::Flags;
use crate::images::Images;
use crate::markdown::{Page, Table};
use crate::network::network;
use crate::paired::{DIVERGED, Group, text};
use crate::prose::{Holes, Prose};
use crate::recipe::{Scales, Sizes};
use crate::study::Study;
use crate::training::Point;
use anyhow::Result;
use flat_data::{Coloring, Dataset, DatasetKind};
use flat_run::store::sums;
use flat_run::value::percentage;
use serde::Deserialize;
use serde_json::{Value, json};

/// Its sizes, grids, seeds and recipes.
pub(crate) const FILE: &str = include_str!("../studies/groups.toml");

/// The study's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    flags: Flags,
    /// Plain sampling, balanced sampling, GERNE.
    methods: [Method; 3],
    scales: Scales<Plan>,
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
    grid: Grid,
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

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let File { flags, methods, mut scales } = study.settings()?;
    let plan = scales.at(args.scale)?;
    let flags = flags.under(&plan.flags);
    let mnist = Dataset::load(DatasetKind::Mnist, args.data_dir.as_deref())?;
    study.is_of(&sums(DatasetKind::Mnist, &[("training", &mnist.train), ("test", &mnist.test)]))?;
    study.plan(plan.correlations.len() * cells(&methods, &plan.grid, plan.seeds)?);
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
    let compared = study.all(&plan.correlations, |study, &correlation| {
        let comparison = Comparison {
            args,
            flags: &flags,
            grid: &plan.grid,
            seeds: plan.seeds,
            epochs: plan.epochs,
            prefix: format!("c{correlation}-"),
            images: &|seed| colored(&mnist, correlation, seed, plan.images),
            compared: &|flags, _| flags.clone(),
        };
        study.all(&methods, |study, method| comparison.of(method, study))
    })?;
    let Some(compared) = compared else { return Ok(None) };
    for (correlation, found) in plan.correlations.iter().zip(compared) {
        let mut groups = Vec::new();
        for (method, found) in methods.iter().zip(found) {
            let rows = found.trials(|setting| vec![correlation.to_string(), method.name(setting)])?;
            rows.into_iter().for_each(|row| trials.row(row));
            let Compared { setting, lr, fits, .. } = found;
            let of = json!({ "correlation": correlation, "method": method.key, "flags": setting });
            kept.push(json!({ "setting": of, "fits": fits }));
            let group = Group { name: method.name(&setting), lr, fits };
            ends.row([
                correlation.to_string(),
                group.name.clone(),
                group.lr.to_string(),
                group.mean(&|p| Some(p.evals)).map_or(DIVERGED.into(), |m| format!("{:.0}", m.value)),
                text(group.mean(&|p| Some(p.train_accuracy)), percentage),
                text(group.mean(&average), percentage),
                text(group.mean(&worst), percentage),
            ]);
            groups.push(group);
        }
        let [plain, balanced, gerne] = &groups[..] else { anyhow::bail!("the comparison is of three methods") };
        for (words, a, b) in [
            ("GERNE - plain", gerne, plain),
            ("GERNE - balanced", gerne, balanced),
            ("balanced - plain", balanced, plain),
        ] {
            let cells = [
                correlation.to_string(),
                words.to_string(),
                text(a.above(b, &average), percentage),
                text(a.above(b, &worst), percentage),
            ];
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
        for scale in Scale::ALL {
            let File { flags, methods, mut scales } = parse(None, FILE)?;
            let plan = scales.at(scale)?;
            for method in &methods {
                for setting in method.settings(&plan.grid)? {
                    flags.under(&plan.flags).under(&method.flags).under(&setting).config()?;
                }
            }
        }
        Ok(())
    }
}
