//! Checkpoints: safetensors files with PyTorch's names.

use crate::{Error, Model, ModelConfig, Result, TensorFile};
use candle_core::Device;
use std::collections::BTreeMap;
use std::path::Path;

impl Model {
    /// Writes all parameters and buffers, with `metadata` and the model's own configuration (`arch`, `hidden`, ...) in
    /// the header; see [`TensorFile`].
    ///
    /// The file is written beside its place and then renamed, so that no half-written file is ever found there.
    ///
    /// # Errors
    /// [`Error::Io`]; candle's.
    pub fn save(&self, path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
        let mut metadata = metadata.clone();
        match self.config() {
            Some(config) => metadata.extend(config.to_metadata()),
            None => drop(metadata.insert("arch".into(), self.name())),
        }
        TensorFile::new(self.state()?, metadata).write(path)
    }

    /// Sets all parameters and buffers from a checkpoint; on error the model is unchanged.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Checkpoint`] for anything but a whole and undamaged safetensors file, and for tensors that are
    /// missing, unexpected, of another shape, or not finite.
    pub fn load(&self, path: &Path) -> Result<()> {
        let bad = |reason: String| Error::Checkpoint { path: path.to_path_buf(), reason };
        let file = TensorFile::read(path, &Device::Cpu)?;
        self.set_state(&file.tensors).map_err(|e| match e {
            e @ Error::NotFinite { .. } => bad(e.to_string()),
            Error::BadState(reason) => bad(format!(
                "{reason}: it belongs to another model (arch, hidden, channels, norm, classes or image size differ) or is damaged"
            )),
            e => e,
        })
    }
}

/// The metadata of a checkpoint's header.
///
/// # Errors
/// As [`TensorFile::read`].
pub fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    Ok(TensorFile::read(path, &Device::Cpu)?.metadata)
}

/// The configuration of the model in a checkpoint that [`Model::save`] wrote.
///
/// # Errors
/// As [`read_metadata`], and [`Error::Checkpoint`] where the header lacks a field.
pub fn read_config(path: &Path) -> Result<ModelConfig> {
    let metadata = read_metadata(path)?;
    ModelConfig::from_metadata(|k| metadata.get(k).map(String::as_str)).map_err(|e| Error::Checkpoint {
        path: path.to_path_buf(),
        reason: format!("its header does not say which model it is ({e}): give the model on the command line"),
    })
}
