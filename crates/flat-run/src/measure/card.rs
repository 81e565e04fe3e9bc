//! What a measure was taken on and what it cost: the card in every report.

use crate::device::DeviceChoice;
use crate::measure::which::Which;
use crate::parts::subject::Subject;
use crate::settings::args::{EvalArgs, HessianArgs};
use crate::settings::choice::BnModeName;
use crate::settings::pixels;
use flat_data::Normalisation;
use serde::Serialize;

/// Data, model, evaluation and cost.
#[derive(Debug, Clone, Serialize)]
pub struct Card {
    /// The checkpoint as named.
    pub checkpoint: String,
    /// Data set.
    pub dataset: String,
    /// `train` or `test`.
    pub split: String,
    /// Images the loss averages over.
    pub examples: usize,
    /// Images a batch.
    pub batch_size: usize,
    /// How pixels became the numbers that the network saw.
    pub pixels: Normalisation,
    /// Architecture.
    pub model: String,
    /// Trainable parameters, d.
    pub dim: usize,
    /// The loss: `cross-entropy` (with its label smoothing above 0) or `mse`.
    pub loss_name: String,
    /// BatchNorm: `eval` or `batch`; `None` for a model without it.
    pub bn_mode: Option<&'static str>,
    /// Hessian-vector products: `exact`, `double` or `difference`; `None` where none were taken.
    pub hvp: Option<&'static str>,
    /// Element type.
    pub dtype: String,
    /// Device.
    pub device: String,
    /// The same, and why it was that one.
    pub device_note: String,
    /// Seed of the random draws.
    pub seed: u64,
    /// Hessian-vector products spent.
    pub matvecs: u64,
    /// Gradients of the data set spent beside them.
    pub gradients: u64,
    /// Losses of the data set without gradient.
    pub losses: u64,
    /// Seconds.
    pub wall_s: f64,
    /// What to know when reading the numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Version of this program.
    pub version: &'static str,
}

impl Card {
    /// The card of a measure of the Hessian, with no cost yet.
    pub fn new(subject: &Subject, args: &HessianArgs) -> Self {
        let mut card = Self::of_eval(subject, &args.on, args.bn_mode);
        card.hvp = Some(Which::of(args).words().1);
        card.seed = subject.seed(args);
        card
    }

    /// The card of a measure that takes no Hessian and draws nothing.
    pub fn of_eval(subject: &Subject, on: &EvalArgs, bn_mode: BnModeName) -> Self {
        let space = subject.model.params().space();
        Self {
            checkpoint: on.checkpoint.display().to_string(),
            dataset: subject.dataset.to_string(),
            split: subject.split.to_string(),
            examples: subject.data.split().len(),
            batch_size: subject.data.options().batch_size,
            pixels: subject.pixels.clone(),
            model: subject.model.name(),
            dim: space.layout.len(),
            loss_name: subject.loss.to_string(),
            bn_mode: subject.model.has_batch_norm().then_some(bn_mode.name()),
            hvp: None,
            dtype: space.dtype.as_str().into(),
            device: DeviceChoice::of(&space.device).to_string(),
            device_note: subject.device_note.clone(),
            seed: 0,
            matvecs: 0,
            gradients: 0,
            losses: 0,
            wall_s: 0.0,
            notes: subject.assumed.iter().cloned().collect(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The notes, and one line for a person.
    pub fn line(&self) -> String {
        let mut parts = vec![
            format!("{} {} images of {}", self.examples, self.split, self.dataset),
            pixels::in_words(&self.pixels),
        ];
        if let Some(mode) = self.bn_mode {
            parts.push(crate::measure::which::mode_in_words(mode, self.batch_size));
        }
        parts.push(self.dtype.clone());
        parts.push(format!("seed {}", self.seed));
        for (count, what) in [(self.matvecs, "products"), (self.gradients, "gradients"), (self.losses, "losses")] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let mut lines: Vec<String> = self.notes.iter().map(|note| format!("note: {note}")).collect();
        lines.push(format!("({}, {:.1} s)", parts.join(", "), self.wall_s));
        lines.join("\n")
    }

    /// Where it was measured, as the second line of a plot's title.
    pub fn caption(&self) -> String {
        let name = std::path::Path::new(&self.checkpoint).file_stem().map(|s| s.to_string_lossy().into_owned());
        let name = name.unwrap_or_else(|| self.checkpoint.clone());
        format!(
            "{name} ({}, d = {}), {} on {} {} images of {}",
            self.model, self.dim, self.loss_name, self.examples, self.split, self.dataset
        )
    }
}

/// A report with its card.
#[derive(Debug, Serialize)]
pub struct Carded<T> {
    /// What it was taken on.
    pub card: Card,
    /// The report's own fields.
    #[serde(flatten)]
    pub report: T,
}
