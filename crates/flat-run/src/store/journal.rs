//! `metrics.jsonl`: one JSON object a line, flushed, in step with the checkpoints.

use anyhow::{Context, Result};
use flat_optim::StepReport;
use serde::Serialize;
use std::cmp::Ordering;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// One line of the journal.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Record {
    /// `step`, `epoch` or `flatness`.
    pub kind: &'static str,
    /// Epochs begun, from 1.
    pub epoch: u64,
    /// Optimizer steps done.
    pub step: u64,
    /// `train` or `test`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<&'static str>,
    /// Mean loss; of a step, before the update. One that is not finite is written as `null`, as are other numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Accuracy in 0..1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Learning rate of the last step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Perturbation radius of the last step (sigma for nso).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rho: Option<f64>,
    /// Norm of the gradient at theta of the last step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Gradient evaluations so far, in mini-batch gradients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evals: Option<f64>,
    /// Perturbed steps so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perturbed: Option<u64>,
    /// Images a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples_per_s: Option<f64>,
    /// Seconds: of this step alone for a step, since the run began otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_s: Option<f64>,
    /// Why the step, or the measure, was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// The Hessian trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<serde_json::Value>,
    /// The Hessian's largest eigenvalue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lambda_max: Option<serde_json::Value>,
    /// The curvature score with its effective rank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<serde_json::Value>,
    /// The intrinsic dimension of the hidden states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimension: Option<serde_json::Value>,
}

impl Record {
    /// What a step's report says of the optimizer.
    pub fn of_step(report: &StepReport) -> Self {
        Self {
            lr: Some(report.lr),
            rho: Some(report.rho).filter(|rho| *rho > 0.0),
            grad_norm: Some(report.grad_norm),
            ..Self::default()
        }
    }
}

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal and cuts it to `length` bytes, its length when the checkpoint was written: lines of steps that
    /// are about to be done again go.
    ///
    /// # Errors
    /// The file cannot be written, or is shorter than the checkpoint says: lines that it once had are gone.
    pub fn open(path: &Path, length: u64) -> Result<Self> {
        let open = || -> std::io::Result<File> {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            match file.metadata()?.len().cmp(&length) {
                Ordering::Greater => file.set_len(length)?,
                Ordering::Equal => {}
                Ordering::Less => {
                    let text =
                        format!("it is shorter than the {length} bytes that the checkpoint knows; put the file back");
                    return Err(std::io::Error::other(text));
                }
            }
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, path: path.to_path_buf() })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_string(record)?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Bytes written so far, all of which are on the disk by then.
    ///
    /// # Errors
    /// The disk is full or failing.
    pub fn synced_length(&self) -> Result<u64> {
        let length = || -> std::io::Result<u64> {
            self.file.sync_data()?;
            Ok(self.file.metadata()?.len())
        };
        length().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reopening_cuts_what_came_after_the_checkpoint() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("metrics.jsonl");
        let mut journal = Journal::open(&path, 0)?;
        journal.write(&Record { kind: "step", step: 1, ..Record::default() })?;
        let length = journal.synced_length()?;
        journal.write(&Record { kind: "step", step: 2, ..Record::default() })?;
        drop(journal);
        let mut journal = Journal::open(&path, length)?;
        journal.write(&Record { kind: "step", step: 3, ..Record::default() })?;
        let text = std::fs::read_to_string(&path)?;
        let steps: Vec<i64> = text
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).map(|v| v["step"].as_i64().unwrap_or(-1)))
            .collect::<Result<_, _>>()?;
        assert_eq!(steps, [1, 3]);
        Ok(())
    }
}
