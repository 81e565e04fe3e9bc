//! The fingerprint of a checkpoint: the settings and the data that decide a run's weights.

use crate::settings::config::RunConfig;
use crate::store::file::write_whole;
use crate::usage::usage;
use anyhow::{Context, Result};
use flat_data::Split;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// Settings that decide where a run computes, and what it writes and measures on the way, but not its weights.
const FREE: [&str; 24] = [
    "checkpoint-every",
    "data-dir",
    "device",
    "eval-every",
    "flatness",
    "flatness-every",
    "flatness-examples",
    "flatness-probes",
    "init",
    "keep-checkpoints",
    "log",
    "log-every",
    "log-interval",
    "log-steps",
    "no-test",
    "out",
    "recipe",
    "save-init",
    "target-accuracy",
    "trace-examples",
    "trace-probes",
    "epochs",
    "evals",
    "steps",
];

/// The number of the draws that a step is made with, from 0 in versions that wrote none.
const DRAWS: u32 = 1;

/// Rules whose steps are other ones than they were with draws of an earlier number.
const REDRAWN: [&str; 3] = ["rsp", "nso", "sap"];

/// Settings and data of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Every setting that decides the weights, by its flag's name, but for the length of the run.
    settings: BTreeMap<String, String>,
    /// Optimizer steps of the whole run.
    pub steps: u64,
    /// sha256 of the training and the test images with their labels, after `--train-limit` and `--test-limit`.
    data: BTreeMap<String, String>,
    /// The number of its draws.
    #[serde(default)]
    draws: u32,
}

impl Fingerprint {
    /// Of a run of so many steps on these training and test images.
    ///
    /// # Errors
    /// None in practice.
    pub fn of(config: &RunConfig, [train, test]: [&Split; 2], steps: u64) -> Result<Self> {
        // images of one's own may be moved: their sums and their classes stay
        let moves = |key: &str| key == "dataset" && config.dataset.own().is_some();
        let free = |key: &str| FREE.contains(&key) || moves(key);
        let settings = config.with_effect()?.into_iter().filter(|(key, _)| !free(key));
        let sums = [("training images", train), ("test images", test)];
        Ok(Self {
            settings: settings.map(|(key, value)| (key, value.to_string())).collect(),
            steps,
            data: sums.into_iter().map(|(name, split)| (name.into(), split.sha256())).collect(),
            draws: DRAWS,
        })
    }

    /// Whether it is of sam with micro-batches, of a version whose rule perturbed for each of them.
    fn parted_sam(&self) -> bool {
        let sam = self.settings.get("optimizer").is_some_and(|name| name.contains("sam"));
        sam && self.settings.contains_key("micro-batch") && !self.settings.contains_key("rule-every")
    }

    /// A rule of the run whose steps were other ones when it began.
    fn redrawn(&self, now: &Self) -> Option<&'static str> {
        let rules = || ["optimizer", "rule-schedule"].into_iter().filter_map(|key| self.settings.get(key));
        let has = |rule: &&str| rules().any(|rules| rules.contains(*rule));
        REDRAWN.into_iter().filter(|_| self.draws != now.draws).find(has)
    }

    /// Refuses to go on from a checkpoint of `self` under other settings or on other data.
    ///
    /// # Errors
    /// A usage error that names every key that changed, with both values.
    pub fn check(&self, now: &Self, run: &str) -> Result<()> {
        let mut changed = Vec::new();
        let keys: std::collections::BTreeSet<&String> = self.settings.keys().chain(now.settings.keys()).collect();
        for key in keys {
            let of = |side: &Self| side.settings.get(key).cloned().unwrap_or_else(|| "nothing".into());
            // a setting that was not there when the run began does at its default what was done then
            let new = !self.settings.contains_key(key) && RunConfig::default_of(key).as_ref() == now.settings.get(key);
            if of(self) != of(now) && !new {
                changed.push(format!("{key} was {}, is {}", of(self), of(now)));
            }
        }
        if self.parted_sam() {
            changed.push("micro-batch was m-sharpness for sam when the run began, is accumulation alone: --m has taken its place".into());
        }
        if let Some(rule) = self.redrawn(now) {
            changed.push(format!(
                "{rule} draws other numbers in this version of flat-train than in that which began the run"
            ));
        }
        let other = |(name, sum): (&String, &String)| {
            (now.data.get(name) != Some(sum)).then(|| format!("the {name} are others (sha256)"))
        };
        changed.extend(self.data.iter().filter_map(other));
        if changed.is_empty() {
            return Ok(());
        }
        Err(usage(format!(
            "--resume {run}: its checkpoint is of another run: {}; put back what changed, or start a run of its own with \
             `train --config {run}/config.toml --out NEW`",
            changed.join("; ")
        )))
    }
}

/// The sha256 of the examples of a data set's parts, by names for messages: what a folder of several runs remembers.
pub fn sums(dataset: impl std::fmt::Display, parts: &[(&str, &Split)]) -> BTreeMap<String, String> {
    parts.iter().map(|(part, split)| (format!("{part} images of {dataset}"), split.sha256())).collect()
}

/// Refuses to go on in the folder of a sweep or a study on other data than its runs had. What is new is remembered in
/// `data.json` there.
///
/// # Errors
/// A usage error that names the data that are others; a file that cannot be read or written.
pub fn same_data(root: &Path, now: &BTreeMap<String, String>) -> Result<()> {
    let file = root.join("data.json");
    let mut known: BTreeMap<String, String> = match flat_core::file::read(&file, flat_core::file::TEXT) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged: delete it", file.display()))?
        }
        Err(e) if e.kind() == ErrorKind::NotFound => BTreeMap::new(),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", file.display())),
    };
    let others: Vec<&str> = now
        .iter()
        .filter(|(name, sum)| known.get(*name).is_some_and(|then| then != *sum))
        .map(|(name, _)| name.as_str())
        .collect();
    if !others.is_empty() {
        return Err(usage(format!(
            "--out {}: the {} are others (sha256) than its runs had; put them back, or choose another --out",
            root.display(),
            others.join(" and the ")
        )));
    }
    let before = known.len();
    known.extend(now.clone());
    match known.len() > before {
        true => write_whole(&file, &serde_json::to_vec_pretty(&known)?),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::parse;

    #[test]
    fn a_folder_of_several_runs_is_gone_on_with_on_the_same_data_alone_and_the_error_names_what_changed() -> Result<()>
    {
        let dir = tempfile::tempdir()?;
        let split = |label| Split::new(vec![0; 2], vec![0, label], [1, 1, 1], 2);
        let (a, b) = (split(0)?, split(1)?);
        same_data(dir.path(), &sums("mnist", &[("training", &a), ("test", &b)]))?;
        same_data(dir.path(), &sums("mnist", &[("training", &a)]))?;
        same_data(dir.path(), &sums("cifar10", &[("training", &b)]))?;
        for (now, named) in [
            (sums("mnist", &[("training", &b), ("test", &b)]), "training images of mnist"),
            (sums("mnist", &[("test", &a)]), "test images of mnist"),
            (sums("cifar10", &[("training", &a)]), "training images of cifar10"),
        ] {
            let text = same_data(dir.path(), &now).expect_err(named).to_string();
            assert!(text.contains(&format!("the {named} are others")), "{text}");
        }
        same_data(dir.path(), &sums("mnist", &[("training", &a), ("test", &b)]))
    }

    fn of(flags: &str) -> Result<Fingerprint> {
        let split = Split::new(vec![0; 2], vec![0, 1], [1, 1, 1], 2)?;
        Fingerprint::of(&parse(flags)?, [&split, &split], 10)
    }

    #[test]
    fn a_run_from_before_a_setting_was_there_goes_on_at_its_default_alone() -> Result<()> {
        for (flags, key, other) in
            [("--optimizer sam", "rule-every", "--rule-every 3"), ("--optimizer sam", "perturb", "--perturb weights")]
        {
            let mut before = of(flags)?;
            assert!(before.settings.remove(key).is_some(), "{key} is among the settings");
            before.check(&of(flags)?, "run")?;
            let text = before.check(&of(&format!("{flags} {other}"))?, "run").expect_err(key).to_string();
            assert!(text.contains(&format!("{key} was nothing, is ")), "{text}");
        }
        Ok(())
    }

    #[test]
    fn a_run_of_earlier_draws_is_gone_on_with_where_its_rule_draws_none_of_them() -> Result<()> {
        for (flags, refused) in [
            ("--optimizer rsp", true),
            ("--rule-schedule plain:0-1,nso:1-2", true),
            ("--optimizer sam", false),
            ("--optimizer lpf", false),
        ] {
            let now = of(flags)?;
            now.check(&now, "run")?;
            let mut before = serde_json::to_value(&now)?;
            before.as_object_mut().context("an object")?.remove("draws");
            let checked = serde_json::from_value::<Fingerprint>(before)?.check(&now, "run");
            assert_eq!(
                checked.as_ref().is_err_and(|e| e.to_string().contains("draws other numbers")),
                refused,
                "{flags}"
            );
            assert_eq!(checked.is_err(), refused, "{flags}");
        }
        Ok(())
    }

    #[test]
    fn micro_batches_of_sam_that_were_m_sharpness_are_not_gone_on_with() -> Result<()> {
        let now = of("--optimizer sam --micro-batch 8")?;
        now.check(&now, "run")?;
        let mut before = now.clone();
        before.settings.remove("rule-every");
        assert!(before.check(&now, "run").expect_err("another rule").to_string().contains("--m has taken its place"));
        Ok(())
    }
}
