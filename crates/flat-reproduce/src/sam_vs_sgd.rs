//! SAM beside SGD at equal epochs and at equal gradient evaluations.
//!
//! P. Foret, A. Kleiner, H. Mobahi, B. Neyshabur, "Sharpness-Aware Minimization for Efficiently Improving Generalization",
//! ICLR 2021, arXiv 2010.01412.

use crate::args::ReproduceArgs;
use crate::comparison::{Compared, Comparison, Grid, Method, cells};
use crate::flags::Flags;
use crate::markdown::{Page, Table};
use crate::network::network;
use crate::paired::{Group, differences, ends};
use crate::prose::{Holes, Prose};
use crate::recipe::{Scales, Sizes};
use crate::study::Study;
use crate::training::measured;
use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

/// Its sizes, grids, seeds and recipes.
pub(crate) const FILE: &str = include_str!("../studies/sam-vs-sgd.toml");

/// The study's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    flags: Flags,
    /// SGD, SGD for more epochs, SAM.
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
    flags: Flags,
    grid: Grid,
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let File { flags, mut methods, mut scales } = study.settings()?;
    let plan = scales.at(args.scale)?;
    let flags = flags.under(&plan.flags);
    let images = study.images(&flags, args, plan.images)?;
    study.plan(cells(&methods, &plan.grid, plan.seeds)?);
    let mut trials = Table::new(
        "The settings tried: accuracies in percent, one seed that is not among those compared.",
        &["method", "lr", "train loss", "train acc.", "validation acc.", "chosen"],
    );
    let (mut groups, mut kept) = (Vec::new(), Vec::new());
    let comparison = Comparison {
        args,
        flags: &flags,
        grid: &plan.grid,
        seeds: plan.seeds,
        epochs: plan.epochs,
        prefix: String::new(),
        images: &|_| Ok(images.clone()),
        compared: &|flags, images| measured(flags, images, 0),
    };
    methods.iter_mut().for_each(|m| m.name = format!("{}, {} epochs", m.name, m.epochs * plan.epochs));
    let Some(all) = study.all(&methods, |study, method| comparison.of(method, study))? else { return Ok(None) };
    for (method, found) in methods.iter().zip(all) {
        found.trials(|setting| vec![method.name(setting)])?.into_iter().for_each(|row| trials.row(row));
        let Compared { setting, lr, fits, .. } = found;
        kept.push(json!({ "setting": { "method": method.key, "flags": setting }, "fits": fits }));
        groups.push(Group { name: method.name(&setting), lr, fits });
    }
    let [once, twice, sam] = &groups[..] else { anyhow::bail!("the comparison is of three methods") };
    let pairs = [("SAM - SGD, equal epochs", sam, once), ("SAM - SGD, equal evaluations", sam, twice)];
    let config = flags.config()?.with_effect()?;
    let holes = Holes::default()
        .flags(&config, &["momentum", "batch-size", "weight-decay", "schedule"])
        .images(plan.images)
        .text("data", flags.text("dataset").unwrap_or_default())
        .text("network", network(&flags))
        .text("seeds", plan.seeds)
        .table("ends", ends("The ends of the runs, means over the seeds.", &groups))
        .table("differences", differences("SAM beside SGD, seed by seed.", &pairs))
        .table("trials", trials);
    let page = Prose::new(include_str!("../studies/sam-vs-sgd.md"), args.scale).page(holes)?;
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
