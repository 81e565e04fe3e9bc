//! What a run or a measure computes with: data, model, loss and optimizer. They are built from settings or read from
//! a checkpoint, before anything is written.

pub(crate) mod agents;
mod contents;
pub(crate) mod evaluate;
mod export;
pub(crate) mod group_score;
mod kept;
mod memory;
pub(crate) mod objective;
pub(crate) mod optimizer;
pub(crate) mod others;
pub(crate) mod paid;
pub(crate) mod schedules;
pub(crate) mod setup;
pub(crate) mod statistics;
pub(crate) mod subject;
pub(crate) mod subspace;
pub(crate) mod tally;
pub(crate) mod weights;

pub use agents::Agents;
pub use contents::{Contents, Layer};
pub use evaluate::{Score, evaluate, score};
pub use export::{ExportArgs, Exported};
pub use group_score::{AverageGroup, GroupScore, WorstGroup};
pub use kept::Kept;
pub use objective::BatchLoss;
pub use optimizer::optimizer;
pub use others::OtherBatches;
pub use setup::{Data, data_of, model, model_config, open, plain_loader, split, steps_per_epoch, total_steps};
pub use subject::LoadedCheckpoint;
pub use subspace::HessianSubspace;
pub use tally::Tally;

use self::weights::Weights;
use crate::device::Opened;
use crate::ranks;
use crate::settings::config::RunConfig;
use anyhow::{Context, Result};
use candle_core::Device;
use flat_nn::{Loss, Model};
use flat_optim::Optimizer;

/// Everything a run computes with.
pub struct RunParts {
    /// Where.
    pub device: Device,
    /// The same, and why it is that one.
    pub device_note: String,
    /// The data.
    pub data: Data,
    /// The model with its initial weights.
    pub model: Model,
    /// The loss.
    pub loss: Loss,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The agents of a run with a network, each with an optimizer of its own; [`Self::optimizer`] says what theirs cost.
    pub agents: Option<Agents>,
    /// The entries of `--init` that are no weights of the model, in one line.
    pub init_note: Option<String>,
}

impl RunParts {
    /// Loads and builds; writes nothing. `--init` is read only where the run starts from it.
    ///
    /// # Errors
    /// Missing or damaged files, a missing device, options out of range.
    pub fn new(config: &RunConfig, start_from_init: bool) -> Result<Self> {
        let opened = setup::open(config)?;
        let data = setup::data(config, &opened.device)?;
        Self::on(config, data, opened, start_from_init)
    }

    /// Builds for data that is there already; writes nothing. `--init` is read only where the run starts from it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn on(config: &RunConfig, data: Data, opened: Opened, start_from_init: bool) -> Result<Self> {
        let Opened { device, note: device_note } = opened;
        memory::check(config, &data)?;
        let model = setup::model(config, &device)?;
        let mut init_note = None;
        if let Some(init) = config.init.as_ref().filter(|_| start_from_init) {
            let read = || Weights::read(init, &device)?.load_into(&model, None);
            init_note = read().with_context(|| format!("--init {}", init.display()))?;
        }
        let optimizer = optimizer::optimizer(config, &model, &data)?;
        let agents = Agents::of(config, &model, &data, &ranks::here())?;
        Ok(Self { device, device_note, data, model, loss: setup::loss(config), optimizer, agents, init_note })
    }

    /// Optimizer steps of the whole run.
    pub fn total_steps(&self, config: &RunConfig) -> u64 {
        setup::total_steps(config, setup::steps_per_epoch(config, &self.data))
    }
}
