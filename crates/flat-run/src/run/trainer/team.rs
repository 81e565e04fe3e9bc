//! The ranks of a run: they share out its batches, and make sure that they still agree.

use super::Trainer;
use crate::ranks;
use crate::settings::choice::SumName;
use crate::settings::config::RunConfig;
use crate::settings::resolve::option;
use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use flat_comm::{Lent, SumOrder};
use flat_optim::Team;
use twox_hash::XxHash64;

/// Steps between two comparisons of the weights of all ranks.
pub(super) const EVERY: u64 = 100;

/// The ranks of this process, with the grains of the run.
pub(super) fn of(config: &RunConfig) -> Result<Team> {
    let order = match config.sum {
        SumName::Tree => SumOrder::Tree,
        SumName::Fast => SumOrder::Engine,
    };
    let ranks = ranks::here().adding(order);
    // a network's agents share batches out themselves
    let grains = if config.has_network() { ranks.size() } else { config.grains.unwrap_or(1) };
    Team::new(ranks, grains).map_err(option)
}

impl Trainer<'_> {
    /// Makes sure, after so many steps each, that the weights of all ranks are the same. Those of a network's agents are not.
    #[expect(clippy::disallowed_methods, reason = "a step in so many")]
    pub(super) fn compare_ranks(&self, every: u64) -> Result<()> {
        let (ranks, step) = (self.team.ranks(), self.progress.step);
        if ranks.is_alone() || self.agents.is_some() || !step.is_multiple_of(every) {
            return Ok(());
        }
        let theta = self.model.params().read()?.to_f64()?;
        let hash = XxHash64::oneshot(0, &theta.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect::<Vec<u8>>());
        ranks.agree(&format!("the weights after step {step}"), hash).context(
            "the run cannot go on: its machines compute differently, or one of them is faulty; resume it on machines of one kind",
        )
    }

    /// Gives all ranks BatchNorm's running statistics of the first, which saw the first grain.
    #[expect(clippy::disallowed_methods, reason = "outside of steps")]
    pub(super) fn follow_statistics(&self) -> Result<()> {
        let ranks = self.team.ranks();
        if ranks.is_alone() {
            return Ok(());
        }
        for var in self.model.buffers().values() {
            let (shape, kind, device) = (var.shape().clone(), var.dtype(), var.device().clone());
            let mut x: Vec<f64> = var.as_detached_tensor().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
            ranks.follow(Lent::F64(&mut x))?;
            var.set(&Tensor::from_vec(x, shape, &device)?.to_dtype(kind)?)?;
        }
        Ok(())
    }
}
