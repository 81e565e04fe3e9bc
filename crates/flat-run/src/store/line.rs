//! The lines of `metrics.jsonl`: the type that is written and read.

use crate::parts::group_score::GroupScore;
use flat_optim::{Account, StepReport};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One line. Numbers that are not finite are written as `null` and read as absent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// An optimizer step.
    Step(Progress),
    /// An epoch of training, or an evaluation on the test set or on images held out.
    Epoch(Progress),
    /// What was measured of the weights.
    Flatness(Flatness),
    /// A line of a later version.
    #[serde(other)]
    Other,
}

/// Images a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Training images.
    Train,
    /// Test images.
    Test,
    /// Training images held out.
    Validation,
    /// Of a later version.
    #[serde(other)]
    Other,
}

/// Loss, accuracy and the state of the optimizer after a step.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Epochs begun, from 1.
    pub epoch: u64,
    /// Optimizer steps done.
    pub step: u64,
    /// Images it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Part>,
    /// Mean loss; of a step, before the update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Accuracy in 0..1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Accuracies over groups, where the data has a spurious attribute; of an evaluation on the test set.
    #[serde(flatten)]
    pub groups: Option<GroupScore>,
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
    /// Hessian-vector products over the training set so far, of a rule that projects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hessian_products: Option<u64>,
    /// `lambda_k - lambda_(k+1)` of the Hessian where it was last found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subspace_gap: Option<f64>,
    /// Share of the full gradient's norm in the dominant subspace, where that was asked for last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subspace_share: Option<f64>,
    /// Mean over the agents of a network of the squared distance of their weights to the mean; of epochs and evaluations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consensus_distance: Option<f64>,
    /// Images a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples_per_s: Option<f64>,
    /// Seconds: of this step alone for a step, since the run began otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_s: Option<f64>,
    /// Why the step was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

impl Progress {
    /// What a step's report says of the optimizer.
    pub fn of_step(report: &StepReport) -> Self {
        Self {
            lr: Some(report.lr),
            rho: Some(report.rho).filter(|rho| *rho > 0.0),
            grad_norm: Some(report.grad_norm),
            ..Self::default()
        }
    }

    /// The same with what a subspace cost so far.
    #[must_use]
    pub fn with_account(self, account: Option<Account>) -> Self {
        Self {
            hessian_products: account.map(|account| account.products),
            subspace_gap: account.and_then(|account| account.gap),
            subspace_share: account.and_then(|account| account.share),
            ..self
        }
    }
}

/// What was measured after a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flatness {
    /// Epochs begun, from 1.
    pub epoch: u64,
    /// Optimizer steps done.
    pub step: u64,
    /// Images it is of.
    pub split: Option<Part>,
    /// Mean loss on these images, where a trace was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Accuracy on them in 0..1, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Seconds since the run began.
    #[serde(default)]
    pub wall_s: Option<f64>,
    /// Why nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// The measures by their names in `--flatness`.
    #[serde(flatten)]
    pub measured: BTreeMap<String, Point>,
}

/// Loss and accuracy where a measure says them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Place {
    loss: Option<f64>,
    accuracy: Option<f64>,
}

impl Flatness {
    /// What was measured, or why it was not.
    pub fn new(epoch: u64, step: u64, wall_s: f64, measured: BTreeMap<String, Point>, skipped: Option<String>) -> Self {
        let place = measured.values().filter_map(|point| point.read::<Place>().ok()).find(|place| place.loss.is_some());
        let Place { loss, accuracy } = place.unwrap_or_default();
        Self { epoch, step, split: Some(Part::Train), loss, accuracy, wall_s: Some(wall_s), skipped, measured }
    }
}

/// A measured number with its interval, and all else that its measure says of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Point {
    /// The number; absent where it was not finite.
    pub value: Option<f64>,
    /// Where it lies, as its measure means it.
    pub interval: Option<[f64; 2]>,
    record: Map<String, Value>,
}

/// The forms in which a number and its interval were written: by themselves, with a residual, as the trace among its fields.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Forms {
    value: Option<f64>,
    interval: Option<[f64; 2]>,
    ci95: Option<[f64; 2]>,
    residual: Option<f64>,
    trace: Option<Box<Forms>>,
}

impl Forms {
    fn number(&self) -> (Option<f64>, Option<[f64; 2]>) {
        let around = self.value.zip(self.residual).map(|(value, residual)| [value - residual, value + residual]);
        let own = (self.value, self.interval.or(self.ci95).or(around));
        match &self.trace {
            Some(trace) if self.value.is_none() => trace.number(),
            _ => own,
        }
    }
}

impl From<Map<String, Value>> for Point {
    fn from(record: Map<String, Value>) -> Self {
        let forms: Forms = serde_json::from_value(Value::Object(record.clone())).unwrap_or_default();
        let (value, interval) = forms.number();
        Self { value, interval, record }
    }
}

impl From<Point> for Map<String, Value> {
    fn from(point: Point) -> Self {
        point.record
    }
}

impl Point {
    /// A number as its measure writes it: with `value` and `ci95`, `value` and `residual`, or a `trace` that has these.
    ///
    /// # Errors
    /// A record that is no JSON object.
    pub fn new(record: &impl Serialize) -> serde_json::Result<Self> {
        serde_json::from_value(serde_json::to_value(record)?)
    }

    /// What the measure wrote.
    ///
    /// # Errors
    /// Another measure's record.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_value(Value::Object(self.record.clone()))
    }
}
