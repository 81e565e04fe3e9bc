//! Builds data, model, loss and optimizer from a configuration.

use super::paid;
use crate::device::Opened;
use crate::settings::choice::LossName;
use crate::settings::config::RunConfig;
use crate::settings::{own, pixels};
use crate::usage::usage;
use anyhow::{Context, Result};
use candle_core::{DType, Device};
use flat_core::Streams;
use flat_core::setting::Value;
use flat_data::{Dataset, DatasetKind, Loader, LoaderOptions, Normalisation, Split};
use flat_nn::{Arch, Loss, Model, ModelConfig};
use flat_optim::{LESS_BIASED, Need};
use std::path::PathBuf;
use std::sync::Arc;

/// Images a batch where nothing is trained: decides speed alone.
pub const EVAL_BATCH: usize = 256;

/// The device of a run, set to its precision.
///
/// # Errors
/// A missing device, a precision that it does not have.
pub fn open(config: &RunConfig) -> Result<Opened> {
    let opened = Opened::new(*config.device)?;
    config.precision.set(&opened.device).map_err(|e| usage(format!("--precision {}: {e}", config.precision)))?;
    Ok(opened)
}

/// The data of a run.
#[derive(Debug)]
pub struct Data {
    /// The folder it was read from.
    pub dir: PathBuf,
    /// Training batches, shuffled and augmented.
    pub train: Loader,
    /// The less biased batches of gerne.
    pub less_biased: Option<Loader>,
    /// Batches that a step sees.
    pub batches_per_step: u64,
    /// The training images as they are.
    pub train_plain: Loader,
    /// The test images.
    pub test: Loader,
    /// The training images held out by `--validation`.
    pub validation: Option<Loader>,
    /// The training images that flatness is measured on at the end.
    pub flatness: Loader,
    /// The training images that flatness is measured on along the run.
    pub along: Loader,
}

impl Data {
    /// Training and test images.
    pub fn splits(&self) -> [&Split; 2] {
        [self.train.split(), self.test.split()]
    }
}

/// Loads the data of a run.
///
/// # Errors
/// Missing or damaged files.
pub fn data(config: &RunConfig, device: &Device) -> Result<Data> {
    let (train, test, dir) = whole(config)?;
    let (train, test) = (limited(&train, config.train_limit)?, limited(&test, config.test_limit)?);
    data_of(config, train, test, dir, device)
}

/// All training and test images of a configuration, and where they come from.
fn whole(config: &RunConfig) -> Result<(Arc<Split>, Arc<Split>, PathBuf)> {
    let Some(kind) = config.dataset.known() else {
        let own = own::images(config)?.context("--dataset: no images")?;
        return Ok((own.train.clone(), own.test.clone(), own.path.clone()));
    };
    let files = flat_data::locate(kind, config.data_dir.as_deref())?;
    let Dataset { train, test, .. } = Dataset::read(kind, &files)?;
    Ok((Arc::new(train), Arc::new(test), files.dir))
}

/// The data of a run on these images of `config.dataset`, whole; `dir` is where they come from.
///
/// # Errors
/// A batch size of 0.
pub fn data_of(config: &RunConfig, train: Arc<Split>, test: Arc<Split>, dir: PathBuf, device: &Device) -> Result<Data> {
    let dtype = config.dtype.dtype();
    // a rule that asks for a less biased sampler has a biased one of its own
    let draws = config.rules().iter().any(|rule| rule.asks_for(Need::Source(LESS_BIASED)));
    let values = config.all_values();
    let second = match values.get("gerne-c").filter(|_| draws) {
        Some(Value::Number(c)) => Some(*c),
        Some(Value::Count(c)) => Some(*c as f64),
        _ => None,
    };
    let batches_per_step = match config.rules()[..] {
        [rule] => config.rule_of(rule, &values)?.batches().into(),
        // rules that see several batches stand alone
        _ => 1,
    };
    let (train, held) = validated(config, train)?;
    let options = LoaderOptions {
        batch_size: config.batch_size,
        shuffle: !config.no_shuffle,
        augment: config.augment.0,
        balance: if second.is_some() { Some(0.0) } else { config.sampler.balance() },
        ..LoaderOptions::default()
    };
    let streams = Streams::new(config.seed);
    let pixels = pixels::of_run(config)?;
    let loader = Loader::new(train.clone(), pixels.clone(), options, streams, dtype, device.clone())?;
    let part = |split: Arc<Split>| plain_loader(split, pixels.clone(), EVAL_BATCH, dtype, device);
    Ok(Data {
        dir,
        train_plain: train_plain(&loader)?,
        less_biased: second
            .map(|c| loader.beside(LoaderOptions { balance: Some(c), ..options }, streams))
            .transpose()?,
        batches_per_step,
        train: loader,
        flatness: part(limited(&train, Some(config.trace_examples))?)?,
        along: part(limited(&train, Some(config.flatness_examples))?)?,
        test: part(test)?,
        validation: held.map(part).transpose()?,
    })
}

/// The images that a run trains on: the first `--train-limit`, without those of `--validation`.
///
/// # Errors
/// Missing or damaged files.
pub(super) fn training(config: &RunConfig) -> Result<Arc<Split>> {
    Ok(validated(config, split(config, true, config.train_limit)?)?.0)
}

/// The training images that are left, and those held out by `--validation`.
fn validated(config: &RunConfig, train: Arc<Split>) -> Result<(Arc<Split>, Option<Arc<Split>>)> {
    let Some(n) = config.validation else { return Ok((train, None)) };
    if n >= train.len() {
        return Err(usage(format!(
            "--validation {n}: only {} training images are in use; hold out fewer",
            train.len()
        )));
    }
    let (rest, held) = flat_data::hold_out(&train, n, &Streams::new(config.validation_seed))?;
    Ok((Arc::new(rest), Some(Arc::new(held))))
}

/// The training images as they are, which on another device than the CPU lie there once.
fn train_plain(train: &Loader) -> Result<Loader> {
    let options = LoaderOptions { batch_size: EVAL_BATCH, shuffle: false, ..LoaderOptions::default() };
    Ok(train.beside(options, Streams::new(0))?)
}

pub(super) fn limited(split: &Arc<Split>, limit: Option<usize>) -> Result<Arc<Split>> {
    Ok(match limit {
        Some(n) if n < split.len() => Arc::new(split.take(n)?),
        _ => split.clone(),
    })
}

/// The training or test part of the data set of a configuration, its first images where a limit is given.
///
/// # Errors
/// Missing or damaged files.
pub fn split(config: &RunConfig, train: bool, limit: Option<usize>) -> Result<Arc<Split>> {
    let (of_train, of_test, _) = whole(config)?;
    limited(if train { &of_train } else { &of_test }, limit)
}

/// Batches in file order without augmentation.
///
/// # Errors
/// None in practice.
pub fn plain_loader(
    split: Arc<Split>,
    pixels: Normalisation,
    batch_size: usize,
    dtype: DType,
    device: &Device,
) -> Result<Loader> {
    let options = LoaderOptions { batch_size, shuffle: false, ..LoaderOptions::default() };
    Ok(Loader::new(split, pixels, options, Streams::new(0), dtype, device.clone())?)
}

/// The model of a configuration.
pub fn model_config_of(config: &RunConfig) -> ModelConfig {
    ModelConfig {
        hidden: if config.model.takes("hidden") { config.hidden.clone() } else { Vec::new() },
        channels: config.channels,
        groups: config.groups,
        activation: config.activation,
        norm: config.norm,
        stem: config.stem,
        patch: config.patch,
        ..usual_model(config.model, config.shape(), config.classes())
    }
}

/// The default model of an architecture for a data set.
pub fn model_config(arch: Arch, dataset: DatasetKind) -> ModelConfig {
    usual_model(arch, dataset.shape(), dataset.classes)
}

/// The default model of an architecture for images of this shape (channels, height, width) and number of classes.
pub(super) fn usual_model(arch: Arch, [in_channels, height, width]: [usize; 3], classes: usize) -> ModelConfig {
    let default = RunConfig::default();
    ModelConfig {
        arch,
        in_channels,
        height,
        width,
        classes,
        hidden: if arch.takes("hidden") { default.hidden } else { Vec::new() },
        activation: default.activation,
        norm: default.norm,
        ..ModelConfig::default()
    }
}

/// The model with its seeded initial weights.
///
/// # Errors
/// A model that the data does not fit.
pub fn model(config: &RunConfig, device: &Device) -> Result<Model> {
    let model = Model::new(&model_config_of(config), config.dtype.dtype(), device, &Streams::new(config.seed));
    model.map_err(|e| unusable(config, e))
}

/// A network that the flags or the data do not fit, as a usage error; other errors as they are.
pub(super) fn unusable(config: &RunConfig, error: flat_nn::Error) -> anyhow::Error {
    match error {
        flat_nn::Error::BadConfig(why) => usage(format!("--model {}: {why}", config.model)),
        other => other.into(),
    }
}

/// The training loss.
pub fn loss(config: &RunConfig) -> Loss {
    loss_of(config.loss, config.label_smoothing)
}

/// A loss by its settings.
pub fn loss_of(name: LossName, label_smoothing: f64) -> Loss {
    match name {
        LossName::CrossEntropy => Loss::CrossEntropy { label_smoothing },
        LossName::Mse => Loss::Mse,
    }
}

/// Optimizer steps an epoch: as many as see every image once, or up to a step more where a step sees several batches.
pub fn steps_per_epoch(config: &RunConfig, data: &Data) -> u64 {
    if config.full_batch { 1 } else { (data.train.batches_per_epoch() as u64).div_ceil(data.batches_per_step) }
}

/// Optimizer steps of the whole run.
pub fn total_steps(config: &RunConfig, steps_per_epoch: u64) -> u64 {
    // what a rule costs is known once its options are checked
    let paid = |evals: u64| paid::steps(config, evals, steps_per_epoch).unwrap_or(0);
    let steps = config.steps.or(config.evals.map(paid));
    steps.or(config.epochs.map(|epochs| epochs.in_steps(steps_per_epoch))).unwrap_or_default()
}
