//! What a run would do, told before it does anything.

use super::door::Run;
use crate::measure::SCHEMA;
use crate::parts::steps_per_epoch;
use crate::value::number::short;
use crate::value::table::pairs;
use serde::Serialize;

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Version of the shape.
    pub schema: u32,
    /// Where it would compute, and why there.
    pub device: String,
    /// Data set.
    pub dataset: String,
    /// The folder that the data are in.
    pub data_dir: String,
    /// Training images.
    pub train_images: usize,
    /// Test images.
    pub test_images: usize,
    /// Training images held out.
    pub val_images: usize,
    /// Model.
    pub model: String,
    /// Trainable parameters, d.
    pub dim: usize,
    /// Optimizer, as `--optimizer` takes it.
    pub optimizer: String,
    /// Base optimizer.
    pub base: String,
    /// The network of a run whose agents have weights of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Optimizer steps; with `--evals`, as many as the rule's mean cost allows.
    pub steps: u64,
    /// Optimizer steps an epoch.
    pub steps_per_epoch: u64,
    /// Gradient evaluations a step, in the mean over many.
    pub evals_per_step: f64,
    /// Gradient evaluations of the whole run, in the mean.
    pub evals: f64,
}

impl Run<'_> {
    /// What it would do; writes nothing and takes no step.
    pub fn plan(&self) -> Plan {
        let (config, parts) = (self.config(), self.parts());
        let count = |split: &flat_data::Loader| split.split().len();
        let per_step = parts.optimizer.evals_per_step(config.batch_size.min(count(&parts.data.train)));
        let steps = parts.total_steps(config);
        Plan {
            schema: SCHEMA,
            device: parts.device_note.clone(),
            dataset: config.dataset.to_string(),
            data_dir: parts.data.dir.display().to_string(),
            train_images: count(&parts.data.train),
            test_images: count(&parts.data.test),
            val_images: parts.data.validation.as_ref().map_or(0, count),
            model: config.model.to_string(),
            dim: parts.model.params().layout().len(),
            optimizer: config.optimizer_name(),
            base: config.base.to_string(),
            network: parts.agents.as_ref().map(|agents| agents.words(&config.graph)),
            steps,
            steps_per_epoch: steps_per_epoch(config, &parts.data),
            evals_per_step: per_step,
            evals: config.evals.map_or(steps as f64 * per_step, |evals| evals as f64),
        }
    }
}

impl Plan {
    /// All of it for a person.
    pub fn text(&self) -> String {
        let held = match self.val_images {
            0 => String::new(),
            n => format!(", {n} more held out"),
        };
        let network = self.network.iter().map(|words| ("network", words.clone()));
        let before = [
            ("device", self.device.clone()),
            (
                "data",
                if self.dataset == self.data_dir {
                    self.dataset.clone()
                } else {
                    format!("{} in {}", self.dataset, self.data_dir)
                },
            ),
            ("images", format!("{} to train on{held}, {} to test on", self.train_images, self.test_images)),
            ("model", format!("{}, {} parameters", self.model, self.dim)),
            ("optimizer", format!("{} over {}", self.optimizer, self.base)),
        ];
        let after = [
            ("steps", format!("{}, {} an epoch", self.steps, self.steps_per_epoch)),
            ("cost", format!("{} gradient evaluations, {} a step", short(self.evals), short(self.evals_per_step))),
        ];
        pairs(before.into_iter().chain(network).chain(after))
    }
}
