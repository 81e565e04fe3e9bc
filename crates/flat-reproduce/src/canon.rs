//! Every rule beside SGD at equal gradient evaluations: accuracy, flatness, and what the literature says of them.

mod claim;
mod holes;
mod method;
mod run;
mod search;
mod tables;

use crate::args::ReproduceArgs;
use crate::flags::Flags;
use crate::markdown::Page;
use crate::paired::Group;
use crate::recipe::{Scales, Sizes, parts_asked};
use crate::study::Study;
use crate::training::of_seed;
use anyhow::{Context, Result, bail};
use claim::{About, Claim};
use method::Method;
use search::{Search, Trial};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Its sizes, grids, seeds and claims.
pub(crate) const FILE: &str = include_str!("../studies/canon.toml");

/// The study's file.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    about: About,
    flags: Flags,
    cases: Vec<Case>,
    /// The reference first.
    methods: Vec<Method>,
    #[serde(default)]
    left_out: Vec<LeftOut>,
    #[serde(default)]
    claims: Vec<Claim>,
    scales: Scales<Plan>,
}

/// A network with its data and what a run may spend on it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Case {
    /// As cells name it.
    key: String,
    images: Sizes,
    /// Images that the Hessian is of.
    curvature: usize,
    /// Gradient evaluations of a run.
    evals: u64,
    /// Seeds of the search for a method's setting.
    search_seeds: u64,
    flags: Flags,
    /// Flags of single methods, by their keys.
    #[serde(default)]
    own: BTreeMap<String, Flags>,
}

/// Rules that are not compared, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftOut {
    rules: Vec<String>,
    reason: String,
}

/// What the study does at a scale.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Plan {
    seeds: u64,
    /// Of every list of a grid only the first value.
    #[serde(default)]
    first_of_grid: bool,
    /// By their keys.
    cases: Vec<String>,
}

/// A method in a case.
struct Compared<'a> {
    method: &'a Method,
    /// What the search tried, the best first.
    trials: Vec<Trial>,
    /// The runs with the chosen setting; `None` where every setting diverged.
    group: Option<Group>,
}

/// A case with all methods that were compared in it.
struct Outcome<'a> {
    case: &'a Case,
    /// In the order of the file.
    compared: Vec<Compared<'a>>,
}

impl Outcome<'_> {
    /// The runs of a method, by its key.
    fn group(&self, key: &str) -> Option<&Group> {
        self.compared.iter().find(|c| c.method.key == key)?.group.as_ref()
    }
}

impl File {
    /// The cases of a scale.
    fn cases(&self, plan: &Plan) -> Result<Vec<&Case>> {
        let find = |key: &String| {
            self.cases.iter().find(|c| c.key == *key).with_context(|| format!("the study has no case {key}"))
        };
        plan.cases.iter().map(find).collect()
    }
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let mut file: File = study.settings()?;
    let plan = file.scales.at(args.scale)?;
    let cases = parts_asked(file.cases(&plan)?, |case| &case.key, args)?;
    Claim::check(&file)?;
    study.plan(cases.len() * file.methods.len() * (1 + plan.seeds as usize));
    let outcomes = study.all(cases, |study, case| compare(study, args, &file, &plan, case))?;
    let Some(outcomes) = outcomes else { return Ok(None) };
    let verdicts = claim::decide(&file, &outcomes);
    let mut kept = Vec::new();
    for Outcome { case, compared } in &outcomes {
        for Compared { method, trials, group } in compared {
            let fits = group.as_ref().map(|g| &g.fits);
            kept.push(json!({ "case": case.key, "method": method.key, "trials": trials, "fits": fits }));
        }
    }
    let page = holes::page(args.scale, &file, &plan, &outcomes, &verdicts)?;
    Ok(Some((page, json!({ "runs": kept, "claims": verdicts }))))
}

/// Searches each method's setting and runs it with the seeds of the comparison.
fn compare<'a>(
    study: &mut Study<'_>,
    args: &ReproduceArgs,
    file: &'a File,
    plan: &Plan,
    case: &'a Case,
) -> Result<Option<Outcome<'a>>> {
    let mut images = study.images(&case.flags, args, case.images)?;
    images.curvature = case.curvature;
    let of = |study: &mut Study<'_>, method: &'a Method, lr: Option<f64>| {
        let base = method.base(&file.flags, case, lr);
        let search = Search { key: format!("{}-search-{}", case.key, method.key), method, base: &base, case };
        let Some(trials) = search.run(study, args, plan)? else { return Ok(None) };
        let Some(setting) = trials.first().filter(|t| t.val_accuracy.is_some()).map(|t| t.setting.clone()) else {
            return Ok(Some(Compared { method, trials, group: None }));
        };
        let flags = base.under(&setting);
        let rate = Flags::from(flags.config()?.with_effect()?).needed("lr")?;
        let fits = study.all(args.seed..args.seed + plan.seeds, |study, seed| {
            let key = format!("{}-run-{}-s{seed}", case.key, method.key);
            run::run(study, &key, &of_seed(&flags, seed, args), &images)
        })?;
        let group = fits.map(|fits| Group { name: method.with(&setting), lr: rate, fits });
        anyhow::Ok(group.map(|group| Compared { method, trials, group: Some(group) }))
    };
    let (first, others) = file.methods.split_first().context("the study has no method")?;
    // the others take over the first one's learning rate
    let Some(first) = of(study, first, None)? else { return Ok(None) };
    let Some(lr) = first.group.as_ref().map(|group| group.lr) else {
        bail!("{}: every learning rate of {} diverged", case.key, first.method.name);
    };
    let others = study.all(others, |study, method| of(study, method, Some(lr)))?;
    Ok(others.map(|others| Outcome { case, compared: std::iter::once(first).chain(others).collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::parse;
    use crate::scale::Scale;
    use flat_optim::RULES;

    #[test]
    fn every_setting_of_every_scale_makes_a_run() -> Result<()> {
        for scale in [Scale::Smoke, Scale::Cpu] {
            let mut file: File = parse(None, FILE)?;
            let plan = file.scales.at(scale)?;
            Claim::check(&file)?;
            for case in file.cases(&plan)? {
                for method in &file.methods {
                    for setting in method.settings(plan.first_of_grid) {
                        method.base(&file.flags, case, Some(0.05)).under(&setting).config()?;
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn every_rule_of_the_library_is_compared_or_left_out_with_a_reason() -> Result<()> {
        let file: File = parse(None, FILE)?;
        for rule in RULES {
            let compared = file.methods.iter().any(|m| m.flags.text("optimizer") == Some(rule.name));
            let left_out = file.left_out.iter().any(|l| l.rules.iter().any(|r| r == rule.name) && !l.reason.is_empty());
            assert!(compared != left_out, "{}", rule.name);
        }
        Ok(())
    }
}
