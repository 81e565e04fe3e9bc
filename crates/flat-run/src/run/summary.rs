//! The result of a run: `summary.json`.

use crate::measure::document::Document;
use crate::measure::trace::{self, TraceFound};
use crate::parts::group_score::GroupScore;
use crate::store::checkpoint::Extension;
use crate::value::number::short;
use crate::value::table::pairs;
use flat_optim::Account;
use serde::Serialize;

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// All steps were taken.
    Finished,
    /// All steps were taken, and the loss is not finite, or far above that of a constant prediction.
    Diverged,
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Finished => "finished",
            Self::Diverged => "diverged",
        })
    }
}

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Version of the shape.
    pub schema: u32,
    /// `finished`, or `diverged`: its loss is not finite, or far above that of a constant prediction.
    pub state: RunState,
    /// Data set.
    pub dataset: String,
    /// Model.
    pub model: String,
    /// Trainable parameters, d.
    pub dim: usize,
    /// Recipe beneath its settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<&'static str>,
    /// The accuracy it was to reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Optimizer, as `--optimizer` takes it.
    pub optimizer: String,
    /// Base optimizer.
    pub base: String,
    /// Accuracy on the test set, in 0..1; `None` where it was left alone.
    pub test_accuracy: Option<f64>,
    /// Accuracies over groups of the test set, where the data has a spurious attribute.
    #[serde(flatten)]
    pub groups: Option<GroupScore>,
    /// Mean loss on the test set, likewise.
    pub test_loss: Option<f64>,
    /// Accuracy on the training images held out, in 0..1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// Mean loss on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// Accuracy on the training set without augmentation, in 0..1.
    pub train_accuracy: f64,
    /// Mean loss on the training set without augmentation.
    pub train_loss: f64,
    /// Best of the accuracies on the test set seen along the run; `None` where there was one look at its end at most.
    pub best_test_accuracy: Option<f64>,
    /// Best of the accuracies on the images held out seen along the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_val_accuracy: Option<f64>,
    /// Optimizer steps.
    pub steps: u64,
    /// Gradient evaluations, in mini-batch gradients.
    pub evals: f64,
    /// Steps skipped for a non-finite loss or gradient.
    pub skipped_steps: u64,
    /// Steps whose gradient was perturbed; `null` where an earlier version of the program did not count them.
    pub perturbed_steps: Option<u64>,
    /// What the dominant subspace cost, of a rule that projects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subspace: Option<SubspaceSpent>,
    /// Where the run was made longer: the schedules before are those of the shorter run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extended: Vec<Extension>,
    /// What to know when reading the numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Seconds in optimizer steps, over all sittings: without evaluations, checkpoints and measures.
    pub train_s: f64,
    /// Seconds from start to summary, over all sittings.
    pub wall_s: f64,
    /// Parts of a batch that gradients are added up over.
    pub grains: usize,
    /// Processes that shared them out, in the last sitting.
    pub ranks: usize,
    /// Seconds of the last sitting in exchanges between ranks and waiting for them; `None` for one rank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange_s: Option<f64>,
    /// Trace of the Hessian of the training loss, where measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Document<TraceFound>>,
    /// Seed.
    pub seed: u64,
    /// Element type.
    pub dtype: String,
    /// Arithmetic of the products in training.
    pub precision: String,
    /// By which instructions the CPU multiplied in bf16: `amx`, `winograd`, `avx512` or `rounding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bf16: Option<&'static str>,
    /// Device.
    pub device: String,
    /// The same, and why it was that one.
    pub device_note: String,
    /// Version of this program.
    pub version: String,
    /// Run directory.
    pub out: String,
}

/// The accuracy that a run was to reach.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Target {
    /// `--target-accuracy`, in 0..1.
    pub accuracy: f64,
    /// The images it was looked for on: `test`, or `validation`.
    pub on: &'static str,
    /// Whether an evaluation found it, which ended the run.
    pub reached: bool,
}

impl Target {
    fn text(self, train_s: f64) -> String {
        let Self { accuracy, on, reached } = self;
        let how = if reached { format!("reached after {train_s:.1} s of training") } else { "not reached".into() };
        format!("{} % on {on} images: {how}", short(100.0 * accuracy))
    }
}

/// The cost of the dominant subspace of the Hessian, and the numbers of the last one.
#[derive(Debug, Clone, Serialize)]
pub struct SubspaceSpent {
    /// Hessian-vector products over the training set; not among the gradient evaluations.
    pub hessian_products: u64,
    /// Gradients of the training set for the share; not among the gradient evaluations either.
    pub full_gradients: u64,
    /// Times that the subspace was found.
    pub refreshes: u64,
    /// Of these, times that an eigenvector's residual stayed above `--subspace-tol`.
    pub unconverged: u64,
    /// `lambda_k - lambda_(k+1)` at the last: where it is about 0, the subspace is not unique.
    pub gap: Option<f64>,
    /// Largest residual of the eigenvectors at the last.
    pub residual: Option<f64>,
    /// Last share of the full gradient's norm in the subspace, where `--project-above` asked for it.
    pub share: Option<f64>,
}

impl SubspaceSpent {
    pub(super) fn of(account: Account) -> Self {
        let Account { products, gradients, refreshes, unconverged, gap, residual, share } = account;
        Self { hessian_products: products, full_gradients: gradients, refreshes, unconverged, gap, residual, share }
    }

    fn text(&self) -> String {
        let known = |name: &str, x: Option<f64>| x.map_or(String::new(), |x| format!(", {name} {}", short(x)));
        format!(
            "{} Hessian products and {} gradients of the training set, found {} times, {} of them not to --subspace-tol{}{}{}",
            self.hessian_products,
            self.full_gradients,
            self.refreshes,
            self.unconverged,
            known("gap", self.gap),
            known("residual", self.residual),
            known("share", self.share),
        )
    }
}

impl Summary {
    /// A table for a person.
    pub fn text(&self) -> String {
        let texts = self.groups.map(|groups| groups.text());
        let groups = |i: usize| texts.as_ref().map(|texts| texts[i].clone()).unwrap_or_default();
        let scored = |name: &'static str, accuracy: Option<f64>, loss: Option<f64>| {
            Some((name, format!("{:.2} %   (loss {})", 100.0 * accuracy?, short(loss?))))
        };
        let mut rows = vec![("run", self.out.clone()), ("state", self.state.to_string())];
        rows.extend(self.recipe.map(|recipe| ("recipe", recipe.to_string())));
        rows.extend(self.target.map(|target| ("target", target.text(self.train_s))));
        rows.extend(scored("validation accuracy", self.val_accuracy, self.val_loss));
        rows.extend(scored("test accuracy", self.test_accuracy, self.test_loss));
        rows.extend([("average group", groups(0)), ("worst group", groups(1))]);
        rows.retain(|(_, value)| !value.is_empty());
        rows.extend(scored("train accuracy", Some(self.train_accuracy), Some(self.train_loss)));
        if let Some(trace) = &self.trace {
            rows.push(("Hessian trace", trace::text(&trace.taken)));
        }
        rows.push((
            "cost",
            format!(
                "{} steps, {:.0} gradient evaluations, {:.0} s of training in {:.0} s",
                self.steps, self.evals, self.train_s, self.wall_s
            ),
        ));
        if let Some(perturbed) = self.perturbed_steps.filter(|_| self.optimizer != self.base) {
            rows.push(("perturbed", format!("{perturbed} of {} steps", self.steps)));
        }
        if let Some(subspace) = &self.subspace {
            rows.push(("subspace", subspace.text()));
        }
        rows.extend(self.bf16.map(|by| ("bf16", by.to_string())));
        if self.skipped_steps > 0 {
            rows.push(("skipped", format!("{} steps for a non-finite loss or gradient", self.skipped_steps)));
        }
        rows.extend(self.warnings.iter().map(|warning| ("warning", warning.clone())));
        pairs(rows)
    }
}
