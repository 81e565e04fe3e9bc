//! The record of a run, as the leaderboard sees it.

use anyhow::{Context, Result};
use flat_run::store::{Line, Part, read_journal, write_whole};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All its steps were taken.
    Finished,
    /// Its loss is not finite, or far above that of a constant prediction: a result.
    Diverged,
    /// Its process ended with an error.
    Failed,
    /// It waits at a rung of successive halving.
    Paused,
}

/// A run as the leaderboard sees it; `record.json` beside its files. Numbers that were not finite are absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What became of it.
    pub state: State,
    /// Accuracy on the validation images, in 0..1.
    pub val_accuracy: Option<f64>,
    /// Mean loss on them.
    pub val_loss: Option<f64>,
    /// Accuracy of the worst group of them, in 0..1, where the data has a spurious attribute.
    pub val_worst_group: Option<f64>,
    /// Accuracy on the training images, in 0..1.
    pub train_accuracy: Option<f64>,
    /// Accuracy on the test set, in 0..1, where it was looked at.
    pub test_accuracy: Option<f64>,
    /// Mean loss on it, likewise.
    pub test_loss: Option<f64>,
    /// Trace of the Hessian of the training loss, where measured.
    pub trace: Option<f64>,
    /// Largest eigenvalue of that Hessian, last measured along the run.
    pub lambda_max: Option<f64>,
    /// Optimizer steps.
    pub steps: Option<u64>,
    /// Gradient evaluations, in mini-batch gradients.
    pub evals: Option<f64>,
    /// Seconds.
    pub wall_s: Option<f64>,
    /// Why it failed or diverged: the last line that its process wrote.
    pub why: Option<String>,
}

/// `summary.json`, as far as a leaderboard goes.
#[derive(Deserialize)]
struct Ended {
    state: State,
    val_accuracy: Option<f64>,
    val_loss: Option<f64>,
    train_accuracy: Option<f64>,
    steps: u64,
    evals: Option<f64>,
    wall_s: Option<f64>,
    #[serde(default)]
    trace: Option<Trace>,
}

#[derive(Deserialize)]
struct Trace {
    trace: Number,
}

#[derive(Deserialize)]
struct Number {
    value: Option<f64>,
}

impl Record {
    /// A run of which nothing but its end is known.
    pub(crate) fn bare(state: State, why: Option<String>) -> Self {
        Self {
            state,
            val_accuracy: None,
            val_loss: None,
            val_worst_group: None,
            train_accuracy: None,
            test_accuracy: None,
            test_loss: None,
            trace: None,
            lambda_max: None,
            steps: None,
            evals: None,
            wall_s: None,
            why,
        }
    }

    /// Of a run in `folder` with a summary. The journal has the worst group and lambda_max, which a journal that is damaged
    /// leaves absent: the run has ended all the same.
    ///
    /// # Errors
    /// An unreadable or damaged summary.
    pub(crate) fn of_summary(folder: &Path) -> Result<Self> {
        let file = folder.join("summary.json");
        let bytes = flat_core::file::read(&file, flat_core::file::TEXT)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let ended: Ended = serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", file.display()))?;
        Ok(Self {
            val_accuracy: ended.val_accuracy,
            val_loss: ended.val_loss,
            train_accuracy: ended.train_accuracy,
            trace: ended.trace.and_then(|t| t.trace.value),
            steps: Some(ended.steps),
            evals: ended.evals,
            wall_s: ended.wall_s,
            ..Self::of_journal(folder, ended.state, None, u64::MAX).unwrap_or_else(|_| Self::bare(ended.state, None))
        })
    }

    /// Of a run in `folder` without one: as far as its journal goes, or up to so many steps. A loss that is not finite has
    /// diverged.
    ///
    /// # Errors
    /// An unreadable or damaged journal.
    pub(crate) fn of_journal(folder: &Path, state: State, why: Option<String>, up_to: u64) -> Result<Self> {
        let file = folder.join("metrics.jsonl");
        let mut record = Self::bare(state, why);
        if !file.exists() {
            return Ok(record);
        }
        for line in read_journal(&file, true)? {
            let at = match line {
                Line::Epoch(at) if at.step <= up_to => at,
                Line::Flatness(at) if at.step <= up_to => {
                    record.lambda_max = at.measured.get("lambda_max").map_or(record.lambda_max, |point| point.value);
                    continue;
                }
                Line::Epoch(_) | Line::Flatness(_) => break,
                Line::Step(_) | Line::Other => continue,
            };
            record.steps = record.steps.max(Some(at.step));
            record.evals = at.evals.or(record.evals);
            record.wall_s = at.wall_s.or(record.wall_s);
            if at.split == Some(Part::Validation) {
                (record.val_accuracy, record.val_loss) = (at.accuracy, at.loss);
                record.val_worst_group = at.groups.map(|groups| groups.worst_group.accuracy);
            }
        }
        if state == State::Paused && record.val_loss.is_none() {
            record.state = State::Diverged;
        }
        Ok(record)
    }

    /// Reads a record; `None` where there is none.
    ///
    /// # Errors
    /// A damaged file.
    pub(crate) fn read(file: &Path) -> Result<Option<Self>> {
        match flat_core::file::read(file, flat_core::file::TEXT) {
            Ok(bytes) => {
                let record = serde_json::from_slice(&bytes);
                Ok(Some(record.with_context(|| format!("{} is damaged: delete it", file.display()))?))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Writes it whole.
    ///
    /// # Errors
    /// The disk is full.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        write_whole(file, serde_json::to_string_pretty(self)?.as_bytes())
    }
}
