//! SAM beside SGD at equal epochs and at equal gradient evaluations.
//!
//! P. Foret, A. Kleiner, H. Mobahi, B. Neyshabur, "Sharpness-Aware Minimization for Efficiently Improving Generalization",
//! ICLR 2021, arXiv 2010.01412.

use crate::args::ReproduceArgs;
use crate::flags::Flags;
use crate::images::{HeldOut, Images};
use crate::markdown::{Page, Table};
use crate::network::network;
use crate::paired::{Group, best, differences, ends, trial};
use crate::prose::{Holes, Prose};
use crate::recipe::{Scales, Sizes};
use crate::study::Study;
use crate::training::{cell, measured, of_seed};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Its sizes, grids, seeds and recipes.
pub(crate) const FILE: &str = include_str!("../studies/sam-vs-sgd.toml");

/// The study's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    flags: Flags,
    methods: [Method; 3],
    scales: Scales<Plan>,
}

/// A method of the comparison: SGD, SGD for more epochs, SAM.
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
    flags: Flags,
    /// What the search tries, by the methods' keys.
    grid: BTreeMap<String, Flags>,
}

/// What is tried of a method.
fn settings(plan: &Plan, method: &Method) -> Result<Vec<Flags>> {
    let grid = plan.grid.get(&method.key).with_context(|| format!("the study's grid has no {}", method.key))?;
    Ok(grid.combinations())
}

impl Method {
    fn key(&self, setting: &Flags) -> Result<String> {
        let rho = setting.number("rho").map(|rho| format!("-rho{rho}")).unwrap_or_default();
        Ok(format!("{}-lr{}{rho}", self.key, setting.needed("lr")?))
    }

    fn name(&self, setting: &Flags, epochs: u64) -> String {
        let rho = setting.number("rho").map(|rho| format!(", rho {rho}")).unwrap_or_default();
        format!("{}, {} epochs{rho}", self.name, self.epochs * epochs)
    }
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let File { flags, methods, mut scales } = study.settings()?;
    let plan = scales.at(args.scale)?;
    let flags = flags.under(&plan.flags);
    let images = Images::load(&flags, args.data_dir.as_deref(), plan.images)?;
    let grids = methods.iter().map(|method| settings(&plan, method)).collect::<Result<Vec<_>>>()?;
    study.plan(grids.iter().map(Vec::len).sum::<usize>() + methods.len() * plan.seeds as usize);
    let mut trials = Table::new(
        "The settings tried: accuracies in percent, one seed that is not among those compared.",
        &["method", "lr", "train loss", "train acc.", "validation acc.", "chosen"],
    );
    let (mut groups, mut kept) = (Vec::new(), Vec::new());
    for (method, grid) in methods.iter().zip(grids) {
        let run = |setting: &Flags, seed| {
            let flags = flags.under(&method.flags).under(setting).count("epochs", method.epochs * plan.epochs);
            of_seed(&flags, seed, args)
        };
        let mut tried = Vec::new();
        for setting in grid {
            let key = format!("search-{}", method.key(&setting)?);
            let flags = run(&setting, args.seed + plan.seeds);
            let Some(fit) = cell(study, &key, &flags, &images, HeldOut::Validation)? else { return Ok(None) };
            tried.push((setting, fit));
        }
        let setting = best(&tried)?;
        for (tried, fit) in &tried {
            let first = [method.name(tried, plan.epochs), tried.needed("lr")?.to_string()];
            trials.row(first.into_iter().chain(trial(fit, *tried == setting)));
        }
        let mut fits = Vec::new();
        for seed in args.seed..args.seed + plan.seeds {
            let key = format!("run-{}-s{seed}", method.key(&setting)?);
            let flags = measured(&run(&setting, seed), &images, 0);
            let Some(fit) = cell(study, &key, &flags, &images, HeldOut::Test)? else { return Ok(None) };
            fits.push(fit);
        }
        kept.push(json!({ "setting": { "method": method.key, "flags": setting }, "fits": fits }));
        groups.push(Group { name: method.name(&setting, plan.epochs), lr: setting.needed("lr")?, fits });
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
        for scale in Scale::COMMON {
            let File { flags, methods, mut scales } = parse(None, FILE)?;
            let plan = scales.at(scale)?;
            for method in &methods {
                for setting in settings(&plan, method)? {
                    flags.under(&plan.flags).under(&method.flags).under(&setting).config()?;
                }
            }
        }
        Ok(())
    }
}
