//! Checkpoints: weights, optimizer state and the place in the run, in one safetensors file.

use crate::parts::group_score::GroupScore;
use crate::store::fingerprint::Fingerprint;
use crate::usage::Usage;
use crate::value::exact;
use anyhow::{Context, Result, anyhow, bail};
use candle_core::{Device, Tensor};
use flat_nn::TensorFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a run stands, besides weights and optimizer state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps done.
    pub step: u64,
    /// Gradient evaluations so far, in mini-batch gradients.
    #[serde(with = "exact")]
    pub evals: f64,
    /// Steps skipped for a non-finite loss or gradient.
    pub skipped: u64,
    /// Steps whose gradient was perturbed; `None` where an earlier version counted none.
    #[serde(default)]
    pub perturbed: Option<u64>,
    /// The last evaluation on the test set, or on the images held out by `--validation`.
    pub evaluated: Option<Evaluation>,
    /// Steps done when flatness was last measured along the run.
    #[serde(default)]
    pub measured: Option<u64>,
    /// Loss of the last step's batch in training mode; NaN before the first, and where an earlier version kept none.
    #[serde(with = "exact", default = "unknown")]
    pub last_loss: f64,
    /// Best accuracy of these evaluations so far.
    #[serde(with = "exact")]
    pub best_accuracy: f64,
    /// Bytes of metrics.jsonl that belong to the steps done.
    pub journal_bytes: u64,
    /// Seconds of training, evaluation and saving so far.
    #[serde(with = "exact")]
    pub wall_s: f64,
    /// Seconds in steps so far, without evaluation and saving; from 0 on where an earlier version counted none.
    #[serde(with = "exact", default)]
    pub train_s: f64,
    /// The epoch so far.
    pub epoch: Epoch,
    /// Where the run was made longer.
    #[serde(default)]
    pub extended: Vec<Extension>,
}

/// A change of a run's length under way. Before it the schedules are those of the old length, after it those of the
/// new one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Extension {
    /// Optimizer steps done by then.
    pub step: u64,
    /// Steps of the whole run before.
    pub from: u64,
    /// Steps of the whole run since.
    pub to: u64,
}

impl Progress {
    /// The beginning of a run.
    pub fn begin() -> Self {
        Self { perturbed: Some(0), last_loss: unknown(), ..Self::default() }
    }
}

fn unknown() -> f64 {
    f64::NAN
}

/// An evaluation on images that are not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Optimizer steps done by then.
    pub step: u64,
    /// Mean loss.
    #[serde(with = "exact")]
    pub loss: f64,
    /// Accuracy in 0..1.
    #[serde(with = "exact")]
    pub accuracy: f64,
    /// Accuracies over groups, where the data has a spurious attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupScore>,
}

/// What the steps of the present epoch add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Sum of the losses, weighted by the sizes of the batches.
    #[serde(with = "exact")]
    pub loss_sum: f64,
    /// Rightly classified images.
    #[serde(with = "exact")]
    pub correct: f64,
    /// Images, without those of skipped steps.
    pub seen: u64,
    /// Seconds in steps.
    #[serde(with = "exact")]
    pub seconds: f64,
}

impl Epoch {
    /// Mean loss; `None` before the first step.
    pub fn loss(&self) -> Option<f64> {
        (self.seen > 0).then(|| self.loss_sum / self.seen as f64)
    }

    /// Accuracy in 0..1; `None` before the first step.
    pub fn accuracy(&self) -> Option<f64> {
        (self.seen > 0).then(|| self.correct / self.seen as f64)
    }

    /// Images a second; `None` before the first step.
    pub fn samples_per_s(&self) -> Option<f64> {
        (self.seen > 0 && self.seconds > 0.0).then(|| self.seen as f64 / self.seconds)
    }
}

/// What a checkpoint has of an agent of a network.
#[derive(Debug, Clone, Default)]
pub struct AgentState {
    /// Its weights and BatchNorm buffers by PyTorch name.
    pub model: BTreeMap<String, Tensor>,
    /// Its optimizer's state.
    pub optimizer: BTreeMap<String, Tensor>,
}

/// A checkpoint read back.
#[derive(Debug)]
pub struct Checkpoint {
    /// Weights and BatchNorm buffers by PyTorch name.
    pub model: BTreeMap<String, Tensor>,
    /// The optimizer's state.
    pub optimizer: BTreeMap<String, Tensor>,
    /// The agents of a run with a network. `model` is their mean then, and `optimizer` what belongs to no agent.
    pub agents: Vec<AgentState>,
    /// Where the run stood.
    pub progress: Progress,
    /// What it is a checkpoint of; `None` where an earlier version did not say.
    pub fingerprint: Option<Fingerprint>,
    /// Whether it was read by its checksum; an earlier version wrote none.
    pub checked: bool,
}

const AGENT: &str = "agent.";
const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";
const PROGRESS: &str = "progress";
const FINGERPRINT: &str = "fingerprint";

impl Checkpoint {
    /// Writes the checkpoint as a whole.
    ///
    /// # Errors
    /// The disk is full; the earlier checkpoints are untouched.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut tensors = BTreeMap::new();
        let mut put = |whose: String, model: &BTreeMap<String, Tensor>, optimizer: &BTreeMap<String, Tensor>| {
            for (prefix, part) in [(MODEL, model), (OPTIMIZER, optimizer)] {
                let named = |(name, tensor): (&String, &Tensor)| (format!("{whose}{prefix}{name}"), tensor.clone());
                tensors.extend(part.iter().map(named));
            }
        };
        put(String::new(), &self.model, &self.optimizer);
        self.agents.iter().enumerate().for_each(|(k, of)| put(format!("{AGENT}{k:02}."), &of.model, &of.optimizer));
        let mut metadata = BTreeMap::from([(PROGRESS.to_string(), serde_json::to_string(&self.progress)?)]);
        if let Some(fingerprint) = &self.fingerprint {
            metadata.insert(FINGERPRINT.into(), serde_json::to_string(fingerprint)?);
        }
        TensorFile::new(tensors, metadata).write(path).context("cannot write a checkpoint")
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// The file is missing, damaged or no checkpoint of this program.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        let read = || {
            let checkpoint = Self::of(TensorFile::read(path, device)?)?;
            checkpoint.ok_or_else(|| anyhow!("it holds weights but no place in a run"))
        };
        read().with_context(|| format!("cannot read the checkpoint {}", path.display()))
    }

    /// The checkpoint in a file; `None` where the file is none, but for example weights alone.
    ///
    /// # Errors
    /// A place in a run that does not parse; weights or state that are not finite.
    pub fn of(file: TensorFile) -> Result<Option<Self>> {
        let Some(progress) = file.metadata.get(PROGRESS) else { return Ok(None) };
        let progress = serde_json::from_str(progress).context("its place in the run is damaged")?;
        let fingerprint = file.metadata.get(FINGERPRINT).map(|text| serde_json::from_str(text)).transpose()?;
        // under `None` what belongs to no agent
        let mut parts: BTreeMap<Option<usize>, AgentState> = BTreeMap::new();
        for (full, tensor) in file.tensors {
            let of_agent = full.strip_prefix(AGENT).and_then(|rest| rest.split_once('.'));
            let of_agent = of_agent.and_then(|(k, name)| Some((k.parse().ok()?, name)));
            let (whose, name) = of_agent.map_or((None, &full[..]), |(k, name)| (Some(k), name));
            let part = parts.entry(whose).or_default();
            if let Some(name) = name.strip_prefix(MODEL) {
                part.model.insert(name.to_string(), tensor);
            } else if let Some(name) = name.strip_prefix(OPTIMIZER) {
                part.optimizer.insert(name.to_string(), tensor);
            }
        }
        let AgentState { model, optimizer } = parts.remove(&None).unwrap_or_default();
        let agents = parts.into_values().collect();
        let checkpoint = Self { model, optimizer, agents, progress, fingerprint, checked: file.checked };
        match checkpoint.flaw()? {
            Some(flaw) => bail!(flaw),
            None => Ok(Some(checkpoint)),
        }
    }

    /// Why reading would refuse this checkpoint: the first of its weights or vectors of state that is not finite. A single
    /// number may be unknown, as the gap of a subspace that was not found yet.
    ///
    /// # Errors
    /// candle's.
    pub fn flaw(&self) -> Result<Option<String>> {
        // a number by itself is NaN where nothing is known yet, such as the gap of a subspace
        let own = (&self.model, &self.optimizer);
        let all = std::iter::once(own).chain(self.agents.iter().map(|of| (&of.model, &of.optimizer)));
        let vectors = all.flat_map(|(model, optimizer)| {
            model.iter().chain(optimizer.iter().filter(|(_, tensor)| tensor.rank() > 0))
        });
        let name = TensorFile::not_finite(vectors)?;
        Ok(name.map(|name| format!("its `{name}` holds values that are not finite (NaN or infinity)")))
    }
}

/// The checkpoint files of a run, oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !folder.exists() {
        return Ok(files);
    }
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

/// The step of a checkpoint, which is read whole: one that is damaged has none.
///
/// # Errors
/// No such file, a damaged file, another one than a checkpoint.
pub fn step_of(path: &Path) -> Result<u64> {
    Ok(Checkpoint::read(path, &Device::Cpu)?.progress.step)
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

/// Deletes the checkpoint of a run's beginning, once there is another one: after a damaged one nobody wants to start over unasked.
///
/// # Errors
/// The folder cannot be written.
pub fn remove_first(folder: &Path) -> Result<()> {
    let first = file(folder, 0);
    match std::fs::remove_file(&first) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot delete {}", first.display()))
        }
        _ => Ok(()),
    }
}

/// The newest checkpoint that `accept` takes; `None` where the run has none. Those passed over go to `warn`.
///
/// # Errors
/// There are checkpoints, but none is any good: the message names each.
pub fn newest(
    folder: &Path,
    device: &Device,
    mut accept: impl FnMut(&Checkpoint) -> Result<()>,
    mut warn: impl FnMut(String),
) -> Result<Option<Checkpoint>> {
    let files = list(folder)?;
    let mut faults = Vec::new();
    for path in files.iter().rev() {
        let found = Checkpoint::read(path, device).and_then(|checkpoint| {
            accept(&checkpoint).map_err(|e| {
                let usage = e.chain().any(|c| c.is::<Usage>());
                if usage { e } else { e.context(format!("the checkpoint {} does not fit", path.display())) }
            })?;
            Ok(checkpoint)
        });
        match found {
            Ok(checkpoint) => {
                tracing::info!(file = %path.display(), step = checkpoint.progress.step, "checkpoint taken up");
                faults.into_iter().for_each(&mut warn);
                return Ok(Some(checkpoint));
            }
            // not the file is at fault, but what it is to be resumed into
            Err(e) if e.chain().any(|c| c.is::<Usage>()) => return Err(e),
            Err(e) => faults.push(format!("{e:#}")),
        }
    }
    if faults.is_empty() {
        return Ok(None);
    }
    bail!("no checkpoint of the run can be used; start anew with --config and another --out ({})", faults.join("; "))
}

#[cfg(test)]
mod tests;
