//! The resolved configuration of a run: every flag with its value, checked, written to `config.toml` and read back from
//! there bit for bit.

use crate::device::DeviceChoice;
use crate::settings::choice::Float;
use crate::settings::choice::{FlatnessName, LossName, NormalizeName, SapDirection, SapSign, ScheduleName};
use crate::usage::usage;
use crate::value::every::Every;
use crate::value::text::Text;
use anyhow::{Context, Result};
use flat_data::{Augment, DatasetKind};
use flat_nn::{Activation, Arch, Norm, Precision};
use flat_optim::{BaseKind, NsoConfig, Radius, RspConfig, RuleKind, SamConfig, SapConfig};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything that decides a run. Field names are the flags' names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[allow(missing_docs)] // the flags of the same names are documented in `crate::settings::args::TrainArgs`
pub struct TrainConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    pub seed: u64,
    pub device: Text<DeviceChoice>,
    pub dtype: Float,
    pub precision: Text<Precision>,
    pub eval_every: Text<Every>,
    pub checkpoint_every: Text<Every>,
    pub keep_checkpoints: usize,
    pub log_steps: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_every: Option<usize>,

    pub dataset: Text<DatasetKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_limit: Option<usize>,
    pub batch_size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<NormalizeName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f64>>,
    pub augment: Text<Augment>,
    pub no_shuffle: bool,

    pub model: Text<Arch>,
    pub hidden: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    pub activation: Text<Activation>,
    pub norm: Text<Norm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    pub save_init: bool,
    pub loss: LossName,
    pub label_smoothing: f64,

    pub optimizer: Text<RuleKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Text<BaseKind>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_lr: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rho: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    pub pairs: usize,
    pub eps0: f64,
    pub no_project: bool,
    pub sap_direction: SapDirection,
    pub sap_sign: SapSign,
    pub sap_examples: usize,
    pub full_batch: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    pub momentum: f64,
    pub dampening: f64,
    pub nesterov: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    pub decoupled: bool,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,

    pub schedule: ScheduleName,
    pub warmup: Text<Every>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_size: Option<Text<Every>>,
    pub gamma: f64,
    pub min_lr: f64,
    pub rho_schedule: ScheduleName,
    pub rho_warmup: Text<Every>,
    pub min_rho: f64,

    pub trace_probes: u64,
    pub trace_examples: usize,
    pub flatness: Vec<FlatnessName>,
    pub flatness_every: Text<Every>,
    pub flatness_examples: usize,
    pub flatness_probes: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: None,
            steps: None,
            seed: 0,
            device: Text(DeviceChoice::Auto),
            dtype: Float::F32,
            precision: Text(Precision::F32),
            eval_every: Text(Every::Epochs(1)),
            checkpoint_every: Text(Every::Epochs(1)),
            keep_checkpoints: 2,
            log_steps: false,
            log_every: None,
            dataset: Text(DatasetKind::Mnist),
            data_dir: None,
            train_limit: None,
            test_limit: None,
            batch_size: 128,
            normalize: None,
            mean: None,
            std: None,
            augment: Text(Augment::default()),
            no_shuffle: false,
            model: Text(Arch::LeNet),
            hidden: vec![256],
            channels: None,
            activation: Text(Activation::Relu),
            norm: Text(Norm::Batch),
            groups: None,
            init: None,
            save_init: false,
            loss: LossName::CrossEntropy,
            label_smoothing: 0.0,
            optimizer: Text(RuleKind::Plain),
            base: None,
            lr: None,
            plain_lr: None,
            rho: None,
            sigma: None,
            pairs: NsoConfig::default().k,
            eps0: f64::INFINITY,
            no_project: false,
            sap_direction: SapDirection::Sample,
            sap_sign: SapSign::Random,
            sap_examples: SapConfig::default().examples,
            full_batch: false,
            micro_batch: None,
            momentum: 0.9,
            dampening: 0.0,
            nesterov: false,
            weight_decay: None,
            decoupled: false,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            clip: None,
            ema: None,
            schedule: ScheduleName::Cosine,
            warmup: Text(Every::Steps(0)),
            step_size: None,
            gamma: 0.1,
            min_lr: 0.0,
            rho_schedule: ScheduleName::Constant,
            rho_warmup: Text(Every::Steps(0)),
            min_rho: 0.0,
            trace_probes: 16,
            trace_examples: 1024,
            flatness: Vec::new(),
            flatness_every: Text(Every::Epochs(1)),
            flatness_examples: 1024,
            flatness_probes: 16,
        }
    }
}

impl TrainConfig {
    /// Reads the configuration that a run wrote.
    ///
    /// # Errors
    /// An unreadable or damaged file.
    pub fn read(path: &Path) -> Result<Self> {
        let mut config = Self::of_table(split_optimizer(read_table(path)?, "")?, &path.display().to_string())?;
        config.fill()?;
        config.check().with_context(|| path.display().to_string())?;
        Ok(config)
    }

    pub(super) fn of_table(table: toml::Table, source: &str) -> Result<Self> {
        // a table of one entry at a time, because the error of a whole table does not say which entry it is of
        for (key, value) in &table {
            let one = toml::Table::from_iter([(key.clone(), value.clone())]);
            if let Err(e) = one.try_into::<Self>() {
                return Err(usage(format!("{source}: {key} = {value}: {}", e.message())));
            }
        }
        table.try_into().map_err(|e: toml::de::Error| usage(format!("{source}: {}", e.message())))
    }

    /// The configuration as TOML, without what has no effect.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_toml(&self) -> Result<String> {
        Ok(format!(
            "# flat-train {}: re-run with `flat-train train --config THIS_FILE`\n{}",
            env!("CARGO_PKG_VERSION"),
            toml::to_string(&self.with_effect()?)?
        ))
    }

    /// The settings by their flags' names, without what has no effect.
    ///
    /// # Errors
    /// None in practice.
    pub fn with_effect(&self) -> Result<toml::Table> {
        Ok(toml::Table::try_from(self)?.into_iter().filter(|(key, _)| self.needs(key).is_none()).collect())
    }

    /// Steps between two reads of losses and accuracies: `--log-every`, or 1 on the CPU, where a read is free.
    pub fn steps_between_reads(&self, device: &candle_core::Device) -> usize {
        self.log_every.unwrap_or(if device.is_cpu() { 1 } else { 50 })
    }

    /// Base optimizer.
    pub fn base(&self) -> BaseKind {
        self.base.map_or(BaseKind::Sgd, |b| b.0)
    }

    /// The rule's name as `--optimizer` takes it; a plain rule goes by its base's.
    pub fn optimizer_name(&self) -> String {
        match self.optimizer.0 {
            RuleKind::Plain => self.base().to_string(),
            rule => rule.to_string(),
        }
    }

    /// The same with everything filled in that depends on other fields.
    ///
    /// # Errors
    /// A working directory that is gone.
    pub fn filled(mut self) -> Result<Self> {
        self.fill()?;
        Ok(self)
    }

    /// Fills what depends on other fields or on the working directory, so that `config.toml` says everything that was used.
    pub(super) fn fill(&mut self) -> Result<()> {
        if self.steps.is_none() {
            self.epochs.get_or_insert(2);
        }
        let base = self.base.get_or_insert(Text(BaseKind::Sgd)).0;
        let usual = if base == BaseKind::Sgd { 0.05 } else { 1e-3 };
        self.lr.get_or_insert(usual);
        self.weight_decay.get_or_insert(if base == BaseKind::Sgd { 0.0 } else { 0.01 });
        let (rho, sigma) = match self.optimizer.0 {
            RuleKind::Plain => (None, None),
            RuleKind::Sam => (Some(SamConfig::default().rho), None),
            RuleKind::Sap => (Some(SapConfig::default().rho), None),
            RuleKind::Nso => (None, Some(NsoConfig::default().sigma)),
            RuleKind::Rsp if self.rho.is_some() || self.sigma.is_some() => (None, None),
            RuleKind::Rsp => match RspConfig::default().rho {
                Radius::Length(rho) => (Some(rho), None),
                Radius::PerWeight(sigma) => (None, Some(sigma)),
            },
        };
        if self.mean.is_none() && self.std.is_none() {
            self.normalize.get_or_insert(NormalizeName::Dataset);
        }
        (self.rho, self.sigma) = (self.rho.or(rho), self.sigma.or(sigma));
        for path in [&mut self.data_dir, &mut self.init].into_iter().flatten() {
            *path = std::path::absolute(&*path)?;
        }
        Ok(())
    }
}

pub(super) fn read_table(path: &Path) -> Result<toml::Table> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().map_err(|e: toml::de::Error| usage(format!("{}: {e}", path.display())))
}

/// `optimizer = "adamw"` means the plain rule over that base.
pub(super) fn split_optimizer(mut table: toml::Table, dashes: &str) -> Result<toml::Table> {
    let Some(name) = table.get("optimizer").and_then(|v| v.as_str()).map(str::to_string) else { return Ok(table) };
    let (rule, base) = flat_optim::parse_optimizer(&name).map_err(|e| usage(format!("{dashes}{e}")))?;
    if let Some(base) = base {
        if table.get("base").and_then(|v| v.as_str()).is_some_and(|b| b != base.name()) {
            let message = format!("{dashes}optimizer {name} contradicts {dashes}base: use plain over that base");
            return Err(usage(message));
        }
        table.insert("base".into(), base.name().into());
    }
    table.insert("optimizer".into(), rule.name().into());
    Ok(table)
}
