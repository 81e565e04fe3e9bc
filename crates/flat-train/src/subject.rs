//! What a checkpoint argument stands for: a run directory, one of its files, or a safetensors file from elsewhere.

use crate::args::{EvalArgs, SplitName};
use crate::checkpoint::{self, Checkpoint};
use crate::config::TrainConfig;
use crate::exit::usage;
use crate::setup;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use flat_core::Streams;
use flat_data::{DatasetKind, Loader};
use flat_nn::{Loss, Model, ModelConfig};
use std::collections::BTreeMap;
use std::path::Path;

/// A model with weights, and the data to look at it with.
pub struct Subject {
    /// The model.
    pub model: Model,
    /// The data.
    pub data: Loader,
    /// The loss.
    pub loss: Loss,
    /// The data set.
    pub dataset: DatasetKind,
}

impl Subject {
    /// Loads what `args` name.
    ///
    /// # Errors
    /// A missing or damaged file, a model that cannot be told, data that does not fit it.
    pub fn load(args: &EvalArgs) -> Result<Self> {
        let device = args.device.open()?;
        let dtype = args.dtype.dtype();
        let (weights, found, run) = read(&args.checkpoint, &device)?;
        let dataset = match (args.dataset, &run) {
            (Some(d), _) => d.0,
            (None, Some(run)) => run.dataset.0,
            (None, None) => return Err(usage("--dataset: a file by itself does not say its data set; name it")),
        };
        let config = match (args.model, found) {
            (Some(arch), _) => setup::model_config(
                arch.0,
                args.hidden.clone(),
                args.activation.map(|a| a.0),
                args.norm.map(|n| n.0),
                dataset,
            ),
            (None, Some(config)) => config,
            (None, None) => {
                return Err(usage(format!(
                    "{}: the file does not say which model it holds; add --model (and --hidden, --norm)",
                    args.checkpoint.display()
                )));
            }
        };
        let model = Model::new(&config, dtype, &device, &Streams::new(0))?;
        let weights = weights
            .into_iter()
            .map(|(name, t)| Ok((name, if t.dtype().is_float() { t.to_dtype(dtype)? } else { t })))
            .collect::<candle_core::Result<BTreeMap<_, _>>>()?;
        model.set_state(&weights).with_context(|| format!("{} does not fit", args.checkpoint.display()))?;
        let limit = args.limit.map(|n| n.max(1));
        let split = setup::split(dataset, args.data_dir.as_deref(), args.split == SplitName::Train, limit)?;
        let data = setup::plain_loader(split, dataset, args.batch_size as usize, dtype, &device)?;
        let loss = setup::loss_of(args.loss, args.label_smoothing);
        Ok(Self { model, data, loss, dataset })
    }
}

type Weights = BTreeMap<String, Tensor>;

/// Weights, the model they belong to where the file or run says it, and the run's configuration where there is one.
fn read(path: &Path, device: &Device) -> Result<(Weights, Option<ModelConfig>, Option<TrainConfig>)> {
    if path.is_dir() {
        let config = TrainConfig::read(&path.join("config.toml"))
            .with_context(|| format!("{} is no run directory", path.display()))?;
        let model = path.join("model.safetensors");
        let weights = if model.is_file() {
            plain_file(&model, device)?.0
        } else {
            let (found, damaged) = checkpoint::newest(&path.join("checkpoints"), device)?;
            match (found, damaged.into_iter().next()) {
                (Some(found), _) => found.model,
                (None, Some(e)) => return Err(e),
                (None, None) => anyhow::bail!("{}: the run has written no weights yet", path.display()),
            }
        };
        return Ok((weights, Some(setup::model_config_of(&config)), Some(config)));
    }
    let run = [path.parent(), path.parent().and_then(Path::parent)]
        .into_iter()
        .flatten()
        .map(|dir| dir.join("config.toml"))
        .find(|file| file.is_file());
    let run = run.and_then(|file| TrainConfig::read(&file).ok());
    if let Ok(found) = Checkpoint::read(path, device) {
        return Ok((found.model, run.as_ref().map(setup::model_config_of), run));
    }
    let (weights, config) = plain_file(path, device)?;
    Ok((weights, config.or_else(|| run.as_ref().map(setup::model_config_of)), run))
}

fn plain_file(path: &Path, device: &Device) -> Result<(Weights, Option<ModelConfig>)> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let weights = candle_core::safetensors::load_buffer(&bytes, device)
        .with_context(|| format!("{} is no readable safetensors file", path.display()))?;
    // a file from elsewhere says nothing of its model
    let config = flat_nn::read_config(path).ok();
    Ok((weights.into_iter().collect(), config))
}

impl crate::args::Float {
    /// The candle element type.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        }
    }
}

impl std::fmt::Display for crate::args::Float {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}
