//! Networks of agents: centralised, consensus and diffusion.
//!
//! Y. Cao, Z. Wu, K. Yuan, A. H. Sayed, "On the Trade-off between Flatness and Optimization in Distributed Learning", arXiv
//! 2406.20006.

mod claims;
mod tables;

use crate::args::ReproduceArgs;
use crate::flags::Flags;
use crate::images::{HeldOut, Images};
use crate::markdown::Page;
use crate::network::network;
use crate::paired::Group;
use crate::prose::{Holes, Prose};
use crate::recipe::{Scales, Sizes};
use crate::study::Study;
use crate::training::{Fit, cell, measured, of_seed};
use anyhow::{Context, Result};
use flat_nn::Mode;
use flat_run::parts::{self, RunParts, evaluate};
use flat_run::usage;
use flat_run::value::percentage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Its sizes, grids, seeds and recipes.
pub(crate) const FILE: &str = include_str!("../studies/flatness-network.toml");

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
    agents: u64,
    graphs: Vec<String>,
    random: Random,
    bad: Bad,
}

/// Runs from random weights.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Random {
    images: Sizes,
    steps: u64,
    /// Measurements along a run.
    points: u64,
    cases: Vec<Case>,
    flags: Flags,
}

/// Runs from a bad minimum.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    /// Its weights.
    init: PathBuf,
    images: Sizes,
    steps: u64,
    /// Steps from one look at the test accuracy to the next.
    look: u64,
    /// The rise of the test accuracy by which it is left, in 0..1.
    rise: f64,
    cases: Vec<Case>,
    flags: Flags,
}

/// A batch an agent and a rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    batch: u64,
    lr: f64,
}

impl Case {
    fn words(self) -> String {
        format!("{} an agent, lr {}", self.batch, self.lr)
    }
}

/// Who trains how.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Setting {
    strategy: &'static str,
    /// `None` where there is one set of weights.
    graph: Option<String>,
}

impl Setting {
    fn name(&self) -> String {
        self.graph.as_ref().map_or_else(|| self.strategy.into(), |graph| format!("{}, {graph}", self.strategy))
    }
}

/// The runs of a setting in a case, one a seed.
struct Runs {
    case: Case,
    setting: Setting,
    group: Group,
}

impl Plan {
    /// Centralised, then each network.
    fn settings(&self) -> Vec<Setting> {
        let networks = |strategy| self.graphs.iter().map(move |graph| Setting { strategy, graph: Some(graph.clone()) });
        let centralised = std::iter::once(Setting { strategy: "centralised", graph: None });
        centralised.chain(networks("consensus")).chain(networks("diffusion")).collect()
    }

    /// The flags of a run of `steps` steps.
    fn flags(&self, of: &Flags, case: Case, setting: &Setting, steps: u64) -> Flags {
        let flags = of.count("batch-size", self.agents * case.batch).with("lr", case.lr).count("steps", steps);
        match &setting.graph {
            None => flags,
            Some(graph) => {
                flags.with("strategy", setting.strategy).count("agents", self.agents).with("graph", graph.clone())
            }
        }
    }

    /// Every setting in every case, over all seeds; `make` gives the flags of a run. `None` where a signal asked to stop.
    fn runs(
        &self,
        (study, args, prefix): (&mut Study<'_>, &ReproduceArgs, &str),
        cases: &[Case],
        images: &Images,
        make: impl Fn(Case, &Setting) -> Flags,
    ) -> Result<Option<Vec<Runs>>> {
        let all = cases.iter().flat_map(|case| self.settings().into_iter().map(move |setting| (*case, setting)));
        study.all(all, |study, (case, setting)| {
            let fits = study.all(args.seed..args.seed + self.seeds, |study, seed| {
                let key =
                    format!("{prefix}-b{}-lr{}-{}-s{seed}", case.batch, case.lr, setting.name().replace(", ", "-"));
                let flags = of_seed(&make(case, &setting), seed, args);
                cell(study, &key, &flags, images, HeldOut::Test)
            })?;
            let group = fits.map(|fits| Group { name: setting.name(), lr: case.lr, fits });
            Ok(group.map(|group| Runs { case, setting, group }))
        })
    }
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let File { flags, mut scales } = study.settings()?;
    let plan = scales.at(args.scale)?;
    let (random, bad) = (&plan.random, &plan.bad);
    if !bad.init.is_file() {
        return Err(usage(format!(
            "init = {}: no such file; start where the repository's models/ is, or give --study with its place",
            bad.init.display()
        )));
    }
    let of_random = flags.under(&random.flags);
    let of_bad = flags.under(&bad.flags).with("init", bad.init.display().to_string());
    study.plan(plan.settings().len() * plan.seeds as usize * (random.cases.len() + bad.cases.len()));
    let images = study.images(&of_random, args, random.images)?;
    let every = (random.steps / random.points).max(1);
    let make = |case, setting: &Setting| {
        let flags = plan.flags(&of_random, case, setting, random.steps);
        measured(&flags, &images, every).with("flatness", vec!["trace"])
    };
    let from_random = plan.runs((study, args, "random"), &random.cases, &images, make)?;
    let bad_images = study.images(&of_bad, args, bad.images)?;
    let start = accuracy(&plan.flags(&of_bad, bad.cases[0], &plan.settings()[0], 1), &bad_images, study, args)?;
    let make = |case, setting: &Setting| {
        plan.flags(&of_bad, case, setting, bad.steps).with("eval-every", bad.look.to_string())
    };
    let from_bad = plan.runs((study, args, "bad"), &bad.cases, &bad_images, make)?;
    let (Some(from_random), Some(start), Some(from_bad)) = (from_random, start, from_bad) else { return Ok(None) };
    let verdicts = claims::decide(&from_random, &from_bad, start + bad.rise, bad.steps);
    let config = of_random.config()?.with_effect()?;
    let holes = Holes::default()
        .flags(&config, &["momentum", "weight-decay", "schedule"])
        .text("agents", plan.agents)
        .text("graphs", plan.graphs.join(", "))
        .text("seeds", plan.seeds)
        .text("network", network(&of_random))
        .text("data", of_random.text("dataset").unwrap_or_default())
        .text("train", random.images[0])
        .text("test", random.images[2])
        .text("steps", random.steps)
        .table("ends", tables::ends(&from_random))
        .text("bad-network", network(&of_bad))
        .text("init", bad.init.display())
        .text("bad-accuracy", percentage(start))
        .text("bad-train", bad.images[0])
        .text("bad-test", bad.images[2])
        .text("bad-steps", bad.steps)
        .text("rise", 100.0 * bad.rise)
        .text("look", bad.look)
        .table("left", tables::left(&from_bad, start + bad.rise, bad.steps))
        .table("claims", tables::claims(&verdicts));
    let page = Prose::new(include_str!("../studies/flatness-network.md"), args.scale).page(holes)?;
    let kept = |runs: &[Runs]| -> Vec<Value> {
        runs.iter().map(|r| json!({ "case": r.case, "setting": r.setting, "fits": r.group.fits })).collect()
    };
    let kept = json!({ "random": kept(&from_random), "bad": kept(&from_bad), "start": start, "claims": verdicts });
    Ok(Some((page, kept)))
}

/// The test accuracy of the weights that runs start from; `None` where a signal asked to stop.
fn accuracy(flags: &Flags, images: &Images, study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<f64>> {
    let flags = of_seed(flags, args.seed, args);
    let sizes = (images.train.len(), images.test.len());
    study.cell("bad-start", &(flags.kept()?, sizes), |ui| {
        let config = flags.config()?;
        let opened = parts::open(&config)?;
        let (train, test) = (images.train.clone(), images.test.clone());
        let data = parts::data_of(&config, train, test, images.dir.clone(), &opened.device)?;
        let parts = RunParts::on(&config, data, opened, true).context("the bad minimum")?;
        let score = evaluate(&parts.model, parts.loss, &parts.data.test, Mode::Eval, "scoring", ui)?;
        Ok(score.map(|score| score.accuracy))
    })
}

/// The first step at which a run had this test accuracy; all of its steps where it never had.
fn left_after(fit: &Fit, accuracy: f64, steps: u64) -> f64 {
    let there = fit.points.iter().find(|point| point.held_out_accuracy >= accuracy);
    there.map_or(steps, |point| point.step) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::parse;
    use crate::scale::Scale;

    #[test]
    fn every_setting_of_every_case_of_every_scale_makes_a_run() -> Result<()> {
        for scale in Scale::ALL {
            let File { flags, mut scales } = parse(None, FILE)?;
            let plan = scales.at(scale)?;
            let parts = [(&plan.random.flags, &plan.random.cases), (&plan.bad.flags, &plan.bad.cases)];
            for (of, cases) in parts {
                for (case, setting) in
                    cases.iter().flat_map(|case| plan.settings().into_iter().map(move |s| (*case, s)))
                {
                    plan.flags(&flags.under(of), case, &setting, 5).config()?;
                }
            }
            assert!(plan.random.points > 1 && plan.bad.steps.is_multiple_of(plan.bad.look), "{scale}");
        }
        Ok(())
    }
}
