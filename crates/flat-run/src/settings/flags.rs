//! The flags of a command, made of its settings. `train` also has the options of every rule and base, once each.

use super::args::EvalArgs;
use super::config::{HEADINGS, RunConfig};
use crate::usage::{BadFlag, no_effect};
use anyhow::Result;
use flat_core::setting::{Setting, Settings, Values, in_words};
use flat_optim::{BASES, RULES};

/// A flag, and who has it.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The setting; of an option that several have, the first one's.
    pub setting: Setting,
    /// The group that it is listed with.
    pub heading: &'static str,
    /// The rules or bases that have it as an option, with their defaults in words; none for a setting of the run itself.
    pub owners: Vec<(&'static str, Option<String>)>,
}

/// The flag of a setting that nobody else has.
impl From<Setting> for Flag {
    fn from(setting: Setting) -> Self {
        Self { setting, heading: "", owners: Vec::new() }
    }
}

/// The group of the flags that say which checkpoint is looked at, and on what data.
const CHECKPOINT: &str = "Checkpoint and data";

/// Settings that a command takes as flags.
pub trait Flags: Settings {
    /// Its flags, in the order of help; those that say what is looked at are a group.
    fn flags() -> Vec<Flag> {
        let on: Vec<&str> = EvalArgs::settings().iter().map(|setting| setting.name).collect();
        let flag = |setting: Setting| Flag {
            heading: if on.contains(&setting.name) { CHECKPOINT } else { "" },
            ..Flag::from(setting)
        };
        Self::settings().into_iter().map(flag).collect()
    }
}

/// The settings that these flags give, with defaults for the others.
///
/// # Errors
/// A usage error: a value of another kind or out of range, a flag that has no effect beside the others.
pub fn given<S: Settings>(flags: &Values) -> Result<S> {
    let made = S::of(flags).map_err(BadFlag::from)?;
    match made.without_effect(flags) {
        Some((name, needs)) => Err(no_effect(name, &needs)),
        None => Ok(made),
    }
}

impl Flags for EvalArgs {}

impl Flags for RunConfig {
    fn flags() -> Vec<Flag> {
        flags()
    }
}

impl Flag {
    /// What it means, whose it is, and its default.
    pub fn help(&self) -> String {
        let text = self.setting.help.trim_end_matches('.');
        let names: Vec<&str> = self.owners.iter().map(|(name, _)| *name).collect();
        let whose = if names.is_empty() { String::new() } else { format!("{}: ", names.join(", ")) };
        let given: Vec<(&str, &String)> =
            self.owners.iter().filter_map(|(name, default)| Some((*name, default.as_ref()?))).collect();
        let default = match given.first() {
            None => self.setting.default_text().filter(|_| self.owners.is_empty()),
            Some((_, first)) if given.iter().all(|(_, default)| default == first) => Some((*first).clone()),
            Some(_) => Some(given.iter().map(|(name, d)| format!("{name} {d}")).collect::<Vec<_>>().join(", ")),
        };
        let default = default.map_or(String::new(), |d| format!(" [default: {d}]"));
        format!("{whose}{text}{default}.")
    }
}

/// Options by name: of whom, and what.
fn options() -> impl Iterator<Item = (&'static str, Setting)> {
    let rules = RULES.iter().flat_map(|rule| rule.settings().into_iter().map(|s| (rule.name, s)));
    let bases = BASES.iter().flat_map(|base| base.settings().into_iter().map(|s| (base.name, s)));
    bases.chain(rules)
}

/// The option of some rule or base.
pub(super) fn option(name: &str) -> Option<Setting> {
    options().map(|(_, setting)| setting).find(|setting| setting.name == name)
}

/// The flag that picks a rule or base that has the option.
pub(super) fn owners(name: &str) -> Option<String> {
    let of = |all: Vec<&'static str>, flag: &str| (!all.is_empty()).then(|| format!("--{flag} {}", in_words(&all)));
    let has = |settings: Vec<Setting>| settings.iter().any(|s| s.name == name);
    let rules = RULES.iter().filter(|r| has(r.settings())).map(|r| r.name).collect();
    let bases = BASES.iter().filter(|b| has(b.settings())).map(|b| b.name).collect();
    of(rules, "optimizer").or_else(|| of(bases, "base"))
}

/// Every flag, in the order of help.
pub fn flags() -> Vec<Flag> {
    let mut all: Vec<Flag> = Vec::new();
    let mut heading = "";
    for setting in RunConfig::settings() {
        if let Some((_, next)) = HEADINGS.iter().find(|(first, _)| *first == setting.name) {
            heading = next;
        }
        let last = setting.name == "base";
        all.push(Flag { setting, heading, owners: Vec::new() });
        if last {
            all.extend(option_flags(heading));
        }
    }
    all
}

/// The options of all rules and bases, each once.
fn option_flags(heading: &'static str) -> Vec<Flag> {
    let mut all: Vec<Flag> = Vec::new();
    let own = RunConfig::settings();
    for (owner, setting) in options().filter(|(_, s)| own.iter().all(|o| o.name != s.name)) {
        let default = setting.default_text();
        match all.iter_mut().find(|flag| flag.setting.name == setting.name) {
            Some(flag) => flag.owners.push((owner, default)),
            None => all.push(Flag { setting, heading, owners: vec![(owner, default)] }),
        }
    }
    for (rule, (name, default)) in RULES.iter().flat_map(|rule| rule.over_sgd.iter().map(move |over| (rule, over))) {
        if let Some(flag) = all.iter_mut().find(|flag| flag.setting.name == *name) {
            flag.owners.push((rule.name, Some(default.to_string())));
        }
    }
    all
}
