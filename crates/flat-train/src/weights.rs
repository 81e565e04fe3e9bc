//! Weights on disk: a run directory, one of its files, or a safetensors file from elsewhere.

use crate::checkpoint::{self, Checkpoint};
use crate::config::TrainConfig;
use crate::pixels;
use crate::setup;
use crate::statistics;
use crate::wrapped::unwrapped;
use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use flat_data::Normalisation;
use flat_nn::{Model, ModelConfig};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a checkpoint calls the averages of the parameters.
const AVERAGE: &str = "ema.average.";

/// Tensors by PyTorch name, and what is known of where they come from.
pub struct Weights {
    /// The file they were read from.
    pub file: PathBuf,
    /// Parameters and BatchNorm buffers; of a checkpoint with `--ema`, the averaged parameters.
    pub tensors: BTreeMap<String, Tensor>,
    /// The model they belong to, where the file or the run says it.
    pub model: Option<ModelConfig>,
    /// Whether the parameters are an average to which the buffers do not belong.
    averaged: bool,
    /// The normalisation of the pixels they were trained on, where the file or the run says it.
    pub pixels: Option<Normalisation>,
    /// The configuration of the run they are of.
    pub run: Option<TrainConfig>,
}

impl Weights {
    /// Reads what `path` names.
    ///
    /// # Errors
    /// No such file, a damaged file, a run without weights.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        if path.is_dir() {
            return Self::of_run(path, device);
        }
        let run = run_of(path)?;
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        if let Ok(found) = Checkpoint::parse(&bytes, device) {
            let model = run.as_ref().map(setup::model_config_of);
            let averaged = found.optimizer.keys().any(|name| name.starts_with(AVERAGE)) && found.progress.step > 0;
            let averaged = averaged && found.model.keys().any(|name| name.ends_with("running_var"));
            let pixels = run.as_ref().map(pixels::of_run).transpose()?;
            return Ok(Self { file: path.to_path_buf(), tensors: with_averages(found), model, averaged, pixels, run });
        }
        let tensors = candle_core::safetensors::load_buffer(&bytes, device)
            .with_context(|| format!("{} is no readable safetensors file", path.display()))?;
        // a file from elsewhere says nothing of its model
        let model = flat_nn::read_config(path).ok().or_else(|| run.as_ref().map(setup::model_config_of));
        let pixels = match flat_nn::read_metadata(path).ok().and_then(|said| pixels::from_metadata(&said)) {
            Some(said) => Some(said),
            None => run.as_ref().map(pixels::of_run).transpose()?,
        };
        let tensors = tensors.into_iter().collect();
        Ok(Self { file: path.to_path_buf(), tensors, model, averaged: false, pixels, run })
    }

    fn of_run(root: &Path, device: &Device) -> Result<Self> {
        let config = root.join("config.toml");
        if !config.is_file() {
            bail!("{} is no run directory (config.toml is missing)", root.display());
        }
        let (model, best) = (root.join("model.safetensors"), root.join("checkpoints/best.safetensors"));
        let steps = checkpoint::list(&root.join("checkpoints"))?;
        let Some(file) = [model].into_iter().chain(steps.into_iter().rev()).chain([best]).find(|f| f.is_file()) else {
            bail!("{}: the run has written no weights yet", root.display());
        };
        let mut found = Self::read(&file, device)?;
        found.run = Some(TrainConfig::read(&config)?);
        Ok(found)
    }

    /// Puts the weights into a model, converted to its element type.
    ///
    /// # Errors
    /// Weights of another model.
    pub fn load_into(&self, model: &Model) -> Result<()> {
        let dtype = model.params().space().dtype;
        let convert =
            |t: &Tensor| if t.dtype().is_float() && t.dtype() != dtype { t.to_dtype(dtype) } else { Ok(t.clone()) };
        let state = self
            .tensors
            .iter()
            .map(|(name, t)| Ok((name.clone(), convert(t)?)))
            .collect::<candle_core::Result<BTreeMap<_, _>>>()?;
        for (name, tensor) in state.iter().filter(|(_, t)| t.dtype().is_float()) {
            if !tensor.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?.is_finite() {
                bail!("{}: {name} holds values that are not finite", self.file.display());
            }
        }
        let differ = "it differs in --model, --hidden, --channels, --norm or data set";
        let other = || format!("{} is of another model ({differ})", self.file.display());
        let state = unwrapped(&state, &model.state()?).with_context(other)?;
        model.set_state(&state).with_context(other)?;
        if self.averaged {
            // the checkpoint's statistics are those of the raw weights
            let run =
                self.run.as_ref().with_context(|| format!("{}: its run has no config.toml", self.file.display()))?;
            let train = setup::split(run.dataset.0, run.data_dir.as_deref(), true, run.train_limit)?;
            let device = &model.params().space().device;
            let train = setup::plain_loader(train, pixels::of_run(run)?, setup::EVAL_BATCH, dtype, device)?;
            if !statistics::refresh(model, &train)? {
                return Err(flat_metrics::Error::Interrupted.into());
            }
        }
        Ok(())
    }

    /// Element type of the weights.
    pub fn dtype(&self) -> Option<DType> {
        self.tensors.values().map(Tensor::dtype).find(|d| d.is_float())
    }
}

/// A checkpoint's weights, with the averages in place of the parameters where the run kept any.
fn with_averages(checkpoint: Checkpoint) -> BTreeMap<String, Tensor> {
    let mut tensors = checkpoint.model;
    for (name, average) in checkpoint.optimizer {
        if let Some(name) = name.strip_prefix(AVERAGE)
            && checkpoint.progress.step > 0
        {
            tensors.insert(name.to_string(), average);
        }
    }
    tensors
}

/// The configuration of the run that a file lies in.
fn run_of(file: &Path) -> Result<Option<TrainConfig>> {
    let parent = file.parent().unwrap_or(Path::new(""));
    let root = if parent.ends_with("checkpoints") { parent.parent().unwrap_or(Path::new("")) } else { parent };
    let config = root.join("config.toml");
    if config.is_file() { TrainConfig::read(&config).map(Some) } else { Ok(None) }
}
