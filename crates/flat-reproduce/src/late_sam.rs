//! SAM in the last epochs alone.
//!
//! Z. Zhou, M. Wang, Y. Mao, B. Li, J. Yan, "Sharpness-Aware Minimization Efficiently Selects Flatter Minima Late in
//! Training", arXiv 2410.10373.

use crate::args::ReproduceArgs;
use crate::flags::Flags;
use crate::images::{HeldOut, Images};
use crate::markdown::{Page, Table};
use crate::network::network;
use crate::paired::{Group, best, differences, ends, trial};
use crate::prose::{Holes, Prose};
use crate::recipe::{Scales, Sizes};
use crate::study::Study;
use crate::training::{Fit, measured, of_seed, train};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Its sizes, grids, seeds and recipes.
pub(crate) const FILE: &str = include_str!("../studies/late-sam.toml");

/// The study's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    flags: Flags,
    scales: Scales<Plan>,
}

/// What the comparison does at a scale.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    seeds: u64,
    epochs: u64,
    /// Last epochs with SAM: none, some, all.
    late: Vec<u64>,
    rhos: Vec<f64>,
    images: Sizes,
    flags: Flags,
}

/// A run: SGD, then SAM with this radius for the last epochs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Setting {
    late: u64,
    rho: f64,
}

impl Setting {
    fn name(self, epochs: u64) -> String {
        match self.late {
            0 => "SGD".into(),
            late if late == epochs => format!("SAM, rho {}", self.rho),
            late => format!("SGD, then SAM for the last {late} of {epochs} epochs"),
        }
    }
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let File { flags, mut scales } = study.settings()?;
    let plan = scales.at(args.scale)?;
    let flags = flags.under(&plan.flags);
    let images = study.images(&flags, args, plan.images)?;
    study.plan(plan.rhos.len() + plan.late.len() * plan.seeds as usize);
    let tried = study.all(&plan.rhos, |study, &rho| {
        let flags = of_seed(&flags, args.seed + plan.seeds, args);
        let setting = Setting { late: plan.epochs, rho };
        let key = format!("search-rho{rho}");
        let fit = cell(study, &key, &flags, setting, &plan, &images, HeldOut::Validation)?;
        Ok(fit.map(|fit| (rho, fit)))
    })?;
    let Some(tried) = tried else { return Ok(None) };
    let rho = best(&tried)?;
    let groups = study.all(&plan.late, |study, &late| {
        let setting = Setting { late, rho };
        let fits = study.all(args.seed..args.seed + plan.seeds, |study, seed| {
            let flags = measured(&of_seed(&flags, seed, args), &images, 0);
            let key = format!("late{late}-s{seed}");
            cell(study, &key, &flags, setting, &plan, &images, HeldOut::Test)
        })?;
        let lr = flags.needed("lr")?;
        Ok(fits.map(|fits| Group { name: setting.name(plan.epochs), lr, fits }))
    })?;
    let Some(groups) = groups else { return Ok(None) };
    let kept: Vec<Value> = groups.iter().map(|g| json!({ "name": g.name, "rho": rho, "fits": g.fits })).collect();
    Ok(Some((page(args, &plan, &flags, &groups, &tried, rho)?, json!(kept))))
}

/// SGD and then SAM as one cell; evaluations of both parts count.
fn cell(
    study: &mut Study<'_>,
    key: &str,
    flags: &Flags,
    setting: Setting,
    plan: &Plan,
    images: &Images,
    held_out: HeldOut,
) -> Result<Option<Fit>> {
    let runs = study.folder("runs")?;
    let folders = [runs.join(format!("{key}-sgd")), runs.join(format!("{key}-sam"))];
    study.cell_in(&folders, key, &(flags.kept()?, setting, plan.epochs, plan.images), |ui| {
        let held_out = images.held_out(held_out);
        let [first, second] = &folders;
        let (mut spent, mut fit, mut flags) = (0.0, None, flags.clone());
        if setting.late < plan.epochs {
            let sgd = flags.count("epochs", plan.epochs - setting.late);
            // only the end of the whole is measured
            let sgd = if setting.late > 0 { sgd.unmeasured() } else { sgd };
            let Some(done) = train(&sgd, images, &images.train, held_out, first, ui)? else { return Ok(None) };
            spent = done.end().map_or(0.0, |end| end.evals);
            flags = flags.with("init", first.join("model.safetensors").display().to_string());
            // batches of its own: the first part's order must not be repeated
            flags = flags.count("seed", flags.needed("seed")? as u64 + (1 << 32));
            fit = Some(done);
        }
        let fitted = fit.as_ref().is_none_or(|fit| fit.diverged.is_none());
        if setting.late > 0 && fitted {
            let sam = flags.with("optimizer", "sam").with("rho", setting.rho).count("epochs", setting.late);
            let Some(mut done) = train(&sam, images, &images.train, held_out, second, ui)? else { return Ok(None) };
            done.points.iter_mut().for_each(|p| p.evals += spent);
            fit = Some(done);
        }
        Ok(fit)
    })
}

fn page(
    args: &ReproduceArgs,
    plan: &Plan,
    flags: &Flags,
    groups: &[Group],
    tried: &[(f64, Fit)],
    rho: f64,
) -> Result<Page> {
    let mut words = Vec::new();
    if let (Some(sgd), Some(sam)) = (groups.first(), groups.last()) {
        words.extend(groups[1..].iter().map(|g| (format!("{} - SGD", g.name), g, sgd)));
        words.extend(groups[..groups.len() - 1].iter().map(|g| (format!("{} - SAM throughout", g.name), g, sam)));
    }
    let pairs: Vec<(&str, &Group, &Group)> = words.iter().map(|(w, a, b)| (w.as_str(), *a, *b)).collect();
    let mut trials = Table::new(
        "SAM from the beginning on one seed that is not among those compared; accuracies in percent.",
        &["rho", "train loss", "train acc.", "validation acc.", "chosen"],
    );
    for (tried, fit) in tried {
        trials.row([tried.to_string()].into_iter().chain(trial(fit, *tried == rho)));
    }
    let config = flags.config()?.with_effect()?;
    let holes = Holes::default()
        .flags(&config, &["momentum", "batch-size", "weight-decay", "schedule"])
        .images(plan.images)
        .text("data", flags.text("dataset").unwrap_or_default())
        .text("network", network(flags))
        .text("seeds", plan.seeds)
        .text("epochs", plan.epochs)
        .table("ends", ends("The ends of the runs, means over the seeds.", groups))
        .table("differences", differences("Against SGD and against SAM throughout, seed by seed.", &pairs))
        .table("trials", trials);
    Prose::new(include_str!("../studies/late-sam.md"), args.scale).page(holes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::parse;
    use crate::scale::Scale;

    #[test]
    fn every_scale_makes_a_run_with_and_without_sam() -> Result<()> {
        for scale in Scale::ALL {
            let File { flags, mut scales } = parse(None, FILE)?;
            let plan = scales.at(scale)?;
            let flags = flags.under(&plan.flags);
            flags.config()?;
            flags.with("optimizer", "sam").with("rho", plan.rhos[0]).config()?;
            assert!(plan.late.iter().all(|late| *late <= plan.epochs), "{scale}");
        }
        Ok(())
    }
}
