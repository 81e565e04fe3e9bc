//! SAM beside SGD at equal epochs and at equal gradient evaluations.
//!
//! P. Foret, A. Kleiner, H. Mobahi, B. Neyshabur, "Sharpness-Aware Minimization for Efficiently Improving Generalization",
//! ICLR 2021, arXiv 2010.01412.

use super::images::Images;
use super::network::Network;
use super::paired::{Group, best, differences, ends};
use super::training::{HeldOut, cell, measured, plain_sgd};
use super::{Page, Scale, Study, Table};
use crate::args::ReproduceArgs;
use crate::interval::{percent, short};
use anyhow::Result;
use flat_core::setting::Values;
use flat_data::DatasetKind;
use flat_nn::{Norm, networks};
use flat_run::settings::choice::ScheduleName;
use flat_run::settings::config::TrainConfig;
use serde::Serialize;
use serde_json::{Value, json};

/// What the comparison does at a scale.
struct Plan {
    dataset: DatasetKind,
    network: Network,
    images: [usize; 3],
    epochs: u64,
    seeds: u64,
    lrs: Vec<f64>,
    rhos: Vec<f64>,
}

impl Plan {
    fn of(scale: Scale) -> Self {
        let mlp = |images, epochs, seeds| Self {
            dataset: DatasetKind::Mnist,
            network: Network::mlp(128),
            images,
            epochs,
            seeds,
            lrs: vec![0.02, 0.05, 0.1],
            rhos: vec![0.05, 0.1, 0.2, 0.5],
        };
        match scale {
            Scale::Smoke => Self { lrs: vec![0.05], rhos: vec![0.05], ..mlp([256, 128, 200], 1, 2) },
            Scale::Cpu => mlp([5000, 5000, 10_000], 20, 5),
            Scale::Paper => Self {
                dataset: DatasetKind::Cifar10,
                network: Network::of(networks::WRN_16_4, None, Norm::Batch),
                lrs: vec![0.1],
                rhos: vec![0.02, 0.05, 0.1, 0.2],
                ..mlp([45_000, 5_000, 10_000], 200, 5)
            },
        }
    }

    fn config(&self, seed: u64, args: &ReproduceArgs) -> TrainConfig {
        TrainConfig {
            options: Values::of([("momentum", 0.9), ("weight-decay", 5e-4)]),
            schedule: ScheduleName::Cosine,
            ..plain_sgd(self.dataset, &self.network, seed, args)
        }
    }
}

/// A method of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
enum Method {
    Sgd,
    SgdTwice,
    Sam,
}

/// A method with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Setting {
    method: Method,
    lr: f64,
    rho: f64,
}

impl Setting {
    fn over(self, config: TrainConfig, epochs: u64) -> TrainConfig {
        let config = config.epochs(Some(epochs)).with_option("lr", self.lr);
        match self.method {
            Method::Sgd => config,
            Method::SgdTwice => config.epochs(Some(2 * epochs)),
            Method::Sam => config.optimizer("sam".parse().unwrap_or_default()).with_option("rho", self.rho),
        }
    }

    fn key(self) -> String {
        match self.method {
            Method::Sgd => format!("sgd-lr{}", self.lr),
            Method::SgdTwice => format!("sgd2-lr{}", self.lr),
            Method::Sam => format!("sam-lr{}-rho{}", self.lr, self.rho),
        }
    }

    fn name(self, epochs: u64) -> String {
        match self.method {
            Method::Sgd => format!("SGD, {epochs} epochs"),
            Method::SgdTwice => format!("SGD, {} epochs", 2 * epochs),
            Method::Sam => format!("SAM, {epochs} epochs, rho {}", self.rho),
        }
    }
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let plan = Plan::of(args.scale);
    let images = Images::load(plan.dataset, args.data_dir.as_deref(), plan.images)?;
    let methods = [Method::Sgd, Method::SgdTwice, Method::Sam];
    let grid = |method| {
        let rhos = if method == Method::Sam { plan.rhos.clone() } else { vec![0.0] };
        let lrs = plan.lrs.clone();
        lrs.into_iter().flat_map(move |lr| rhos.clone().into_iter().map(move |rho| Setting { method, lr, rho }))
    };
    study.plan(methods.into_iter().flat_map(grid).count() + methods.len() * plan.seeds as usize);
    let mut groups = Vec::new();
    let mut trials = Table::new(
        "The settings tried: accuracies in percent, one seed that is not among those compared.",
        &["method", "lr", "train loss", "train acc.", "validation acc.", "chosen"],
    );
    let mut kept = Vec::new();
    for method in methods {
        let mut tried = Vec::new();
        for setting in grid(method) {
            let config = setting.over(plan.config(args.seed + plan.seeds, args), plan.epochs);
            let Some(fit) = cell(study, &format!("search-{}", setting.key()), &config, &images, HeldOut::Validation)?
            else {
                return Ok(None);
            };
            tried.push((setting, fit));
        }
        let setting = best(&tried)?;
        for (tried, fit) in &tried {
            let numbers = fit.end().map_or(["diverged".into(), String::new(), String::new()], |end| {
                [short(end.train_loss), percent(end.train_accuracy), percent(end.held_out_accuracy)]
            });
            let chosen = if *tried == setting { "chosen" } else { "" };
            let first = [tried.name(plan.epochs), tried.lr.to_string()];
            trials.row(first.into_iter().chain(numbers).chain([chosen.to_string()]));
        }
        let mut fits = Vec::new();
        for seed in args.seed..args.seed + plan.seeds {
            let config = measured(setting.over(plan.config(seed, args), plan.epochs), &images, 0);
            let Some(fit) = cell(study, &format!("run-{}-s{seed}", setting.key()), &config, &images, HeldOut::Test)?
            else {
                return Ok(None);
            };
            fits.push(fit);
        }
        kept.push(json!({ "setting": setting, "fits": fits }));
        groups.push(Group { name: setting.name(plan.epochs), lr: setting.lr, fits });
    }
    Ok(Some((page(args.scale, &plan, &groups, trials), json!(kept))))
}

fn page(scale: Scale, plan: &Plan, groups: &[Group], trials: Table) -> Page {
    let mut page = Page::new("SAM beside SGD");
    let [train, validation, test] = plan.images;
    page.text(
        "Sharpness-aware minimisation (Foret et al. 2021, arXiv 2010.01412) costs two gradients a step. So it stands here \
         beside SGD twice: at equal epochs, where SAM has spent twice the gradients, and at equal gradient evaluations, where \
         SGD has trained for twice the epochs. Same recipe for all: momentum 0.9, weight decay 0.0005, batches of 128, \
         cosine schedule; learning rate and rho are chosen for each on validation images.",
    );
    page.text(format!(
        "{}, {}; {train} training, {validation} validation and {test} test images; {} seeds. Intervals are Student's, 95 %; \
         differences are taken seed by seed.",
        plan.dataset, plan.network.name(), plan.seeds
    ));
    if scale == Scale::Smoke {
        page.text("**This is the smoke scale: it shows that everything runs, its numbers mean nothing.**");
    }
    page.table(ends("The ends of the runs, means over the seeds.", groups));
    if let [once, twice, sam] = groups {
        page.table(differences(
            "SAM beside SGD, seed by seed.",
            &[("SAM - SGD, equal epochs", sam, once), ("SAM - SGD, equal evaluations", sam, twice)],
        ));
    }
    page.text(
        "An interval of a difference that reaches over 0 (over 1 for a ratio) shows no difference at this size. trbar is the \
         trace of the training loss's Hessian over the number of parameters; runs that end at different training losses \
         differ in it for that reason too.",
    );
    page.heading("What was tried");
    page.table(trials);
    page
}
