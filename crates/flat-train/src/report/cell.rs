//! Cells: the runs that differ in nothing but their seed.

use super::run::Run;
use flat_run::settings::{Flag, flags};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// The setting that a cell is taken over.
const SEED: &str = "seed";

/// The runs of one combination of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// Its rule, or its base where it has none, with the settings that tell it from other cells of that rule.
    pub name: String,
    /// Places of its runs in the list of all runs.
    pub runs: Vec<usize>,
}

/// The cells in the order of their first runs.
pub(super) fn cells(runs: &[Run]) -> Vec<Cell> {
    let mut groups: Vec<(BTreeMap<&str, &str>, Vec<usize>)> = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        let own = run.settings.iter().filter(|(key, _)| *key != SEED);
        let own: BTreeMap<&str, &str> = own.map(|(key, value)| (key.as_str(), value.as_str())).collect();
        match groups.iter_mut().find(|(settings, _)| *settings == own) {
            Some((_, members)) => members.push(i),
            None => groups.push((own, vec![i])),
        }
    }
    let firsts: Vec<&Run> = groups.iter().map(|(_, members)| &runs[members[0]]).collect();
    let name = |run: &Run| {
        let alike: Vec<&Run> = firsts.iter().copied().filter(|other| other.method() == run.method()).collect();
        let more = differing(&alike).into_iter().filter_map(|key| Some(format!(" {key}={}", run.setting(key)?)));
        let more: String = more.collect();
        match more.is_empty() && alike.len() > 1 {
            // the cell that lacks a setting which the others of its rule have
            true => format!("{} plain", run.method()),
            false => format!("{}{more}", run.method()),
        }
    };
    let names: Vec<String> = firsts.iter().map(|run| name(run)).collect();
    names.into_iter().zip(groups).map(|(name, (_, runs))| Cell { name, runs }).collect()
}

/// The settings that somebody varied: those whose values differ, but for the seed and what follows from the rule. A setting
/// that only some of the runs take, all of them at its default, follows from their rules.
pub(super) fn varied<'a>(runs: &[&'a Run]) -> Vec<&'a str> {
    let follows = |key: &str| {
        runs.iter().any(|run| run.setting(key).is_none()) && runs.iter().all(|run| is_default(run, key).unwrap_or(true))
    };
    differing(runs).into_iter().filter(|key| !follows(key)).collect()
}

/// Whether a setting is at its default, which may be that of the run's rule or base; `None` where the run does not
/// take it.
fn is_default(run: &Run, key: &str) -> Option<bool> {
    static FLAGS: LazyLock<Vec<Flag>> = LazyLock::new(flags);
    let value = run.setting(key)?;
    let Some(flag) = FLAGS.iter().find(|flag| flag.setting.name == key) else { return Some(false) };
    let own = |rule: &str| flag.owners.iter().rev().find(|(owner, _)| *owner == rule)?.1.clone();
    let default = match flag.owners.is_empty() {
        true => flag.setting.default_text(),
        false => run.setting("optimizer").and_then(own).or_else(|| run.setting("base").and_then(own)),
    };
    let number = |text: &str| text.parse::<f64>().ok();
    Some(default.is_some_and(|d| d == value || number(&d).is_some_and(|x| number(value) == Some(x))))
}

/// The settings whose values are not the same in all of the runs, but for the seed.
fn differing<'a>(runs: &[&'a Run]) -> Vec<&'a str> {
    let keys: BTreeSet<&str> = runs.iter().flat_map(|run| run.settings.keys().map(String::as_str)).collect();
    let differs = |key: &&str| *key != SEED && runs.iter().any(|run| run.setting(key) != runs[0].setting(key));
    keys.into_iter().filter(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::*;

    fn run(settings: &str) -> Run {
        let settings = settings.split_whitespace().filter_map(|pair| pair.split_once('='));
        Run {
            name: String::new(),
            path: String::new(),
            settings: settings.map(|(key, value)| (key.into(), value.into())).collect(),
            config: String::new(),
            journal: Journal::default(),
            summary: None,
            measured: Vec::new(),
            plots: Vec::new(),
        }
    }

    fn found(runs: &[&str]) -> Vec<(String, Vec<usize>)> {
        let runs: Vec<Run> = runs.iter().map(|settings| run(settings)).collect();
        cells(&runs).into_iter().map(|cell| (cell.name, cell.runs)).collect()
    }

    #[test]
    fn runs_that_differ_in_the_seed_alone_are_one_cell() {
        let [a, b] = ["optimizer=sam lr=0.1 rho=0.05 seed=0", "optimizer=plain base=sgd lr=0.1 seed=0"];
        let more = ["optimizer=sam lr=0.1 rho=0.05 seed=7", "optimizer=plain base=sgd lr=0.1 seed=1"];
        let expected = [("sam".to_string(), vec![0, 2]), ("sgd".to_string(), vec![1, 3])];
        assert_eq!(found(&[a, b, more[0], more[1]]), expected);
    }

    #[test]
    fn what_follows_from_the_rule_was_not_varied() {
        let found = |runs: &[&str]| {
            let runs: Vec<Run> = runs.iter().map(|settings| run(settings)).collect();
            varied(&runs.iter().collect::<Vec<_>>()).into_iter().map(String::from).collect::<Vec<_>>()
        };
        let sgd = "optimizer=plain base=sgd lr=0.1 seed=0";
        assert_eq!(found(&[sgd, "optimizer=sam base=sgd lr=0.1 seed=1 perturb=all rule-every=1"]), ["optimizer"]);
        let every = ["optimizer", "perturb", "rule-every"];
        assert_eq!(found(&[sgd, "optimizer=sam base=sgd lr=0.1 perturb=norm rule-every=2"]), every);
        // rho is 0.05 for sam and 0.5 for asam
        let (sam, asam) = ("optimizer=sam lr=0.1 rho=0.05", "optimizer=asam lr=0.1 rho=0.5");
        assert_eq!(found(&[sgd, sam, asam]), ["optimizer"]);
        assert_eq!(found(&[sgd, sam, "optimizer=asam lr=0.1 rho=0.05"]), ["optimizer", "rho"]);
    }

    #[test]
    fn a_name_holds_what_tells_its_cell_from_others_of_its_rule() {
        let all = ["optimizer=sam rho=0.05 lr=0.1", "optimizer=sam rho=0.1 lr=0.1", "optimizer=gsam rho=0.05 lr=0.2"];
        let names: Vec<String> = found(&all).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["sam rho=0.05", "sam rho=0.1", "gsam"]);
        let names: Vec<String> = found(&["optimizer=sam", "optimizer=sam m=32"]).into_iter().map(|c| c.0).collect();
        assert_eq!(names, ["sam plain", "sam m=32"]);
    }
}
