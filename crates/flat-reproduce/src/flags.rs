//! Flags of `flat-train train` as tables: what a study's file holds, laid over one another until they make a run.

use anyhow::{Context, Result};
use flat_core::setting::{Text, Values};
use flat_run::settings::values_of;
use flat_run::value::Every;
use flat_run::{RunConfig, usage};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::fmt::Display;
use std::str::FromStr;
use toml::Value;

/// What the runs of all studies have in common: nothing is measured or kept that a study does not ask for.
const COMMON: &str = include_str!("../studies/run.toml");

/// Flags by their names without dashes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Flags(toml::Table);

impl From<toml::Table> for Flags {
    fn from(flags: toml::Table) -> Self {
        Self(flags)
    }
}

impl Flags {
    /// The same with `other` laid over them.
    pub fn under(&self, other: &Self) -> Self {
        let mut flags = self.0.clone();
        flags.extend(other.0.clone());
        Self(flags)
    }

    /// The same with one flag set.
    pub fn with(&self, name: &str, value: impl Into<Value>) -> Self {
        let mut flags = self.0.clone();
        flags.insert(name.into(), value.into());
        Self(flags)
    }

    /// The same with a count set.
    pub fn count(&self, name: &str, value: u64) -> Self {
        // the flags take no larger ones
        self.with(name, i64::try_from(value).unwrap_or(i64::MAX))
    }

    /// The same without some flags.
    pub fn without(&self, names: &[&str]) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| !names.contains(&name.as_str()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        )
    }

    /// Whether a flag is set.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A flag's words.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A flag's number.
    pub fn number(&self, name: &str) -> Option<f64> {
        let value = self.0.get(name)?;
        value.as_float().or(value.as_integer().map(|n| n as f64))
    }

    /// A flag's number, which the study cannot do without.
    ///
    /// # Errors
    /// It is not set.
    pub fn needed(&self, name: &str) -> Result<f64> {
        self.number(name).ok_or_else(|| usage(format!("the study sets no {name}")))
    }

    /// A flag's words as a value of the library.
    ///
    /// # Errors
    /// It is not set, or is none of the library's.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T> {
        let text = self.text(name).ok_or_else(|| usage(format!("the study sets no {name}")))?;
        text.parse().map_err(|e| usage(format!("{name} = \"{text}\": {e}")))
    }

    /// A flag's list, as in 256, 128.
    pub fn list(&self, name: &str) -> Option<String> {
        let values = self.0.get(name)?.as_array()?;
        Some(values.iter().map(Value::to_string).collect::<Vec<_>>().join(", "))
    }

    /// All of them in words, as in `rho 0.05, sap-examples 8`.
    pub fn words(&self) -> String {
        let word = |(name, value): (&String, &Value)| match value.as_str() {
            Some(text) => format!("{name} {text}"),
            None => format!("{name} {value}"),
        };
        self.0.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The settings of `train` that they and [`COMMON`] are, for a search over some others.
    ///
    /// # Errors
    /// A value of a kind that no flag has.
    pub fn values(&self) -> Result<Values> {
        let common: Self = toml::from_str(COMMON).context("studies/run.toml")?;
        values_of(&common.under(self).0)
    }

    /// The same run with nothing measured along it or at its end.
    pub fn unmeasured(&self) -> Self {
        self.without(&["flatness", "flatness-every", "flatness-examples", "flatness-probes"])
    }

    /// Every combination of the values where a flag has a list of them; the last name varies fastest.
    pub fn combinations(&self) -> Vec<Self> {
        let mut all = vec![Self::default()];
        for (name, value) in &self.0 {
            let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            all = all.iter().flat_map(|flags| values.iter().map(|v| flags.with(name, v.clone()))).collect();
        }
        all
    }

    /// The run that they make.
    ///
    /// # Errors
    /// A usage error that names the flag: unknown, out of range, or without effect.
    pub fn config(&self) -> Result<RunConfig> {
        let common: Self = toml::from_str(COMMON).context("studies/run.toml")?;
        let config = config_of(common.under(self).0)?;
        let effective = config.with_effect()?;
        let ignored = self.0.keys().find(|name| !effective.contains_key(name.as_str()));
        match ignored {
            Some(name) => Err(usage(format!("{name} = {} has no effect in this run of the study", self.0[name]))),
            None => Ok(config),
        }
    }

    /// The run as a cell keeps it: the settings that have an effect, also where they equal a default. Folders are
    /// left out, so that a study may be moved.
    ///
    /// # Errors
    /// As [`Self::config`].
    pub fn kept(&self) -> Result<Json> {
        kept(&self.without(&["data-dir", "init"]).config()?)
    }
}

fn config_of(mut table: toml::Table) -> Result<RunConfig> {
    // a run that is measured at its end alone: the tool has none, it measures along a run
    let at_the_end = table.get("flatness-every").and_then(Value::as_str) == Some("0");
    if at_the_end {
        table.remove("flatness-every");
    }
    let mut config = RunConfig::from_table(&table)?;
    if at_the_end {
        config.flatness_every = Text(Every::Steps(0));
    }
    Ok(config)
}

fn kept(config: &RunConfig) -> Result<Json> {
    // through text, so that numbers compare as they are read back
    Ok(serde_json::from_str(&serde_json::to_string(&config.with_effect()?)?)?)
}

/// A cell's settings with every run in them as [`Flags::kept`] has it: earlier versions kept all settings of a run.
pub(crate) fn normalised(settings: Json) -> Json {
    match settings {
        Json::Array(parts) => Json::Array(parts.into_iter().map(normalised).collect()),
        Json::Object(run) if run.contains_key("optimizer") && run.contains_key("batch-size") => {
            let config = || -> Result<Json> {
                let table: toml::Table = run
                    .iter()
                    .filter(|(_, v)| !v.is_null())
                    .map(|(k, v)| Ok((k.clone(), Value::try_from(v)?)))
                    .collect::<Result<_>>()?;
                kept(&config_of(table)?)
            };
            config().unwrap_or(Json::Object(run.clone()))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(text: &str) -> Flags {
        toml::from_str(text).expect("a table")
    }

    #[test]
    fn lists_are_tried_value_by_value_the_last_name_fastest() {
        let all = flags("lr = [1, 2]\noptimizer = \"sam\"\nrho = [0.1, 0.2]").combinations();
        let pairs: Vec<_> = all.iter().map(|f| (f.number("lr"), f.number("rho"))).collect();
        let of = |lr: f64, rho: f64| (Some(lr), Some(rho));
        assert_eq!(pairs, [of(1.0, 0.1), of(1.0, 0.2), of(2.0, 0.1), of(2.0, 0.2)]);
    }

    #[test]
    fn a_flag_that_the_run_would_ignore_is_an_error_that_names_it() {
        let e = flags("optimizer = \"sgd\"\nrho = 0.1").config().expect_err("no radius").to_string();
        assert!(e.contains("rho"), "{e}");
        assert!(flags("optimizer = \"sam\"\nrho = 0.1").config().is_ok());
    }

    /// A run of RS as version 0.1.0 kept it: every setting, but for those that were not given.
    const WHOLE: &str = r#"{"activation": "relu", "augment": "none", "batch-size": 128, "beta1": 0.9, "beta2": 0.999,
        "checkpoint-every": "0", "dampening": 0.0, "dataset": "mnist", "decoupled": false, "device": "auto", "dtype": "f32",
        "eps": 1e-08, "eps0": null, "eval-every": "0", "flatness": [], "flatness-every": "1ep", "flatness-examples": 1024,
        "flatness-probes": 16, "full-batch": false, "gamma": 0.1, "hidden": [32], "keep-checkpoints": 1, "label-smoothing": 0.0,
        "log-steps": false, "loss": "cross-entropy", "lr": 0.01, "min-lr": 0.0, "min-rho": 0.0, "model": "mlp",
        "momentum": 0.0, "nesterov": false, "no-project": false, "no-shuffle": false, "norm": "batch", "optimizer": "rsp",
        "pairs": 1, "precision": "f32", "rho": 0.1, "rho-schedule": "constant", "rho-warmup": "0", "sap-direction": "sample",
        "sap-examples": 1, "sap-sign": "random", "save-init": false, "schedule": "constant", "seed": 0, "steps": 20,
        "trace-examples": 1024, "trace-probes": 0, "warmup": "0", "weight-decay": 0.0}"#;

    #[test]
    fn a_run_that_an_earlier_version_kept_whole_is_the_same_run() -> Result<()> {
        let run = "dataset = 'mnist'\nmodel = 'mlp'\nhidden = [32]\noptimizer = 'rsp'\nrho = 0.1\nlr = 0.01\nmomentum = 0\n\
                   weight-decay = 0\nschedule = 'constant'\nsteps = 20";
        let whole: Json = serde_json::from_str(WHOLE)?;
        assert_eq!(normalised(serde_json::json!([whole, 7])), serde_json::json!([flags(run).kept()?, 7]));
        assert_ne!(normalised(whole), flags(&run.replace("0.1", "0.2")).kept()?);
        Ok(())
    }
}
