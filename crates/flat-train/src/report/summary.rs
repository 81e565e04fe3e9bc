//! `summary.json` read back, or a substitute while a run is in progress.

use super::journal::Journal;
use flat_run::store::{Part, Point};
use serde::Deserialize;

/// What a run came to. Numbers that were not finite are absent.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Summary {
    #[serde(default)]
    pub state: Option<String>,
    pub dim: u64,
    pub optimizer: String,
    pub base: String,
    pub test_accuracy: Option<f64>,
    pub test_loss: Option<f64>,
    pub train_accuracy: Option<f64>,
    pub train_loss: Option<f64>,
    pub best_test_accuracy: Option<f64>,
    #[serde(default)]
    pub val_accuracy: Option<f64>,
    #[serde(default)]
    pub val_loss: Option<f64>,
    #[serde(default)]
    pub best_val_accuracy: Option<f64>,
    pub steps: u64,
    pub evals: Option<f64>,
    pub skipped_steps: u64,
    #[serde(default)]
    pub perturbed_steps: Option<u64>,
    #[serde(default)]
    pub warnings: Vec<String>,
    pub wall_s: Option<f64>,
    pub trace: Option<Point>,
    pub seed: u64,
    pub dtype: String,
    pub device: String,
    pub version: String,
}

impl Summary {
    /// Whether its loss is not finite, or far above that of a constant prediction.
    pub fn diverged(&self) -> bool {
        self.state.as_deref() == Some("diverged")
    }
}

/// The numbers of a run that are known now.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub test_accuracy: Option<f64>,
    pub test_loss: Option<f64>,
    pub best_test_accuracy: Option<f64>,
    pub val_accuracy: Option<f64>,
    pub val_loss: Option<f64>,
    pub best_val_accuracy: Option<f64>,
    pub trace: Option<Point>,
    pub steps: u64,
    pub evals: Option<f64>,
    pub perturbed: Option<u64>,
}

impl Standing {
    /// From the summary, or from the last lines of the journal where there is none yet.
    pub fn of(summary: Option<&Summary>, journal: &Journal) -> Self {
        if let Some(s) = summary {
            return Self {
                test_accuracy: s.test_accuracy,
                test_loss: s.test_loss,
                best_test_accuracy: s.best_test_accuracy,
                val_accuracy: s.val_accuracy,
                val_loss: s.val_loss,
                best_val_accuracy: s.best_val_accuracy,
                trace: s.trace.clone(),
                steps: s.steps,
                evals: s.evals,
                perturbed: s.perturbed_steps,
            };
        }
        let held_out = || journal.epochs(Part::Validation);
        let tests = || journal.epochs(Part::Test);
        Self {
            test_accuracy: tests().last().and_then(|l| l.accuracy),
            test_loss: tests().last().and_then(|l| l.loss),
            best_test_accuracy: tests().filter_map(|l| l.accuracy).reduce(f64::max),
            val_accuracy: held_out().last().and_then(|l| l.accuracy),
            val_loss: held_out().last().and_then(|l| l.loss),
            best_val_accuracy: held_out().filter_map(|l| l.accuracy).reduce(f64::max),
            trace: journal.last("trace").cloned(),
            steps: journal.last_step(),
            evals: journal.evals(),
            perturbed: journal.perturbed(),
        }
    }
}
