//! Checkpoints: weights, optimizer state and the place in the run, in one safetensors file.

use crate::evaluate::Score;
use crate::run_dir::write_whole;
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Where a run stands, besides weights and optimizer state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps done.
    pub step: u64,
    /// Gradient evaluations so far, in mini-batch gradients.
    pub evals: f64,
    /// Steps skipped for a non-finite loss or gradient.
    pub skipped: u64,
    /// The last evaluation on the test set and the step it was made after.
    pub evaluated: Option<(u64, Score)>,
    /// Best test accuracy so far.
    pub best_accuracy: Option<f64>,
    /// Bytes of metrics.jsonl that belong to the steps done.
    pub journal_bytes: u64,
    /// Seconds of training, evaluation and saving so far.
    pub wall_s: f64,
    /// Sum of the losses of the epoch's batches so far, weighted by their sizes.
    pub loss_sum: f64,
    /// Rightly classified images of the epoch so far.
    pub correct: f64,
    /// Images of the epoch so far.
    pub seen: u64,
}

/// A checkpoint read back.
#[derive(Debug)]
pub struct Checkpoint {
    /// Weights and BatchNorm buffers by PyTorch name.
    pub model: BTreeMap<String, Tensor>,
    /// The optimizer's state.
    pub optimizer: BTreeMap<String, Tensor>,
    /// Where the run stood.
    pub progress: Progress,
}

const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";
const PROGRESS: &str = "progress";

impl Checkpoint {
    /// Writes the checkpoint as a whole.
    ///
    /// # Errors
    /// The disk is full; the earlier checkpoints are untouched.
    pub fn write(&self, path: &Path) -> Result<()> {
        let tensors = self
            .model
            .iter()
            .map(|(n, t)| (format!("{MODEL}{n}"), t))
            .chain(self.optimizer.iter().map(|(n, t)| (format!("{OPTIMIZER}{n}"), t)));
        let metadata = HashMap::from([(PROGRESS.to_string(), serde_json::to_string(&self.progress)?)]);
        write_whole(path, &safetensors::serialize(tensors, Some(metadata))?)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// The file is missing, truncated or no checkpoint of this program.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        let read = || -> Result<Self> {
            let bytes = std::fs::read(path)?;
            let (_, header) = SafeTensors::read_metadata(&bytes)?;
            let Some(progress) = header.metadata().as_ref().and_then(|m| m.get(PROGRESS)) else {
                bail!("it holds weights but no place in a run");
            };
            let progress = serde_json::from_str(progress)?;
            let (mut model, mut optimizer) = (BTreeMap::new(), BTreeMap::new());
            for (name, tensor) in candle_core::safetensors::load_buffer(&bytes, device)? {
                if let Some(name) = name.strip_prefix(MODEL) {
                    model.insert(name.to_string(), tensor);
                } else if let Some(name) = name.strip_prefix(OPTIMIZER) {
                    optimizer.insert(name.to_string(), tensor);
                }
            }
            Ok(Self { model, optimizer, progress })
        };
        read().with_context(|| format!("cannot read the checkpoint {}", path.display()))
    }
}

/// The checkpoint files of a run, oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if name.starts_with("step-") && name.ends_with(".safetensors") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// File of the checkpoint after `step` steps.
pub fn file(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("step-{step:010}.safetensors"))
}

/// Deletes all but the newest `keep` checkpoints.
///
/// # Errors
/// The folder cannot be read or written.
pub fn prune(folder: &Path, keep: usize) -> Result<()> {
    let files = list(folder)?;
    for old in &files[..files.len().saturating_sub(keep)] {
        std::fs::remove_file(old).with_context(|| format!("cannot delete {}", old.display()))?;
    }
    Ok(())
}

/// The newest checkpoint that can be read; damaged ones are passed over and named in the second value.
///
/// # Errors
/// The folder cannot be read.
pub fn newest(folder: &Path, device: &Device) -> Result<(Option<Checkpoint>, Vec<anyhow::Error>)> {
    let mut damaged = Vec::new();
    for path in list(folder)?.iter().rev() {
        match Checkpoint::read(path, device) {
            Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
            Err(e) => damaged.push(e),
        }
    }
    Ok((None, damaged))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(step: u64) -> Result<Checkpoint> {
        let t = Tensor::new(&[step as f64], &Device::Cpu)?;
        let progress = Progress { step, loss_sum: 0.1 + 0.2, best_accuracy: Some(1.0 / 3.0), ..Progress::default() };
        Ok(Checkpoint {
            model: BTreeMap::from([("fc.weight".to_string(), t.clone())]),
            optimizer: BTreeMap::from([("momentum".to_string(), t)]),
            progress,
        })
    }

    #[test]
    fn a_checkpoint_reads_back_exactly() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = file(dir.path(), 5);
        checkpoint(5)?.write(&path)?;
        let back = Checkpoint::read(&path, &Device::Cpu)?;
        assert_eq!(back.progress, checkpoint(5)?.progress);
        assert_eq!(back.model["fc.weight"].to_vec1::<f64>()?, [5.0]);
        assert_eq!(back.optimizer["momentum"].to_vec1::<f64>()?, [5.0]);
        Ok(())
    }

    #[test]
    fn a_damaged_checkpoint_is_passed_over_for_the_one_before() -> Result<()> {
        let dir = tempfile::tempdir()?;
        checkpoint(5)?.write(&file(dir.path(), 5))?;
        checkpoint(6)?.write(&file(dir.path(), 6))?;
        let bytes = std::fs::read(file(dir.path(), 6))?;
        std::fs::write(file(dir.path(), 6), &bytes[..bytes.len() - 3])?;
        let (found, damaged) = newest(dir.path(), &Device::Cpu)?;
        assert_eq!(found.map(|c| c.progress.step), Some(5));
        assert_eq!(damaged.len(), 1);
        Ok(())
    }

    #[test]
    fn the_newest_are_kept() -> Result<()> {
        let dir = tempfile::tempdir()?;
        for step in [9, 10, 100] {
            checkpoint(step)?.write(&file(dir.path(), step))?;
        }
        prune(dir.path(), 2)?;
        assert_eq!(list(dir.path())?, [file(dir.path(), 10), file(dir.path(), 100)]);
        Ok(())
    }
}
