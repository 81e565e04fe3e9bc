//! `summary.json`: what a run came to.

use crate::trace_summary::TraceSummary;
use serde::Serialize;

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Data set.
    pub dataset: String,
    /// Model.
    pub model: String,
    /// Trainable parameters, d.
    pub dim: usize,
    /// Optimizer, as `--optimizer` takes it.
    pub optimizer: String,
    /// Base optimizer.
    pub base: String,
    /// Accuracy on the test set, in 0..1.
    pub test_accuracy: f64,
    /// Mean loss on the test set.
    pub test_loss: f64,
    /// Accuracy on the training set without augmentation, in 0..1.
    pub train_accuracy: f64,
    /// Mean loss on the training set without augmentation.
    pub train_loss: f64,
    /// Best of the accuracies on the test set seen along the run.
    pub best_test_accuracy: f64,
    /// Optimizer steps.
    pub steps: u64,
    /// Gradient evaluations, in mini-batch gradients.
    pub evals: f64,
    /// Steps skipped for a non-finite loss or gradient.
    pub skipped_steps: u64,
    /// Seconds from start to summary, over all sittings.
    pub wall_s: f64,
    /// Trace of the Hessian of the training loss, where measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceSummary>,
    /// Seed.
    pub seed: u64,
    /// Element type.
    pub dtype: String,
    /// Arithmetic of the products in training.
    pub precision: String,
    /// Device.
    pub device: String,
    /// The same, and why it was that one.
    pub device_note: String,
    /// Version of this program.
    pub version: String,
    /// Run directory.
    pub out: String,
}

impl Summary {
    /// A table for a person.
    pub fn text(&self) -> String {
        let mut rows = vec![
            ("run", self.out.clone()),
            ("test accuracy", format!("{:.2} %   (loss {:.4})", 100.0 * self.test_accuracy, self.test_loss)),
            ("train accuracy", format!("{:.2} %   (loss {:.4})", 100.0 * self.train_accuracy, self.train_loss)),
        ];
        if let Some(trace) = &self.trace {
            rows.push(("Hessian trace", trace.text()));
        }
        rows.push((
            "cost",
            format!("{} steps, {:.0} gradient evaluations, {:.0} s", self.steps, self.evals, self.wall_s),
        ));
        if self.skipped_steps > 0 {
            rows.push(("skipped", format!("{} steps for a non-finite loss or gradient", self.skipped_steps)));
        }
        rows.iter().map(|(name, value)| format!("{name:<15} {value}")).collect::<Vec<_>>().join("\n")
    }
}
