//! A run directory, read back.

use super::journal::Journal;
use super::measured::Measured;
use super::plot::Plot;
use super::summary::Summary;
use anyhow::{Context, Result, anyhow};
use flat_optim::parse_optimizer;
use std::collections::BTreeMap;
use std::path::Path;

/// A run, finished or not.
#[derive(Debug)]
pub(super) struct Run {
    /// The folder's name, longer where another folder has the same.
    pub name: String,
    /// The folder as it was named.
    pub path: String,
    /// Every setting by its flag's name.
    pub settings: BTreeMap<String, String>,
    /// `config.toml` as it is.
    pub config: String,
    /// Lines along the run.
    pub journal: Journal,
    /// `None` while the run is in progress.
    pub summary: Option<Summary>,
    /// Measurements that lie beside it.
    pub measured: Vec<Measured>,
    /// The plots beside them.
    pub plots: Vec<Plot>,
}

impl Run {
    /// Reads `config.toml`, `metrics.jsonl` and, where it is there, `summary.json`.
    ///
    /// # Errors
    /// A missing or damaged file, which is named.
    pub fn read(folder: &Path, name: String) -> Result<Self> {
        let file = folder.join("config.toml");
        let config = flat_core::file::read_text(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let table: toml::Table =
            config.parse().map_err(|e: toml::de::Error| anyhow!("{} is damaged: {}", file.display(), e.message()))?;
        let text = |value: &toml::Value| match value {
            toml::Value::String(text) => text.clone(),
            // 1e-8, where the other format has 0.00000001
            toml::Value::Float(x) => format!("{x:?}"),
            other => other.to_string(),
        };
        let settings = table.iter().map(|(key, value)| (key.clone(), text(value))).collect();

        let file = folder.join("summary.json");
        let summary: Option<Summary> = match flat_core::file::read(&file, flat_core::file::TEXT) {
            Ok(bytes) => {
                Some(serde_json::from_slice(&bytes).map_err(|e| anyhow!("{} is damaged: {e}", file.display()))?)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", file.display())),
        };
        let journal = Journal::read(&folder.join("metrics.jsonl"), summary.is_none())?;
        let (measured, plots) = (Measured::beside(folder), Plot::beside(folder));
        Ok(Self { name, path: folder.display().to_string(), settings, config, journal, summary, measured, plots })
    }

    /// A setting, where it had an effect.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }

    /// Its rule or its schedule of rules, or its base where that is alone.
    pub fn method(&self) -> &str {
        let rule = self.setting("optimizer").filter(|rule| *rule != "plain");
        self.setting("rule-schedule").or(rule).or(self.setting("base")).unwrap_or("plain")
    }

    /// Whether it is SGD without a rule.
    pub fn is_plain_sgd(&self) -> bool {
        self.method() == "sgd"
    }

    /// Its seed.
    pub fn seed(&self) -> Option<u64> {
        self.setting("seed").and_then(|seed| seed.parse().ok()).or(self.summary.as_ref().map(|s| s.seed))
    }

    /// What it came to, where it took all of its steps and did not diverge.
    pub fn ended(&self) -> Option<&Summary> {
        self.summary.as_ref().filter(|summary| !summary.diverged())
    }

    /// Whether its rule perturbs gradients.
    pub fn perturbs(&self) -> bool {
        let plain = |name| parse_optimizer(name).is_ok_and(|(rule, _)| !rule.perturbs());
        self.setting("optimizer").is_some_and(|name| !plain(name))
    }

    /// The version of the program that wrote the run.
    pub fn version(&self) -> Option<&str> {
        let first = || self.config.lines().next()?.strip_prefix("# flat-train ")?.split_once(':');
        self.summary.as_ref().map(|s| s.version.as_str()).or_else(|| Some(first()?.0))
    }

    /// Test images that an accuracy was counted on: as many as the run names, else 10,000 as in every data set here.
    /// `None` where the accuracy is not a whole number of them.
    pub fn test_images(&self, accuracy: f64) -> Option<f64> {
        let all = 10_000.0f64;
        let n = self.setting("test-limit").and_then(|n| n.parse().ok()).map_or(all, |n: f64| n.min(all));
        let right = accuracy * n;
        ((right - right.round()).abs() < 1e-6 * n && n > 0.0).then_some(n)
    }
}
