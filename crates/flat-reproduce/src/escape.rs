//! The escape from a bad minimum: Figure 3 of Ahn, Jadbabaie & Sra 2024, arXiv 2305.15659.
//!
//! From minima that fit every training image and generalise badly, each method goes on at a constant learning rate; what is
//! followed is the trace of the Hessian over the number of parameters, beside the accuracies.

mod asked;
mod compare;
mod figures;
mod holes;
mod method;
mod part;
mod tables;
mod words;

use crate::args::ReproduceArgs;
use crate::bad_minimum::{self, FITTED, Minima};
use crate::flags::Flags;
use crate::images::Images;
use crate::margin::at_unit_margin;
use crate::markdown::Page;
use crate::recipe::parts_asked;
use crate::study::Study;
use crate::training::{Fit, Point, measured, of_seed, train};
use anyhow::{Result, bail};
use flat_run::signal;
use method::{Setting, evals_per_step};
use part::{File, Part};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// Its sizes, grids, seeds and recipes.
pub(crate) const FILE: &str = include_str!("../studies/escape.toml");

/// A setting that the search tried.
#[derive(Debug, Clone, Serialize)]
struct Trial {
    setting: Setting,
    fit: Fit,
}

/// A method's runs at its chosen setting, one a seed.
#[derive(Debug, Clone, Serialize)]
struct Contender {
    name: String,
    setting: Setting,
    fits: Vec<Fit>,
}

/// A method's runs with one thing changed, one a seed.
#[derive(Debug, Clone, Serialize)]
struct Variant {
    method: String,
    name: String,
    fits: Vec<Fit>,
}

/// All that was found in one part.
#[derive(Debug, Clone, Serialize)]
struct Outcome {
    part: String,
    title: String,
    minima: Vec<Minima>,
    trials: Vec<Trial>,
    contenders: Vec<Contender>,
    variants: Vec<Variant>,
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let mut file: File = study.settings()?;
    let parts = parts_asked(file.parts(args.scale)?, |part| &part.key, args)?;
    for part in &parts {
        let variants: usize = part.methods.iter().map(|m| file.ablations(part, m).count()).sum();
        study.plan(part.settings()?.len() + part.seeds as usize * (1 + part.methods.len() + variants));
    }
    let outcomes = study.all(&parts, |study, part| {
        let images = study.images(&part.flags, args, part.images)?;
        let images = Images { curvature: part.curvature, ..images };
        let lab = Lab { file: &file, part, images: &images, args };
        lab.outcome(study)
    })?;
    let Some(outcomes) = outcomes else { return Ok(None) };
    let page = holes::page(study, args.scale, &file, &parts, &outcomes)?;
    Ok(Some((page, serde_json::to_value(&outcomes)?)))
}

/// The study of one part.
struct Lab<'a> {
    file: &'a File,
    part: &'a Part,
    images: &'a Images,
    args: &'a ReproduceArgs,
}

impl Lab<'_> {
    fn outcome(&self, study: &mut Study<'_>) -> Result<Option<Outcome>> {
        let part = self.part;
        let minima = study.all(self.seeds(), |study, seed| {
            let flags = self.flags(seed).under(&part.recipe_flags);
            bad_minimum::make(study, &self.minimum(seed), &flags, self.images, part.recipe)
        })?;
        let Some(minima) = minima else { return Ok(None) };
        let trials = study.all(part.settings()?, |study, setting| {
            let key = format!("search-{}-{}", part.key, setting.key());
            let run = self.sized(&self.run(&setting, self.args.seed)?, part.search_evals, 1, false)?;
            let fit = self.cell(study, &key, &run, self.args.seed, true)?;
            Ok(fit.map(|fit| Trial { setting, fit }))
        })?;
        let Some(trials) = trials else { return Ok(None) };
        let contenders = study.all(&part.methods, |study, method| {
            let setting = chosen(method, &trials)?;
            let fits = study.all(self.seeds(), |study, seed| {
                let key = format!("run-{}-{}-s{seed}", part.key, setting.key());
                let run = self.sized(&self.run(&setting, seed)?, part.evals, part.points, true)?;
                self.cell(study, &key, &run, seed, false)
            })?;
            let name = self.file.method(method)?.name.clone();
            Ok(fits.map(|fits| Contender { name, setting, fits }))
        })?;
        let Some(contenders) = contenders else { return Ok(None) };
        let Some(variants) = self.variants(study, &contenders)? else { return Ok(None) };
        Ok(Some(Outcome { part: part.key.clone(), title: part.title(), minima, trials, contenders, variants }))
    }

    fn variants(&self, study: &mut Study<'_>, contenders: &[Contender]) -> Result<Option<Vec<Variant>>> {
        let all = contenders.iter().flat_map(|contender| {
            let ablations = self.file.ablations(self.part, &contender.setting.method);
            ablations.map(move |ablation| (contender, ablation))
        });
        study.all(all, |study, (Contender { name, setting, .. }, ablation)| {
            let fits = study.all(self.seeds(), |study, seed| {
                let key = format!("ablation-{}-{}-{}-s{seed}", self.part.key, setting.method, ablation.key);
                let run = ablation.over(setting, &self.run(setting, seed)?);
                let run = self.sized(&run, self.part.search_evals, 1, true)?;
                self.cell(study, &key, &run, seed, false)
            })?;
            Ok(fits.map(|fits| Variant { method: name.clone(), name: ablation.name(setting).into(), fits }))
        })
    }

    /// A run from the seed's bad minimum as a cell; its folder goes when it is done.
    fn cell(&self, study: &mut Study<'_>, key: &str, run: &Flags, seed: u64, validation: bool) -> Result<Option<Fit>> {
        let init = bad_minimum::weights(study, &self.minimum(seed))?;
        let folder = study.folder("runs")?.join(key);
        let held_out = if validation { &self.images.validation } else { &self.images.test };
        let settings = (run.kept()?, self.part.recipe, self.part.images, self.part.settle);
        let settled = folder.with_extension("settled");
        study.cell_in(&[folder.clone(), settled.clone()], key, &settings, |ui| {
            let go = |run: &Flags, init: &Path, folder: &Path| {
                let run = run.with("init", init.display().to_string());
                train(&run, self.images, &self.images.train, held_out, folder, ui)
            };
            let Some(mut fit) = go(run, &init, &folder)? else { return Ok(None) };
            let mut weights = folder.join("model.safetensors");
            if let Some(end) = fit.end().cloned().filter(|_| self.part.settle > 0) {
                let Some(rest) = go(&self.settling(run, seed)?, &weights, &settled)? else { return Ok(None) };
                let after = |p: Point| Point { step: end.step + p.step, evals: end.evals + p.evals, ..p };
                fit.points.extend(rest.points.into_iter().map(after));
                fit.diverged = rest.diverged;
                weights = settled.join("model.safetensors");
            }
            if self.part.has_margins() && run.has("flatness") && fit.end().is_some() {
                fit.unit_margin = at_unit_margin(run, self.images, weights, ui)?;
                if signal::stop_requested() {
                    return Ok(None);
                }
            }
            Ok(Some(fit))
        })
    }

    /// Plain SGD from where a run has got, looked at once, at its end.
    fn settling(&self, run: &Flags, seed: u64) -> Result<Flags> {
        let reference = self.file.method(&self.part.methods[0])?;
        let plain = self.flags(seed).under(&reference.flags).with("lr", self.part.recipe.true_lr);
        let plain = plain.count("steps", self.part.settle);
        Ok(if run.has("flatness") { measured(&plain, self.images, 0) } else { plain })
    }

    /// As many steps as the evaluations allow, in so many equal parts, after each of which the run is looked at.
    fn sized(&self, run: &Flags, evals: f64, parts: u64, measure: bool) -> Result<Flags> {
        let every = ((evals / evals_per_step(run)?) as u64 / parts).max(1);
        let run = run.count("steps", every * parts);
        Ok(match measure {
            false => run,
            true => measured(&run, self.images, if parts == 1 { 0 } else { every }),
        })
    }

    /// A run of a setting.
    fn run(&self, setting: &Setting, seed: u64) -> Result<Flags> {
        Ok(self.flags(seed).under(&self.file.method(&setting.method)?.flags).under(&setting.flags))
    }

    /// A run with this seed, before it is given a method.
    fn flags(&self, seed: u64) -> Flags {
        of_seed(&self.file.flags.under(&self.part.flags), seed, self.args)
    }

    fn seeds(&self) -> std::ops::Range<u64> {
        self.args.seed..self.args.seed + self.part.seeds
    }

    fn minimum(&self, seed: u64) -> String {
        format!("{}-s{seed}", self.part.key)
    }
}

/// The setting with the best validation accuracy among those that still fit the training set; where none does, the one
/// that fits it best.
fn chosen(method: &str, trials: &[Trial]) -> Result<Setting> {
    let score = |t: &&Trial| t.fit.end().map(|end| (end.train_accuracy.min(FITTED), end.held_out_accuracy));
    let mine = trials.iter().filter(|t| t.setting.method == method && t.fit.end().is_some());
    let best = mine.max_by(|a, b| score(a).partial_cmp(&score(b)).unwrap_or(std::cmp::Ordering::Equal));
    match best {
        Some(trial) => Ok(trial.setting.clone()),
        None => bail!("{method}: every setting of the search diverged, or none was tried"),
    }
}
