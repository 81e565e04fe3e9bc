//! One part of the study: a data set, a network and a loss, and what is done with them.

use super::method::{BATCH, Method, Setting};
use crate::args::ReproduceArgs;
use crate::bad_minimum::Spoiling;
use crate::network::Network;
use crate::training::plain_sgd;
use flat_core::setting::Text;
use flat_data::DatasetKind;
use flat_run::settings::choice::{LossName, ScheduleName};
use flat_run::settings::config::TrainConfig;
use flat_run::value::every::Every;

/// A data set, a network and a loss, and what is done with them.
pub(super) struct Part {
    /// As cells, plots and `--part` name it.
    pub key: &'static str,
    /// The data set.
    pub dataset: DatasetKind,
    /// Training, validation and test images.
    pub images: [usize; 3],
    /// Training images, the first ones, that the Hessian is of.
    pub curvature: usize,
    /// The network.
    pub network: Network,
    /// The loss.
    pub loss: LossName,
    /// Independent bad minima, each with its own run of every method.
    pub seeds: u64,
    /// The methods that are compared, the reference first.
    pub methods: Vec<Method>,
    /// Gradient evaluations of a run of the search.
    pub search_evals: f64,
    /// Gradient evaluations of a run of the comparison.
    pub evals: f64,
    /// Measurements along it.
    pub points: u64,
    /// Steps of plain SGD after them, the same for every method, at the learning rate of the bad minimum's last part: the
    /// phase of plain descent that Algorithm 2 ends with.
    pub settle: u64,
    /// How its bad minimum is made.
    pub spoiling: Spoiling,
    /// Examples a step of that.
    pub spoiling_batch: usize,
    /// Epochs of each part of that after which the learning rate falls to a tenth.
    pub decay: Option<u64>,
    /// What the search tries.
    pub grid: Vec<Setting>,
    /// Whether the ablations are run.
    pub ablations: bool,
    /// How its sizes and rates were found, where they were not simply set.
    pub found: &'static str,
}

impl Part {
    /// As the page heads it.
    pub fn title(&self) -> String {
        let loss = match self.loss {
            LossName::CrossEntropy => "cross entropy",
            LossName::Mse => "squared loss",
        };
        let [train, ..] = self.images;
        format!("{}, {train} images of {}, {loss}", self.network.name(), self.dataset)
    }

    /// Mini-batch gradients that a step of a method takes where every step is perturbed.
    pub fn evals_per_step(&self, method: Method) -> f64 {
        match method {
            Method::Sgd => 1.0,
            // one example is normalised with its batch
            Method::Sa(1) if self.network.has_batch_norm() => 3.0,
            Method::Sa(n) if n < BATCH => 1.0 + 2.0 * n as f64 / BATCH as f64,
            _ => 2.0,
        }
    }

    /// A run with this seed, before it is given a method.
    pub fn config(&self, seed: u64, args: &ReproduceArgs) -> TrainConfig {
        TrainConfig { loss: self.loss, batch_size: BATCH, ..plain_sgd(self.dataset, &self.network, seed, args) }
    }

    /// The same for making the minima.
    pub fn fitting(&self, config: TrainConfig) -> TrainConfig {
        let config = TrainConfig { batch_size: self.spoiling_batch, ..config };
        match self.decay {
            Some(epochs) => {
                TrainConfig { schedule: ScheduleName::Step, step_size: Some(Text(Every::Epochs(epochs))), ..config }
            }
            None => config,
        }
    }
}
