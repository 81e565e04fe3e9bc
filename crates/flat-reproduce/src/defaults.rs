//! The defaults of the rules: sizes of the perturbation chosen on validation images over several networks, then shown
//! beside SGD on test images.

use super::images::Images;
use super::interval::{Mean, percent, short};
use super::network::Network;
use super::paired::{Group, differences, ends};
use super::training::{HeldOut, cell, plain_sgd};
use super::{Page, Scale, Study, Table};
use crate::args::ReproduceArgs;
use anyhow::{Context, Result};
use flat_core::setting::Text;
use flat_data::DatasetKind;
use flat_nn::{Norm, networks};
use flat_optim::{RULES, RuleKind};
use flat_run::settings::choice::FlatnessName;
use flat_run::settings::config::TrainConfig;
use flat_run::value::every::Every;
use serde_json::{Value, json};

/// Trace of a rule over that of SGD which its default is to reach.
const GOAL: f64 = 0.8;

/// A network with its data.
struct Case {
    /// As cells name it.
    key: &'static str,
    dataset: DatasetKind,
    network: Network,
    /// Training, validation and test images.
    images: [usize; 3],
    epochs: u64,
}

/// What the study does at a scale.
struct Plan {
    cases: Vec<Case>,
    candidates: Vec<Candidate>,
    search_seeds: u64,
    seeds: u64,
}

/// A size of a rule's perturbation: rho, or sigma for the isotropic rules.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    rule: RuleKind,
    size: f64,
    /// Examples in a sample of `sap`.
    examples: Option<usize>,
}

impl Candidate {
    /// Whether its size is sigma.
    fn isotropic(self) -> bool {
        self.rule.settings().iter().any(|s| s.name == "sigma")
    }

    fn over(self, config: TrainConfig) -> TrainConfig {
        let size = if self.isotropic() { "sigma" } else { "rho" };
        let config = config.optimizer(self.rule).with_option(size, self.size);
        match self.examples {
            Some(examples) => config.with_option("sap-examples", examples),
            None => config,
        }
    }

    fn name(self) -> String {
        let symbol = if self.isotropic() { "sigma" } else { "rho" };
        let examples = self.examples.map(|n| format!(", {n} examples")).unwrap_or_default();
        format!("{}, {symbol} {}{examples}", self.rule, self.size)
    }

    fn key(self) -> String {
        let examples = self.examples.map(|n| format!("-{n}")).unwrap_or_default();
        format!("{}-{}{examples}", self.rule, self.size)
    }

    /// Whether the library has this size by default.
    fn is_default(self) -> Result<bool> {
        let usual = TrainConfig::default().optimizer(self.rule).filled()?;
        Ok(self.over(usual.clone()) == usual)
    }
}

impl Plan {
    fn of(scale: Scale) -> Self {
        let mlp = Case {
            key: "mlp",
            dataset: DatasetKind::Mnist,
            network: Network::mlp(32),
            images: [256, 128, 200],
            epochs: 1,
        };
        let lenet = Case {
            key: "lenet",
            dataset: DatasetKind::Mnist,
            network: Network::of(networks::LENET, Some(8), Norm::Batch),
            images: [20_000, 5000, 10_000],
            epochs: 3,
        };
        let resnet = Case {
            key: "resnet20",
            dataset: DatasetKind::Cifar10,
            network: Network::of(networks::RESNET20, Some(8), Norm::Batch),
            images: [2000, 2500, 2500],
            epochs: 6,
        };
        let (candidates, search_seeds, seeds) = (candidates(), 1, 5);
        match scale {
            Scale::Smoke => {
                let smoke = |c: &Candidate| c.is_default().unwrap_or_default();
                let candidates = candidates.into_iter().filter(smoke).collect();
                Self { cases: vec![mlp], candidates, search_seeds, seeds: 2 }
            }
            Scale::Cpu => Self { cases: vec![lenet, resnet], candidates, search_seeds, seeds },
            Scale::Paper => {
                let lenet = Case { network: Network::of(networks::LENET, None, Norm::Batch), ..lenet };
                let resnet = Case { network: Network::of(networks::RESNET20, None, Norm::Batch), ..resnet };
                let cases = vec![
                    Case { images: [54_000, 6000, 10_000], ..lenet },
                    Case { images: [45_000, 5000, 10_000], epochs: 60, ..resnet },
                ];
                Self { cases, candidates, search_seeds: 2, seeds }
            }
        }
    }
}

/// The sizes that are tried.
fn candidates() -> Vec<Candidate> {
    let rule = |name: &str| name.parse::<RuleKind>().unwrap_or_default();
    let each = |rule, examples, sizes: &[f64]| {
        sizes.iter().map(move |&size| Candidate { rule, size, examples }).collect::<Vec<_>>()
    };
    let (rhos, sigmas) = ([0.05, 0.1, 0.2], [0.01, 0.02, 0.03, 0.04]);
    [
        each(rule("sam"), None, &rhos),
        each(rule("rsp"), None, &sigmas),
        each(rule("nso"), None, &sigmas),
        each(rule("sap"), Some(8), &[0.1]),
        each(rule("sap"), Some(32), &rhos),
        each(rule("sap"), Some(64), &[0.05]),
        each(rule("sap"), Some(128), &[0.05, 0.1]),
    ]
    .concat()
}

/// What a newcomer's run has, on a network of the study.
fn usual(case: &Case, seed: u64, args: &ReproduceArgs) -> TrainConfig {
    let default = TrainConfig::default();
    TrainConfig {
        epochs: Some(case.epochs),
        options: default.options,
        schedule: default.schedule,
        flatness: vec![FlatnessName::Trace],
        flatness_every: Text(Every::Steps(0)),
        ..plain_sgd(case.dataset, &case.network, seed, args)
    }
}

/// A candidate over the cases, beside SGD.
struct Tried {
    candidate: Candidate,
    /// One a case.
    beside: Vec<Beside>,
}

/// Means over the seeds of a search, of one case.
struct Beside {
    /// Trace over SGD's, the mean of logarithms; infinite where a run diverged.
    log_ratio: f64,
    /// Validation accuracy above SGD's.
    accuracy: f64,
    /// One standard error of SGD's accuracy on that many images.
    std_error: f64,
    train_loss: f64,
}

impl Beside {
    /// `None` where a run diverged.
    fn of(group: &Group, sgd: &Group, images: usize) -> Option<Self> {
        let level = sgd.mean(&|p| Some(p.held_out_accuracy))?.value;
        Some(Self {
            log_ratio: group.log_ratio(sgd)?.value,
            accuracy: group.accuracy_above(sgd)?.value,
            train_loss: group.mean(&|p| Some(p.train_loss))?.value,
            std_error: (level * (1.0 - level) / images as f64).sqrt(),
        })
    }

    fn no_worse(&self) -> bool {
        self.accuracy >= -self.std_error
    }
}

impl Tried {
    /// The mean logarithm of its traces over SGD's; `None` where it is worse than SGD in a case.
    fn score(&self) -> Option<f64> {
        let no_worse = self.beside.iter().all(Beside::no_worse);
        no_worse.then(|| self.beside.iter().map(|b| b.log_ratio).sum::<f64>() / self.beside.len() as f64)
    }
}

/// The rules whose defaults are chosen.
fn rules() -> impl Iterator<Item = RuleKind> {
    RuleKind::all().filter(|rule| rule.perturbs())
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let plan = Plan::of(args.scale);
    let runs = (1 + plan.candidates.len()) * plan.search_seeds as usize + RULES.len() * plan.seeds as usize;
    study.plan(plan.cases.len() * runs);
    let mut tried: Vec<Tried> = plan.candidates.iter().map(|c| Tried { candidate: *c, beside: Vec::new() }).collect();
    let loaded = plan.cases.iter().map(|case| Images::load(case.dataset, args.data_dir.as_deref(), case.images));
    let loaded = loaded.collect::<Result<Vec<_>>>()?;
    let mut group = |at: usize, name: &str, search: bool, over: &dyn Fn(TrainConfig) -> TrainConfig| {
        let case = &plan.cases[at];
        let first = args.seed + if search { plan.seeds } else { 0 };
        let (seeds, held_out) =
            if search { (plan.search_seeds, HeldOut::Validation) } else { (plan.seeds, HeldOut::Test) };
        let lr = usual(case, 0, args).filled()?.number("lr").unwrap_or_default();
        let mut fits = Vec::new();
        for seed in first..first + seeds {
            let config = over(usual(case, seed, args)).filled()?;
            let part = if search { "search" } else { "run" };
            let key = format!("{}-{part}-{name}-s{seed}", case.key);
            let Some(fit) = cell(study, &key, &config, &loaded[at], held_out)? else { return Ok(None) };
            fits.push(fit);
        }
        let name = if name == RuleKind::default().name() { "sgd" } else { name };
        anyhow::Ok(Some(Group { name: name.into(), lr, fits }))
    };
    for (at, case) in plan.cases.iter().enumerate() {
        let Some(sgd) = group(at, RuleKind::default().name(), true, &|c| c)? else { return Ok(None) };
        for tried in &mut tried {
            let candidate = tried.candidate;
            let Some(found) = group(at, &candidate.key(), true, &|c| candidate.over(c))? else { return Ok(None) };
            let lost = Beside { log_ratio: f64::INFINITY, accuracy: -1.0, std_error: 0.0, train_loss: f64::INFINITY };
            tried.beside.push(Beside::of(&found, &sgd, case.images[1]).unwrap_or(lost));
        }
    }
    let mut groups = Vec::new();
    for at in 0..plan.cases.len() {
        let mut of_case = Vec::new();
        for rule in RuleKind::all() {
            let at_default = |c: TrainConfig| c.optimizer(rule);
            let Some(group) = group(at, rule.name(), false, &at_default)? else { return Ok(None) };
            of_case.push(group);
        }
        groups.push(of_case);
    }
    let kept: Vec<Value> = plan
        .cases
        .iter()
        .zip(&groups)
        .flat_map(|(case, groups)| groups.iter().map(|g| json!({ "case": case.key, "rule": g.name, "fits": g.fits })))
        .collect();
    Ok(Some((page(args.scale, &plan, &tried, &groups)?, json!(kept))))
}

fn page(scale: Scale, plan: &Plan, tried: &[Tried], groups: &[Vec<Group>]) -> Result<Page> {
    let mut page = Page::new("The defaults of the rules");
    page.text(
        "What `flat-train train --optimizer NAME` does without another flag: how flat its minima are beside those of `sgd`, \
         whether that costs accuracy, and how the sizes of the perturbations were chosen. All runs have the tool's defaults \
         for everything else: momentum 0.9, learning rate 0.05 with a cosine schedule, batches of 128, no weight decay.",
    );
    for case in &plan.cases {
        let [train, validation, test] = case.images;
        page.text(format!(
            "- {}: {} on {}, {} epochs; {train} training, {validation} validation and {test} test images.",
            case.key,
            case.network.name(),
            case.dataset,
            case.epochs
        ));
    }
    if scale == Scale::Smoke {
        page.text("**This is the smoke scale: it shows that everything runs, its numbers mean nothing.**");
    }
    page.heading("The defaults beside SGD");
    page.text(format!(
        "{} seeds, none of them among those of the search; intervals are Student's, 95 %, differences are taken seed by seed. \
         trbar is the trace of the training loss's Hessian over the number of weights, by 16 probes on the first 1024 training \
         images. The goal is a trace of at most {GOAL} of SGD's, at a test accuracy that is not shown to be worse.",
        plan.seeds
    ));
    let mut verdicts = Table::new(
        format!("Goal: the ratio's whole interval at most {GOAL}, the accuracy's interval not wholly below 0."),
        &["case", "rule", "trbar over SGD's", "test acc. - SGD's, points", "goal"],
    );
    for (case, groups) in plan.cases.iter().zip(groups) {
        page.table(ends(&format!("{}: the ends of the runs, means over the seeds.", case.key), groups));
        let (sgd, rest) = groups.split_first().context("the plain rule comes first")?;
        let pairs: Vec<(&str, &Group, &Group)> = rest.iter().map(|g| (g.name.as_str(), g, sgd)).collect();
        page.table(differences(&format!("{}: beside SGD, seed by seed.", case.key), &pairs));
        for group in rest {
            let (ratio, accuracy) = (group.log_ratio(sgd), group.accuracy_above(sgd));
            let met = match (ratio.and_then(|m| m.ci95), accuracy.and_then(|m| m.ci95)) {
                (Some([_, high]), Some([_, best])) => {
                    if high.exp() <= GOAL && best >= 0.0 {
                        "met"
                    } else {
                        "missed"
                    }
                }
                _ => "missed: a run diverged",
            };
            verdicts.row([
                case.key.to_string(),
                group.name.clone(),
                ratio.map_or("diverged".into(), |m| m.map(f64::exp).text(short)),
                accuracy.map_or("diverged".into(), |m| m.text(percent)),
                met.to_string(),
            ]);
        }
    }
    page.table(verdicts);
    page.text(in_short(plan, groups));
    page.heading("How they were chosen");
    page.text(
        "For each rule the candidate with the smallest mean logarithm of trace over SGD's, among those whose validation accuracy \
         is in every case at least SGD's less one standard error, sqrt(p (1 - p) / n) of n validation images. The radii of `rsp` \
         and `nso` are standard deviations of one weight's displacement, so that they mean the same for every number of weights; \
         those of `sam` and `sap` are lengths along a gradient. Where every candidate is worse than that in some case, the default \
         is the smallest that was tried.",
    );
    let mut columns = vec!["candidate".to_string()];
    for case in &plan.cases {
        columns.extend(["train loss", "trbar ratio", "validation acc., points"].map(|c| format!("{}: {c}", case.key)));
    }
    columns.extend(["no worse", "chosen", "default"].map(String::from));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let seeds = if plan.search_seeds == 1 { "one seed".into() } else { format!("{} seeds", plan.search_seeds) };
    let mut table = Table::new(format!("Candidates beside SGD of the same seed, {seeds}."), &columns);
    for rule in rules() {
        let of_rule = || tried.iter().filter(move |t| t.candidate.rule == rule);
        let best = of_rule().filter_map(|t| Some((t.candidate, t.score()?))).min_by(|a, b| a.1.total_cmp(&b.1));
        for tried in of_rule() {
            let mut row = vec![tried.candidate.name()];
            for beside in &tried.beside {
                row.extend([short(beside.train_loss), short(beside.log_ratio.exp()), percent(beside.accuracy)]);
            }
            let word = |yes: bool, word: &str| if yes { word.to_string() } else { String::new() };
            row.push(word(tried.score().is_some(), "yes"));
            row.push(word(best.is_some_and(|b| b.0 == tried.candidate), "chosen"));
            row.push(word(tried.candidate.is_default()?, "default"));
            table.row(row);
        }
    }
    page.table(table);
    Ok(page)
}

/// Which rules reach the goal in every case: with their whole intervals, and in the mean.
fn in_short(plan: &Plan, groups: &[Vec<Group>]) -> String {
    let ratios = |rule: RuleKind| -> Vec<Option<Mean>> {
        let of = |groups: &Vec<Group>| {
            let sgd = groups.first()?;
            groups.iter().find(|g| g.name == rule.name())?.log_ratio(sgd)
        };
        groups.iter().map(of).collect()
    };
    let reach = |end: &dyn Fn(&Mean) -> Option<f64>| {
        let below = |m: &Option<Mean>| m.as_ref().and_then(end).is_some_and(|x| x.exp() <= GOAL);
        let names: Vec<&str> = rules().filter(|r| ratios(*r).iter().all(below)).map(RuleKind::name).collect();
        if names.is_empty() { "no rule".to_string() } else { names.join(", ") }
    };
    let cases: Vec<&str> = plan.cases.iter().map(|c| c.key).collect();
    format!(
        "In short, a trace of at most {GOAL} of SGD's in every case ({}): with the whole interval {}; in the mean {}.",
        cases.join(", "),
        reach(&|m| m.ci95.map(|[_, high]| high)),
        reach(&|m| Some(m.value))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(log_ratio: f64, accuracy: f64) -> Beside {
        Beside { log_ratio, accuracy, std_error: 0.01, train_loss: 0.1 }
    }

    #[test]
    fn a_candidate_that_is_worse_in_one_case_has_no_score() {
        let candidate = Candidate { rule: rules().next().unwrap_or_default(), size: 0.1, examples: None };
        let score = |beside| Tried { candidate, beside }.score();
        assert_eq!(score(vec![beside(-1.0, 0.0), beside(-2.0, -0.01)]), Some(-1.5));
        assert_eq!(score(vec![beside(-1.0, 0.0), beside(-2.0, -0.011)]), None);
    }

    #[test]
    fn the_study_at_cpu_scale_tries_the_default_of_every_rule() -> Result<()> {
        let plan = Plan::of(Scale::Cpu);
        for rule in rules() {
            let defaults = plan.candidates.iter().filter(|c| c.rule == rule).map(|c| c.is_default());
            let defaults = defaults.collect::<Result<Vec<_>>>()?.into_iter().filter(|is| *is).count();
            assert_eq!(defaults, 1, "{rule}");
        }
        Ok(())
    }
}
