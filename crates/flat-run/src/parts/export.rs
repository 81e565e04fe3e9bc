//! Weights for other programs: a state dict that PyTorch loads strictly.

use super::weights::Weights;
use crate::settings::args::EvalArgs;
use crate::settings::flags::Flags;
use crate::usage::usage;
use anyhow::{Context, Result};
use candle_core::{DType, Device};
use flat_core::Streams;
use flat_core::setting::Text;
use flat_nn::{Model, ModelConfig, TensorFile, WeightsFile};
use serde::Serialize;
use std::path::{Path, PathBuf};

flat_core::settings! {
    /// Weights to write for other programs, and where to.
    #[derive(Debug, Clone)]
    pub struct ExportArgs {
        checkpoint as "checkpoint" of EvalArgs: PathBuf = PathBuf::new(), required: true;
        /// The file to write: .pt or .pth as torch.save does, or .safetensors.
        out as "out": PathBuf = PathBuf::new(), required: true, metavar: "FILE";
        prefix as "prefix" of EvalArgs: Option<Text<String>> = None;
    }
}

impl Flags for ExportArgs {}

/// What was written.
#[derive(Debug, Serialize)]
pub struct Exported {
    /// The file.
    pub file: String,
    /// The network.
    pub model: String,
    /// Tensors in it: parameters, running statistics and their counters.
    pub tensors: usize,
    /// What is to be known of the file that was read.
    pub note: Option<String>,
}

impl ExportArgs {
    /// Writes the weights of a checkpoint under the names that PyTorch's networks give them. They are those that the run was
    /// evaluated at, an average where it has one.
    ///
    /// # Errors
    /// A file name of no known ending; a missing or damaged checkpoint; a network that cannot be told.
    pub fn write(&self) -> Result<Exported> {
        let torch = is_torch(&self.out)?;
        let weights = Weights::read(&self.checkpoint, &Device::Cpu)?;
        let weights = match &self.prefix {
            Some(prefix) => weights.under(&prefix.0)?,
            None => weights,
        };
        let config = match &weights.model {
            Some(config) => config.clone(),
            None => {
                ModelConfig::detect(&weights.tensors, None)
                    .with_context(|| format!("{}: the file does not say which model it holds", weights.file.display()))?
                    .config
            }
        };
        let dtype = weights.dtype().filter(|dtype| *dtype == DType::F64).unwrap_or(DType::F32);
        let model = Model::new(&config, dtype, &Device::Cpu, &Streams::new(0))?;
        let note = weights.load_into(&model, None)?;
        let state = model.state()?;
        let tensors = state.len();
        match torch {
            true => WeightsFile::write_torch(&state, &self.out)?,
            false => TensorFile::new(state, [("format".to_string(), "pt".to_string())].into()).write(&self.out)?,
        }
        Ok(Exported { file: self.out.display().to_string(), model: model.name(), tensors, note })
    }
}

/// Whether a file's name asks for PyTorch's archive rather than safetensors.
fn is_torch(out: &Path) -> Result<bool> {
    match out.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("pt" | "pth" | "bin") => Ok(true),
        Some("safetensors") => Ok(false),
        _ => Err(usage(format!("--out {}: give a name that ends in .pt, .pth, .bin or .safetensors", out.display()))),
    }
}

impl Exported {
    /// For a person, with the line of Python that loads it.
    pub fn text(&self) -> String {
        let load = match self.file.ends_with(".safetensors") {
            true => format!("safetensors.torch.load_file({:?})", self.file),
            false => format!("torch.load({:?})", self.file),
        };
        let note = self.note.as_ref().map(|note| format!("\nnote: {note}")).unwrap_or_default();
        format!("{}: {} tensors of {}; net.load_state_dict({load}){note}", self.file, self.tensors, self.model)
    }
}
