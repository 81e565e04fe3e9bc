//! Weights on disk: a run directory, one of its files, or a safetensors file from elsewhere.

use crate::checkpoint::{self, Checkpoint};
use crate::config::TrainConfig;
use crate::setup;
use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use flat_nn::{Model, ModelConfig};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Tensors by PyTorch name, and what is known of where they come from.
pub struct Weights {
    /// The file they were read from.
    pub file: PathBuf,
    /// Parameters and BatchNorm buffers; of a checkpoint with `--ema`, the averaged parameters.
    pub tensors: BTreeMap<String, Tensor>,
    /// The model they belong to, where the file or the run says it.
    pub model: Option<ModelConfig>,
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
            return Ok(Self { file: path.to_path_buf(), tensors: averaged(found), model, run });
        }
        let tensors = candle_core::safetensors::load_buffer(&bytes, device)
            .with_context(|| format!("{} is no readable safetensors file", path.display()))?;
        // a file from elsewhere says nothing of its model
        let model = flat_nn::read_config(path).ok().or_else(|| run.as_ref().map(setup::model_config_of));
        Ok(Self { file: path.to_path_buf(), tensors: tensors.into_iter().collect(), model, run })
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
        let differ = "it differs in --model, --hidden, --channels, --norm or data set";
        model.set_state(&state).with_context(|| format!("{} is of another model ({differ})", self.file.display()))
    }

    /// Element type of the weights.
    pub fn dtype(&self) -> Option<DType> {
        self.tensors.values().map(Tensor::dtype).find(|d| d.is_float())
    }
}

/// A checkpoint's weights, with the averages in place of the parameters where the run kept any.
fn averaged(checkpoint: Checkpoint) -> BTreeMap<String, Tensor> {
    let mut tensors = checkpoint.model;
    for (name, average) in checkpoint.optimizer {
        if let Some(name) = name.strip_prefix("ema.average.")
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
