//! The escape from a bad minimum: Figure 3 of Ahn, Jadbabaie & Sra 2024, arXiv 2305.15659.
//!
//! From minima that fit every training image and generalise badly, each method goes on at a constant learning rate; what is
//! followed is the trace of the Hessian over the number of parameters, beside the accuracies.

mod compare;
mod method;
mod page;
mod part;
mod plan;
mod tables;

use super::bad_minimum::{self, FITTED, Minima};
use super::images::Images;
use super::margin::at_unit_margin;
use super::training::{Fit, Point, measured, train};
use super::{Page, Study};
use crate::args::ReproduceArgs;
use anyhow::{Result, bail};
use flat_core::setting::Text;
use flat_run::settings::choice::LossName;
use flat_run::settings::config::TrainConfig;
use flat_run::signal;
use flat_run::value::every::Every;
use method::{Ablation, Method, Setting};
use part::Part;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A setting that the search tried.
#[derive(Debug, Clone, Serialize)]
struct Trial {
    setting: Setting,
    fit: Fit,
}

/// A method's runs at its chosen setting, one a seed.
#[derive(Debug, Clone, Serialize)]
struct Contender {
    setting: Setting,
    fits: Vec<Fit>,
}

/// A method's runs with one thing changed, one a seed.
#[derive(Debug, Clone, Serialize)]
struct Variant {
    method: Method,
    name: String,
    fits: Vec<Fit>,
}

/// All that was found in one part.
#[derive(Debug, Clone, Serialize)]
struct Outcome {
    part: &'static str,
    title: String,
    loss: LossName,
    minima: Vec<Minima>,
    trials: Vec<Trial>,
    contenders: Vec<Contender>,
    variants: Vec<Variant>,
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let parts = plan::parts(args.scale, &args.parts)?;
    study.plan(parts.iter().map(cells).sum());
    let mut outcomes = Vec::new();
    for part in &parts {
        let images = Images::load(part.dataset, args.data_dir.as_deref(), part.images)?;
        let images = Images { curvature: part.curvature, ..images };
        let lab = Lab { part, images: &images, args };
        let Some(outcome) = lab.outcome(study)? else { return Ok(None) };
        outcomes.push(outcome);
    }
    let page = page::page(study, args.scale, &parts, &outcomes)?;
    Ok(Some((page, serde_json::to_value(&outcomes)?)))
}

fn cells(part: &Part) -> usize {
    let variants: usize = part.methods.iter().copied().map(|m| Ablation::of(m).len()).sum();
    let variants = if part.ablations { variants } else { 0 };
    part.grid.len() + part.seeds as usize * (1 + part.methods.len() + variants)
}

/// The study of one part.
struct Lab<'a> {
    part: &'a Part,
    images: &'a Images,
    args: &'a ReproduceArgs,
}

impl Lab<'_> {
    fn outcome(&self, study: &mut Study) -> Result<Option<Outcome>> {
        let mut minima = Vec::new();
        for seed in self.seeds() {
            let config = self.part.fitting(self.config(seed));
            let key = self.minimum(seed);
            let Some(found) = bad_minimum::make(study, &key, &config, self.images, self.part.spoiling)? else {
                return Ok(None);
            };
            minima.push(found);
        }
        let mut trials = Vec::new();
        for &setting in &self.part.grid {
            let key = format!("search-{}-{}", self.part.key, setting.key());
            let config = setting.over(&self.config(self.args.seed));
            let config = self.sized(config, self.part.evals_per_step(setting.method), self.part.search_evals, 1, false);
            let Some(fit) = self.cell(study, &key, &config, self.args.seed, true)? else { return Ok(None) };
            trials.push(Trial { setting, fit });
        }
        let mut contenders = Vec::new();
        for &method in &self.part.methods {
            let setting = chosen(method, &trials)?;
            let mut fits = Vec::new();
            for seed in self.seeds() {
                let key = format!("run-{}-{}-s{seed}", self.part.key, setting.key());
                let config = setting.over(&self.config(seed));
                let config =
                    self.sized(config, self.part.evals_per_step(method), self.part.evals, self.part.points, true);
                let Some(fit) = self.cell(study, &key, &config, seed, false)? else { return Ok(None) };
                fits.push(fit);
            }
            contenders.push(Contender { setting, fits });
        }
        let Some(variants) = self.variants(study, &contenders)? else { return Ok(None) };
        Ok(Some(Outcome {
            part: self.part.key,
            title: self.part.title(),
            loss: self.part.loss,
            minima,
            trials,
            contenders,
            variants,
        }))
    }

    fn variants(&self, study: &mut Study, contenders: &[Contender]) -> Result<Option<Vec<Variant>>> {
        let mut variants = Vec::new();
        for Contender { setting, .. } in contenders.iter().filter(|_| self.part.ablations) {
            let method = setting.method;
            for ablation in Ablation::of(method) {
                let mut fits = Vec::new();
                for seed in self.seeds() {
                    let key = format!("ablation-{}-{}-{}-s{seed}", self.part.key, method.key(), ablation.key());
                    let evals =
                        if *ablation == Ablation::BatchDirection { 2.0 } else { self.part.evals_per_step(method) };
                    let config = ablation.over(*setting, &self.config(seed));
                    let config = self.sized(config, evals, self.part.search_evals, 1, true);
                    let Some(fit) = self.cell(study, &key, &config, seed, false)? else { return Ok(None) };
                    fits.push(fit);
                }
                variants.push(Variant { method, name: ablation.name(*setting), fits });
            }
        }
        Ok(Some(variants))
    }

    /// A run from the seed's bad minimum as a cell; its folder goes when it is done.
    fn cell(
        &self,
        study: &mut Study,
        key: &str,
        config: &TrainConfig,
        seed: u64,
        validation: bool,
    ) -> Result<Option<Fit>> {
        let init = bad_minimum::weights(study, &self.minimum(seed))?;
        let folder = study.folder("runs")?.join(key);
        let held_out = if validation { &self.images.validation } else { &self.images.test };
        // folders are no settings: a study may be moved
        let config_alone = TrainConfig { data_dir: None, ..config.clone() };
        let settings = (config_alone, self.part.spoiling, self.part.images, self.part.settle);
        study.cell(key, &settings, |ui| {
            let config = TrainConfig { init: Some(init), ..config.clone() };
            let go = |config: &TrainConfig, folder: &Path| {
                train(config, self.images, &self.images.train, held_out, folder, ui)
            };
            let Some(mut fit) = go(&config, &folder)? else { return Ok(None) };
            let (settled, mut weights) = (folder.with_extension("settled"), folder.join("model.safetensors"));
            if let Some(end) = fit.end().cloned().filter(|_| self.part.settle > 0) {
                let Some(rest) = go(&self.settling(&config, weights), &settled)? else { return Ok(None) };
                let after = |p: Point| Point { step: end.step + p.step, evals: end.evals + p.evals, ..p };
                fit.points.extend(rest.points.into_iter().map(after));
                fit.diverged = rest.diverged;
                weights = settled.join("model.safetensors");
            }
            let margins = self.part.loss == LossName::CrossEntropy && !config.flatness.is_empty();
            if margins && fit.end().is_some() {
                fit.unit_margin = at_unit_margin(&config, self.images, weights, ui)?;
                if signal::stop_requested() {
                    return Ok(None);
                }
            }
            for folder in [folder, settled].iter().filter(|f| f.exists()) {
                std::fs::remove_dir_all(folder)?;
            }
            Ok(Some(fit))
        })
    }

    /// Plain SGD from where a run has got, looked at once, at its end.
    fn settling(&self, config: &TrainConfig, init: PathBuf) -> TrainConfig {
        let plain = Setting { method: Method::Sgd, lr: self.part.spoiling.true_lr, rho: 0.0, eps0: None };
        let config = TrainConfig {
            steps: Some(self.part.settle),
            eval_every: Text(Every::Steps(0)),
            flatness_every: Text(Every::Steps(0)),
            init: Some(init),
            ..config.clone()
        };
        plain.over(&config)
    }

    /// As many steps as the evaluations allow, in so many equal parts, after each of which the run is looked at.
    fn sized(&self, config: TrainConfig, per_step: f64, evals: f64, parts: u64, measure: bool) -> TrainConfig {
        let every = ((evals / per_step) as u64 / parts).max(1);
        let config = TrainConfig { steps: Some(every * parts), ..config };
        match (measure, parts) {
            (false, _) => config,
            (true, 1) => measured(config, self.images, 0),
            (true, _) => measured(config, self.images, every),
        }
    }

    fn config(&self, seed: u64) -> TrainConfig {
        self.part.config(seed, self.args)
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
fn chosen(method: Method, trials: &[Trial]) -> Result<Setting> {
    let score = |t: &&Trial| t.fit.end().map(|end| (end.train_accuracy.min(FITTED), end.held_out_accuracy));
    let mine = trials.iter().filter(|t| t.setting.method == method && t.fit.end().is_some());
    let best = mine.max_by(|a, b| score(a).partial_cmp(&score(b)).unwrap_or(std::cmp::Ordering::Equal));
    match best {
        Some(trial) => Ok(trial.setting),
        None => bail!("{}: every setting of the search diverged", method.name()),
    }
}
