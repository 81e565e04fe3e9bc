//! SGD restricted to the dominant subspace of the Hessian, and to its complement.
//!
//! M. Song, K. Ahn, C. Yun, "Does SGD really happen in tiny subspaces?", ICLR 2025, arXiv 2405.16002.

mod aligned;
mod tables;

use self::aligned::{Aligned, aligned};
use crate::args::ReproduceArgs;
use crate::flags::Flags;
use crate::images::Images;
use crate::markdown::Page;
use crate::network::network;
use crate::prose::{Holes, Prose};
use crate::recipe::{Scales, Sizes};
use crate::scratch::keep;
use crate::study::Study;
use crate::training::{of_seed, train};
use anyhow::{Context, Result, bail};
use flat_run::store::{Line, Part, read_journal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Its sizes, methods and recipe.
pub(crate) const FILE: &str = include_str!("../studies/tiny-subspace.toml");

/// The study's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    flags: Flags,
    methods: Vec<Method>,
    scales: Scales<Plan>,
}

/// A method of the comparison.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Method {
    key: String,
    name: String,
    flags: Flags,
}

impl Method {
    /// Its flags over the study's, with a subspace found anew every so many steps if it has one.
    fn over(&self, flags: &Flags, every: u64) -> Flags {
        let flags = flags.under(&self.flags);
        if self.projects() { flags.count("subspace-every", every) } else { flags }
    }

    /// Whether it has a subspace.
    fn projects(&self) -> bool {
        self.flags.text("optimizer").is_some_and(|name| name != "sgd")
    }
}

/// What the comparison does at a scale.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Plan {
    seeds: u64,
    start: u64,
    steps: u64,
    every: u64,
    fresh: Vec<u64>,
    fresh_steps: u64,
    images: Sizes,
    flags: Flags,
}

/// Where the methods of a seed start: the end of plain SGD.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Start {
    steps: u64,
    evals: f64,
    train_loss: f64,
    train_accuracy: f64,
    test_accuracy: f64,
    aligned: Aligned,
}

/// A run of a method from there.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Branch {
    steps: u64,
    evals: f64,
    /// Hessian products over the training set.
    products: u64,
    train_loss: f64,
    train_accuracy: f64,
    test_accuracy: f64,
    /// The subspace at its end, where it was measured; not of a run that diverged.
    aligned: Option<Aligned>,
    /// Steps and mean training losses of its epochs.
    curve: Vec<(u64, f64)>,
    diverged: Option<String>,
}

/// The runs of one method, in the order of the seeds.
struct Group {
    name: String,
    branches: Vec<Branch>,
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let File { flags, methods, mut scales } = study.settings()?;
    let plan = scales.at(args.scale)?;
    let flags = flags.under(&plan.flags);
    let images = study.images(&flags, args, plan.images)?;
    let compared: Vec<&Method> = methods.iter().filter(|m| m.projects()).collect();
    study.plan((1 + methods.len()) * plan.seeds as usize + compared.len() * plan.fresh.len());
    let seeds = args.seed..args.seed + plan.seeds;
    let starts =
        study.all(seeds.clone(), |study, seed| begin(study, seed, &of_seed(&flags, seed, args), &plan, &images))?;
    let Some(starts) = starts else { return Ok(None) };
    let groups = study.all(&methods, |study, method| {
        let branches = study.all(seeds.clone(), |study, seed| {
            let key = format!("{}-s{seed}", method.key);
            let flags = method.over(&of_seed(&flags, seed, args), plan.every);
            go_on(study, &key, &flags, (seed, plan.steps), true, &plan, &images)
        })?;
        Ok(branches.map(|branches| Group { name: method.name.clone(), branches }))
    })?;
    let fresh = compared.iter().flat_map(|method| plan.fresh.iter().map(move |every| (method, *every)));
    let tried = study.all(fresh, |study, (method, every)| {
        let key = format!("fresh-{}-every{every}", method.key);
        let flags = method.over(&of_seed(&flags, args.seed, args), every);
        let branch = go_on(study, &key, &flags, (args.seed, plan.fresh_steps), false, &plan, &images)?;
        Ok(branch.map(|branch| (method.name.clone(), every, branch)))
    })?;
    let (Some(groups), Some(tried)) = (groups, tried) else { return Ok(None) };
    let first = starts.first().context("a study needs a seed")?;
    let config = flags.config()?.with_effect()?;
    let holes = Holes::default()
        .flags(&config, &["lr", "batch-size", "activation"])
        .text("train", plan.images[0])
        .text("test", plan.images[2])
        .text("data", flags.text("dataset").unwrap_or_default())
        .text("network", network(&flags))
        .text("k", images.train.classes())
        .text("seeds", plan.seeds)
        .text("start", plan.start)
        .text("steps", plan.steps)
        .text("every", plan.every)
        .table("ends", tables::ends(&starts, &groups))
        .blocks("curves", tables::curve(study.root(), &starts, &groups)?)
        .table("differences", tables::differences(&groups))
        .table("cost", tables::cost(&plan, &starts, &groups))
        .table("fresh", tables::fresh(&plan, first, &tried));
    let page = Prose::new(include_str!("../studies/tiny-subspace.md"), args.scale).page(holes)?;
    let runs: Vec<Value> = groups.iter().map(|g| json!({ "method": g.name, "runs": g.branches })).collect();
    let fresh: Vec<Value> =
        tried.iter().map(|(name, every, run)| json!({ "method": name, "every": every, "run": run })).collect();
    Ok(Some((page, json!({ "starts": starts, "methods": runs, "fresh": fresh }))))
}

/// The weights that the methods of a seed start from.
fn weights(study: &Study<'_>, seed: u64) -> Result<PathBuf> {
    Ok(study.folder("starts")?.join(format!("s{seed}.safetensors")))
}

/// Plain SGD up to the start, whose weights stay in the study's folder.
fn begin(study: &mut Study<'_>, seed: u64, flags: &Flags, plan: &Plan, images: &Images) -> Result<Option<Start>> {
    let (folder, kept) = (study.folder("runs")?.join(format!("start-s{seed}")), weights(study, seed)?);
    let flags = flags.with("optimizer", "sgd").count("steps", plan.start);
    let cell = format!("start-s{seed}");
    let found = study.cell_in(std::slice::from_ref(&folder), &cell, &(flags.kept()?, plan.images), |ui| {
        let Some(fit) = train(&flags, images, &images.train, &images.test, &folder, ui)? else { return Ok(None) };
        let end = fit.end().context("plain SGD diverged before the start: lower lr")?;
        keep(&folder.join("model.safetensors"), &kept)?;
        Ok(Some(Start {
            steps: plan.start,
            evals: end.evals,
            train_loss: end.train_loss,
            train_accuracy: end.train_accuracy,
            test_accuracy: end.held_out_accuracy,
            aligned: aligned(&flags, images, &kept)?,
        }))
    })?;
    if found.is_some() && !kept.is_file() {
        bail!("{} is gone; delete cells/{cell}.json beside it to have it made again", kept.display());
    }
    Ok(found)
}

/// A method from the start of its seed, for so many steps, and the subspace at its end if that is to be measured.
fn go_on(
    study: &mut Study<'_>,
    key: &str,
    flags: &Flags,
    (seed, steps): (u64, u64),
    measured: bool,
    plan: &Plan,
    images: &Images,
) -> Result<Option<Branch>> {
    let (folder, start) = (study.folder("runs")?.join(key), weights(study, seed)?);
    // batches of its own: the first part's order must not be repeated
    let flags = flags.count("steps", steps).count("seed", flags.needed("seed")? as u64 + (1 << 32));
    study.cell_in(std::slice::from_ref(&folder), key, &(flags.kept()?, plan.start, plan.images), |ui| {
        let flags = flags.with("init", start.display().to_string());
        let Some(fit) = train(&flags, images, &images.train, &images.test, &folder, ui)? else { return Ok(None) };
        let (curve, products) = journalled(&folder)?;
        let mut branch = Branch {
            steps,
            evals: steps as f64,
            products,
            train_loss: 0.0,
            train_accuracy: 0.0,
            test_accuracy: 0.0,
            aligned: None,
            curve,
            diverged: fit.diverged.clone(),
        };
        if let Some(end) = fit.end() {
            (branch.evals, branch.train_loss) = (end.evals, end.train_loss);
            (branch.train_accuracy, branch.test_accuracy) = (end.train_accuracy, end.held_out_accuracy);
            let weights = folder.join("model.safetensors");
            branch.aligned = measured.then(|| aligned(&flags, images, &weights)).transpose()?;
        }
        Ok(Some(branch))
    })
}

/// Steps and mean training losses of a run's epochs, and its Hessian products.
fn journalled(folder: &Path) -> Result<(Vec<(u64, f64)>, u64)> {
    let (mut curve, mut products) = (Vec::new(), 0);
    for line in read_journal(&folder.join("metrics.jsonl"), false)? {
        if let Line::Epoch(at) = line
            && at.split == Some(Part::Train)
        {
            curve.extend(at.loss.map(|loss| (at.step, loss)));
            products = at.hessian_products.unwrap_or(products);
        }
    }
    Ok((curve, products))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::parse;
    use crate::scale::Scale;

    #[test]
    fn every_method_of_every_scale_makes_a_run() -> Result<()> {
        for scale in Scale::ALL {
            let File { flags, methods, mut scales } = parse(None, FILE)?;
            let plan = scales.at(scale)?;
            for method in &methods {
                method.over(&flags.under(&plan.flags), plan.every).count("steps", plan.steps).config()?;
            }
            assert!(methods.first().is_some_and(|reference| !reference.projects()), "the reference comes first");
            assert!(plan.fresh.iter().all(|every| *every > 0) && plan.every > 0);
        }
        Ok(())
    }
}
