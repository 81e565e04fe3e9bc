//! The rules at their defaults beside SGD. Sizes of the perturbation are chosen on validation images of several
//! networks, results are on test images.

mod holes;
mod tried;

use crate::args::ReproduceArgs;
use crate::flags::Flags;
use crate::images::{HeldOut, Images};
use crate::markdown::Page;
use crate::paired::Group;
use crate::recipe::{Scales, Sizes};
use crate::study::Study;
use crate::training::{cell, of_seed};
use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};
use tried::{Beside, Candidate, Tried};

/// Its sizes, grids, seeds and recipes.
pub(crate) const FILE: &str = include_str!("../studies/defaults.toml");

/// The study's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Trace of a rule over that of SGD which its default is to reach.
    goal: f64,
    flags: Flags,
    /// At their defaults, the reference first.
    rules: Vec<Rule>,
    candidates: Vec<Flags>,
    scales: Scales<Plan>,
}

/// A rule at its defaults.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    flags: Flags,
}

impl Rule {
    fn key(&self) -> &str {
        self.flags.text("optimizer").unwrap_or(&self.name)
    }
}

/// A network with its data.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// As cells name it.
    key: String,
    images: Sizes,
    flags: Flags,
}

/// What the study does at a scale.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Plan {
    seeds: u64,
    search_seeds: u64,
    /// Of the candidates only the rules' defaults.
    #[serde(default)]
    defaults_only: bool,
    cases: Vec<Case>,
}

/// All that was found.
struct Found {
    tried: Vec<Tried>,
    /// The rules at their defaults, case by case.
    groups: Vec<Vec<Group>>,
}

impl File {
    /// The sizes that are tried.
    fn candidates(&self, defaults_only: bool) -> Result<Vec<Candidate>> {
        let mut all = Vec::new();
        for flags in self.candidates.iter().flat_map(Flags::combinations) {
            let candidate = Candidate::new(flags)?;
            if !defaults_only || candidate.is_default()? {
                all.push(candidate);
            }
        }
        Ok(all)
    }
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let mut file: File = study.settings()?;
    let plan = file.scales.at(args.scale)?;
    let candidates = file.candidates(plan.defaults_only)?;
    let runs = (1 + candidates.len()) * plan.search_seeds as usize + file.rules.len() * plan.seeds as usize;
    study.plan(plan.cases.len() * runs);
    let images = plan.cases.iter().map(|case| study.images(&case.flags, args, case.images));
    let images: Vec<Images> = images.collect::<Result<_>>()?;
    let group = |study: &mut Study<'_>, at: usize, key: &str, name: &str, over: &Flags, search: bool| {
        let case = &plan.cases[at];
        let (part, seeds, held_out) = match search {
            true => ("search", plan.search_seeds, HeldOut::Validation),
            false => ("run", plan.seeds, HeldOut::Test),
        };
        // the search has seeds of its own
        let first = args.seed + if search { plan.seeds } else { 0 };
        let flags = file.flags.under(&case.flags).under(over);
        let fits = study.all(first..first + seeds, |study, seed| {
            let cell_key = format!("{}-{part}-{key}-s{seed}", case.key);
            cell(study, &cell_key, &of_seed(&flags, seed, args), &images[at], held_out)
        })?;
        let lr = Flags::from(flags.config()?.with_effect()?).needed("lr")?;
        anyhow::Ok(fits.map(|fits| Group { name: name.into(), lr, fits }))
    };
    let cases = 0..plan.cases.len();
    let reference = &file.rules[0];
    let searched = study.all(cases.clone(), |study, at| {
        let sgd = group(study, at, reference.key(), &reference.name, &reference.flags, true)?;
        let beside = study.all(&candidates, |study, candidate| {
            let key = candidate.key();
            group(study, at, &key, &key, &candidate.flags, true)
        })?;
        Ok(sgd.zip(beside))
    })?;
    let groups = study.all(cases, |study, at| {
        study.all(&file.rules, |study, rule| group(study, at, rule.key(), &rule.name, &rule.flags, false))
    })?;
    let (Some(searched), Some(groups)) = (searched, groups) else { return Ok(None) };
    let mut tried: Vec<Tried> = candidates.into_iter().map(Tried::new).collect();
    for (case, (sgd, beside)) in plan.cases.iter().zip(&searched) {
        for (tried, found) in tried.iter_mut().zip(beside) {
            tried.beside.push(Beside::of(found, sgd, case.images[1]));
        }
    }
    let of_case = |case: &Case, g: &Group| json!({ "case": case.key, "rule": g.name, "fits": g.fits });
    let kept: Vec<Value> =
        plan.cases.iter().zip(&groups).flat_map(|(c, groups)| groups.iter().map(move |g| of_case(c, g))).collect();
    let found = Found { tried, groups };
    Ok(Some((holes::page(args.scale, &file, &plan, &found)?, json!(kept))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::parse;
    use crate::scale::Scale;

    #[test]
    fn every_candidate_and_every_rule_of_every_scale_makes_a_run() -> Result<()> {
        for scale in Scale::ALL {
            let mut file: File = parse(None, FILE)?;
            let plan = file.scales.at(scale)?;
            let candidates = file.candidates(plan.defaults_only)?;
            for case in &plan.cases {
                let over = file.rules.iter().map(|rule| &rule.flags).chain(candidates.iter().map(|c| &c.flags));
                for flags in over {
                    file.flags.under(&case.flags).under(flags).config()?;
                }
            }
        }
        Ok(())
    }

    #[test]
    fn the_study_tries_the_default_of_every_rule() -> Result<()> {
        let file: File = parse(None, FILE)?;
        let candidates = file.candidates(true)?;
        for rule in &file.rules[1..] {
            let of_rule = candidates.iter().filter(|c| c.flags.text("optimizer") == Some(rule.key()));
            assert_eq!(of_rule.count(), 1, "{}", rule.name);
        }
        Ok(())
    }
}
