//! The provenance of a measured number: checkpoint, data, model, evaluation.

use crate::device::DeviceChoice;
use crate::measure::hessian_method::{HessianMethod, mode_in_words};
use crate::parts::subject::LoadedCheckpoint;
use crate::settings::args::EvalArgs;
use crate::settings::choice::BnModeName;
use crate::settings::config::RunConfig;
use crate::settings::pixels;
use crate::value::table::paragraph;
use anyhow::Result;
use flat_data::{Loader, Normalisation};
use flat_metrics::{Effort, Measured};
use flat_nn::{Loss, Model};
use serde::Serialize;

/// A result with everything that is known of where it comes from.
pub type Taken<T> = Measured<T, Provenance>;

/// The checkpoint and the data of a number.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    /// The checkpoint as named; `None` within a run.
    pub checkpoint: Option<String>,
    /// Of the file that the weights were read from.
    pub checkpoint_sha256: Option<String>,
    /// Data set.
    pub dataset: String,
    /// `train` or `test`.
    pub split: String,
    /// Both and the pixels in words.
    pub data: String,
    /// How pixels became the numbers that the network saw.
    pub pixels: Option<Normalisation>,
    /// Device, and why it was that one.
    pub device_note: Option<String>,
    /// What to know when reading the numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Source {
    /// A loaded checkpoint.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub fn of_subject(subject: &LoadedCheckpoint, on: &EvalArgs) -> Result<Self> {
        Ok(Self {
            checkpoint: Some(on.checkpoint.display().to_string()),
            checkpoint_sha256: Some(subject.sha256.clone()),
            dataset: subject.dataset.to_string(),
            split: subject.split.to_string(),
            data: subject.data_in_words(),
            pixels: Some(subject.pixels.clone()),
            device_note: Some(subject.device_note.clone()),
            notes: subject.assumed.iter().cloned().collect(),
        })
    }

    /// The weights and the training images of a run.
    pub fn of_run(config: &RunConfig) -> Self {
        let pixels = pixels::of_run(config).ok(); // refused when the run began
        let words = pixels.as_ref().map(|p| format!(", {}", pixels::in_words(p))).unwrap_or_default();
        Self {
            checkpoint: None,
            checkpoint_sha256: None,
            dataset: config.dataset.to_string(),
            split: "train".into(),
            data: format!("train images of {}{words}", config.dataset),
            pixels,
            device_note: None,
            notes: Vec::new(),
        }
    }

    /// With the model, its evaluation and what the library says of the computation.
    pub fn provenance(
        self,
        model: &Model,
        loss: Loss,
        data: &Loader,
        bn_mode: BnModeName,
        computed: flat_metrics::Provenance,
    ) -> Provenance {
        let space = model.params().space();
        let bn = model.has_batch_norm().then(|| bn_mode.name().to_string());
        Provenance {
            source: self,
            model: model.name(),
            loss_name: loss.to_string(),
            batch_size: data.options().batch_size,
            hvp: None,
            estimator: None,
            probe_distribution: None,
            device: DeviceChoice::of(&space.device).to_string(),
            version: env!("CARGO_PKG_VERSION"),
            mode: bn_mode.name(),
            computed: flat_metrics::Provenance {
                dim: space.layout.len(),
                bn_mode: bn,
                dtype: space.dtype.as_str().into(),
                ..computed
            },
        }
    }
}

/// The provenance of a number: checkpoint, data, model, evaluation, library version.
#[derive(Debug, Clone, Serialize)]
pub struct Provenance {
    /// Checkpoint and data.
    #[serde(flatten)]
    pub source: Source,
    /// Architecture.
    pub model: String,
    /// The loss: `cross-entropy` (with its label smoothing above 0) or `mse`.
    pub loss_name: String,
    /// Images a batch.
    pub batch_size: usize,
    /// Hessian-vector products: `exact`, `double` or `difference`; `None` where none were taken.
    pub hvp: Option<&'static str>,
    /// The method, where several give the same number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimator: Option<String>,
    /// Distribution of its random vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_distribution: Option<String>,
    /// Device.
    pub device: String,
    /// Version of this program.
    pub version: &'static str,
    /// `--bn-mode`, which a network without BatchNorm takes as well.
    #[serde(skip)]
    pub mode: &'static str,
    /// What the library says: operator, d, examples, batches, BatchNorm, element type.
    #[serde(flatten)]
    pub computed: flat_metrics::Provenance,
}

impl Provenance {
    /// Of a measure on a loaded checkpoint by Hessian-vector products.
    ///
    /// # Errors
    /// Those of `Source::of_subject`: a model or data that cannot be read.
    pub fn of_hessian(
        subject: &LoadedCheckpoint,
        on: &EvalArgs,
        which: HessianMethod,
        computed: flat_metrics::Provenance,
    ) -> Result<Self> {
        let provenance = Self::of_subject(subject, on, which.bn_mode, computed)?;
        Ok(Self { hvp: Some(which.hvp.name()), ..provenance })
    }

    /// Of any other measure on a loaded checkpoint.
    ///
    /// # Errors
    /// Those of `Source::of_subject`: a model or data that cannot be read.
    pub fn of_subject(
        subject: &LoadedCheckpoint,
        on: &EvalArgs,
        bn_mode: BnModeName,
        computed: flat_metrics::Provenance,
    ) -> Result<Self> {
        let source = Source::of_subject(subject, on)?;
        Ok(source.provenance(&subject.model, subject.loss, &subject.data, bn_mode, computed))
    }

    /// The notes, where the number comes from and what it cost, for a person.
    pub fn lines(&self, effort: &Effort) -> String {
        let mut parts: Vec<String> = self.computed.operator.iter().cloned().collect();
        if let Some(estimator) = &self.estimator {
            let probes = self.probe_distribution.as_ref().map(|d| format!(", {d} probes")).unwrap_or_default();
            parts.push(format!("{estimator}{probes}"));
        }
        parts.push(format!("{} {}", self.computed.examples.unwrap_or_default(), self.source.data));
        parts.extend(self.computed.bn_mode.as_ref().map(|mode| mode_in_words(mode, self.batch_size)));
        parts.push(self.computed.dtype.clone());
        parts.extend(effort.seed.map(|seed| format!("seed {seed}")));
        for (count, what) in [(effort.matvecs, "products"), (effort.gradients, "gradients"), (effort.losses, "losses")]
        {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let mut lines: Vec<String> = self.source.notes.iter().map(|note| format!("note: {note}")).collect();
        lines.push(format!("({}, {:.1} s)", parts.join("; "), effort.wall_s));
        if let Some(checkpoint) = &self.source.checkpoint {
            let sum = self.source.checkpoint_sha256.as_ref().map(|sum| format!(", sha256 {sum}")).unwrap_or_default();
            let (model, loss, d) = (&self.model, &self.loss_name, self.computed.dim);
            lines.push(format!(
                "({checkpoint}{sum}; {model}, d = {d}; {loss}; {}; flat-train {})",
                self.device, self.version
            ));
        }
        lines.iter().map(|line| paragraph(line)).collect::<Vec<_>>().join("\n")
    }

    /// Where it was measured, as the second line of a plot's title.
    pub fn caption(&self) -> String {
        let checkpoint = self.source.checkpoint.clone().unwrap_or_default();
        let name = std::path::Path::new(&checkpoint).file_stem().map(|s| s.to_string_lossy().into_owned());
        format!(
            "{} ({}, d = {}), {} on {} {} images of {}",
            name.unwrap_or(checkpoint),
            self.model,
            self.computed.dim,
            self.loss_name,
            self.computed.examples.unwrap_or_default(),
            self.source.split,
            self.source.dataset
        )
    }

    /// What stands above a plot: where it was measured, and the notes.
    pub fn heading(&self) -> flat_plot::Heading {
        flat_plot::Heading { caption: self.caption(), notes: self.source.notes.clone() }
    }
}
