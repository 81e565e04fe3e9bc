//! SAM for the last epochs alone.
//!
//! Z. Zhou, M. Wang, Y. Mao, B. Li, J. Yan, "Sharpness-Aware Minimization Efficiently Selects Flatter Minima Late in
//! Training", arXiv 2410.10373.

use super::images::Images;
use super::network::Network;
use super::paired::{Group, best, differences, ends};
use super::training::{Fit, measured, plain_sgd, train};
use super::{Page, Scale, Study, Table};
use crate::args::ReproduceArgs;
use crate::interval::{percent, short};
use anyhow::Result;
use flat_core::setting::Values;
use flat_data::{DatasetKind, Split};
use flat_nn::{Norm, networks};
use flat_run::settings::config::TrainConfig;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What the comparison does at a scale.
struct Plan {
    dataset: DatasetKind,
    network: Network,
    images: [usize; 3],
    epochs: u64,
    /// Last epochs with SAM: none, some, all.
    late: Vec<u64>,
    seeds: u64,
    lr: f64,
    rhos: Vec<f64>,
}

impl Plan {
    fn of(scale: Scale) -> Self {
        let mlp = |images, epochs, late, seeds| Self {
            dataset: DatasetKind::Mnist,
            network: Network::mlp(128),
            images,
            epochs,
            late,
            seeds,
            lr: 0.02,
            rhos: vec![0.05, 0.1, 0.2, 0.5],
        };
        match scale {
            Scale::Smoke => Self { rhos: vec![0.1], ..mlp([256, 128, 200], 2, vec![0, 1, 2], 2) },
            Scale::Cpu => mlp([5000, 5000, 10_000], 40, vec![0, 1, 2, 5, 10, 20, 40], 5),
            Scale::Paper => Self {
                dataset: DatasetKind::Cifar10,
                network: Network::of(networks::WRN_16_4, None, Norm::Batch),
                lr: 0.05,
                ..mlp([45_000, 5_000, 10_000], 200, vec![0, 5, 25, 50, 100, 200], 3)
            },
        }
    }

    fn config(&self, seed: u64, args: &ReproduceArgs) -> TrainConfig {
        TrainConfig {
            options: Values::of([("lr", self.lr), ("momentum", 0.9), ("weight-decay", 5e-4)]),
            ..plain_sgd(self.dataset, &self.network, seed, args)
        }
    }
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
pub(crate) fn run(study: &mut Study, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let plan = Plan::of(args.scale);
    let images = Images::load(plan.dataset, args.data_dir.as_deref(), plan.images)?;
    study.plan(plan.rhos.len() + plan.late.len() * plan.seeds as usize);
    let mut tried = Vec::new();
    for &rho in &plan.rhos {
        let config = plan.config(args.seed + plan.seeds, args);
        let key = format!("search-rho{rho}");
        let setting = Setting { late: plan.epochs, rho };
        let Some(fit) = cell(study, &key, &config, setting, &plan, &images, true)? else { return Ok(None) };
        tried.push((rho, fit));
    }
    let rho = best(&tried)?;
    let mut groups = Vec::new();
    for &late in &plan.late {
        let setting = Setting { late, rho };
        let mut fits = Vec::new();
        for seed in args.seed..args.seed + plan.seeds {
            let config = measured(plan.config(seed, args), &images, 0);
            let key = format!("late{late}-s{seed}");
            let Some(fit) = cell(study, &key, &config, setting, &plan, &images, false)? else { return Ok(None) };
            fits.push(fit);
        }
        groups.push(Group { name: setting.name(plan.epochs), lr: plan.lr, fits });
    }
    let kept: Vec<Value> = groups.iter().map(|g| json!({ "name": g.name, "rho": rho, "fits": g.fits })).collect();
    Ok(Some((page(args.scale, &plan, &groups, &tried, rho), json!(kept))))
}

/// SGD and then SAM as one cell; evaluations of both parts count.
fn cell(
    study: &mut Study,
    key: &str,
    config: &TrainConfig,
    setting: Setting,
    plan: &Plan,
    images: &Images,
    search: bool,
) -> Result<Option<Fit>> {
    let runs = study.folder("runs")?;
    let kept = TrainConfig { data_dir: None, ..config.clone() };
    study.cell(key, &(kept, setting, plan.epochs, plan.images), |ui| {
        let held_out: &Arc<Split> = if search { &images.validation } else { &images.test };
        let (first, second) = (runs.join(format!("{key}-sgd")), runs.join(format!("{key}-sam")));
        let mut spent = 0.0;
        let mut fit = None;
        let mut config = config.clone();
        if setting.late < plan.epochs {
            let sgd = TrainConfig { epochs: Some(plan.epochs - setting.late), ..config.clone() };
            // only the end of the whole is measured
            let sgd = if setting.late > 0 { TrainConfig { flatness: Vec::new(), ..sgd } } else { sgd };
            let Some(done) = train(&sgd, images, &images.train, held_out, &first, ui)? else { return Ok(None) };
            spent = done.end().map_or(0.0, |end| end.evals);
            config.init = Some(first.join("model.safetensors"));
            // batches of its own: the first part's order must not be repeated
            config.seed += 1 << 32;
            fit = Some(done);
        }
        let fitted = fit.as_ref().is_none_or(|fit| fit.diverged.is_none());
        if setting.late > 0 && fitted {
            let sam = config.epochs(Some(setting.late)).optimizer("sam".parse()?).with_option("rho", setting.rho);
            let Some(mut done) = train(&sam, images, &images.train, held_out, &second, ui)? else { return Ok(None) };
            done.points.iter_mut().for_each(|p| p.evals += spent);
            fit = Some(done);
        }
        for folder in [first, second].iter().filter(|f| f.exists()) {
            std::fs::remove_dir_all(folder)?;
        }
        Ok(fit)
    })
}

fn page(scale: Scale, plan: &Plan, groups: &[Group], tried: &[(f64, Fit)], rho: f64) -> Page {
    let mut page = Page::new("SAM for the last epochs alone");
    let [train, validation, test] = plan.images;
    page.text(
        "Zhou et al. 2024 (arXiv 2410.10373) find that a few epochs of SAM after SGD generalise as well as SAM from the \
         beginning (wide ResNet 16-8, CIFAR-10, SAM after epoch 175 of 200), at little more than SGD's cost. Here SGD trains \
         for the first epochs and SAM for the rest, with the same constant learning rate, momentum 0.9 (which starts anew at \
         the switch), weight decay 0.0005 and batches of 128.",
    );
    page.text(format!(
        "{}, {}; {train} training, {validation} validation and {test} test images; {} seeds, {} epochs. rho was chosen for SAM \
         from the beginning. Intervals are Student's, 95 %; differences are taken seed by seed.",
        plan.dataset, plan.network.name(), plan.seeds, plan.epochs
    ));
    if scale == Scale::Smoke {
        page.text("**This is the smoke scale: it shows that everything runs, its numbers mean nothing.**");
    }
    page.table(ends("The ends of the runs, means over the seeds.", groups));
    if let (Some(sgd), Some(sam)) = (groups.first(), groups.last()) {
        let words: Vec<(String, &Group, &Group)> = groups[1..]
            .iter()
            .map(|g| (format!("{} - SGD", g.name), g, sgd))
            .chain(groups[..groups.len() - 1].iter().map(|g| (format!("{} - SAM throughout", g.name), g, sam)))
            .collect();
        let pairs: Vec<(&str, &Group, &Group)> = words.iter().map(|(w, a, b)| (w.as_str(), *a, *b)).collect();
        page.table(differences("Against SGD and against SAM throughout, seed by seed.", &pairs));
    }
    page.text(
        "An interval of a difference that reaches over 0 (over 1 for a ratio) shows no difference at this size. All runs have \
         the same number of epochs, so those with more SAM have spent more evaluations.",
    );
    page.heading("What was tried");
    let mut trials = Table::new(
        "SAM from the beginning on one seed that is not among those compared; accuracies in percent.",
        &["rho", "train loss", "train acc.", "validation acc.", "chosen"],
    );
    for (tried, fit) in tried {
        let numbers = fit.end().map_or(["diverged".into(), String::new(), String::new()], |end| {
            [short(end.train_loss), percent(end.train_accuracy), percent(end.held_out_accuracy)]
        });
        let chosen = if *tried == rho { "chosen" } else { "" };
        trials.row([tried.to_string()].into_iter().chain(numbers).chain([chosen.to_string()]));
    }
    page.table(trials);
    page
}
