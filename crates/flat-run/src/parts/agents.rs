//! The agents of a network: each has weights, BatchNorm's statistics and an optimizer of its own, and they mix their weights.
//!
//! Y. Cao, Z. Wu, K. Yuan, A. H. Sayed, "On the Trade-off between Flatness and Optimization in Distributed Learning", arXiv
//! 2406.20006. With the weights `a_kl` of the mixing matrix and agent k's own step `s_k`, which is `-lr g_k(w_k)` for SGD without
//! momentum and whatever rule and base make of agent k's part of the batch otherwise:
//!
//! ```text
//! consensus   w_k <- sum_l a_kl w_l + s_k(w_k)
//! diffusion   psi_k = w_k + s_k(w_k);   w_k <- sum_l a_kl psi_l
//! ```
//!
//! What is mixed is weights, not momenta.

mod gather;
mod report;

use super::kept::Kept;
use super::objective::BatchLoss;
use super::optimizer;
use super::setup::{Data, steps_per_epoch, total_steps};
use super::tally::Tally;
use crate::settings::config::RunConfig;
use crate::settings::graph::{GraphName, StrategyName};
use crate::store::checkpoint::AgentState;
use crate::usage::usage;
use crate::value::number::short;
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use flat_comm::{Mixing, Neighbours, Ranks};
use flat_core::ParamVec;
use flat_data::Batch;
use flat_nn::{Loss, Model};
use flat_optim::{Error, Optimizer, PendingStep, Rows, StepReport};
use std::collections::BTreeMap;

/// The name that the mixing weights have among the saved state.
const MIXING: &str = "mixing";

/// The agents of a network that this rank holds. They take turns in the variables of one model.
pub struct Agents {
    strategy: StrategyName,
    neighbours: Neighbours,
    /// Weights, by agent.
    theta: Vec<ParamVec>,
    /// BatchNorm's running statistics, by agent.
    statistics: Vec<Vec<Tensor>>,
    optimizers: Vec<Optimizer>,
}

impl Agents {
    /// The agents of a run on these ranks, all at the model's weights; `None` where it has no network. Takes the memory of a vector
    /// of weights and an optimizer's state an agent.
    ///
    /// # Errors
    /// Mixing weights that cannot be had; an epoch whose last batch has fewer images than agents; options out of range.
    pub fn of(config: &RunConfig, model: &Model, data: &Data, ranks: &Ranks) -> Result<Option<Self>> {
        if !config.has_network() {
            return Ok(None);
        }
        let mixing = config.mixing()?;
        let (agents, images, batch) = (mixing.agents(), data.train.split().len(), config.batch_size);
        let (last, epoch) = (images % batch, steps_per_epoch(config, data));
        if last > 0 && last < agents && total_steps(config, epoch) >= epoch {
            return Err(usage(format!(
                "--agents {agents}: the last batch of an epoch of {images} images has {last}, not one for each; give another \
                 --batch-size than {batch}, or --train-limit {}",
                (images - last).max(agents)
            )));
        }
        let neighbours = Neighbours::new(mixing, ranks.clone())?;
        let own = || neighbours.own();
        let theta = own().map(|_| Ok(model.params().read()?)).collect::<Result<_>>()?;
        let statistics = own().map(|_| Ok(read(model)?)).collect::<Result<_>>()?;
        let optimizers = own().map(|k| optimizer::of_agent(config, model, data, k)).collect::<Result<_>>()?;
        Ok(Some(Self { strategy: config.strategy, theta, statistics, optimizers, neighbours }))
    }

    /// The weights with which they mix.
    pub fn mixing(&self) -> &Mixing {
        self.neighbours.mixing()
    }

    /// The network in a line for a person; `graph` is its graph. Costs two spectra of the mixing matrix.
    pub fn words(&self, graph: &GraphName) -> String {
        let (mixing, strategy) = (self.mixing(), self.strategy);
        let (gap, least) = (mixing.spectral_gap(), mixing.smallest_eigenvalue());
        let agents = mixing.agents();
        format!(
            "{agents} agents by {strategy} over {graph}: spectral gap {}, smallest eigenvalue {}",
            short(gap),
            short(least)
        )
    }

    /// A step of every agent on its part of `batch`, and a mixture. The report is of all agents: means of their numbers, weighted by their
    /// parts. Where an agent's loss or gradient is not finite, that agent makes no step, and the report says so; the others make theirs.
    /// Costs the gradients of a step on the whole batch, and a pass over the weights for every agent and neighbour.
    ///
    /// # Errors
    /// As [`Optimizer::step`]; a rank that is gone.
    pub fn step(
        &mut self,
        (model, loss): (&Model, Loss),
        batch: &Batch,
        tally: &mut Tally,
        keep_on_device: bool,
    ) -> flat_optim::Result<(PendingStep, usize)> {
        let (agents, own) = (self.mixing().agents(), self.neighbours.own());
        let (mut moved, mut reports) = (Vec::with_capacity(own.len()), Vec::with_capacity(own.len()));
        for (i, index) in own.enumerate() {
            self.enter(i, model)?;
            let part = part(batch, Rows::Shard { index, of: agents })?;
            let kept = Kept::of(model)?;
            let mut objective = BatchLoss::new(model, loss, &part, tally).keep_on_device(keep_on_device);
            let report = self.optimizers[i].step(&mut objective)?;
            if report.skipped.is_some() {
                kept.put_back()?;
            }
            moved.push(model.params().read()?);
            self.statistics[i] = read(model)?;
            reports.push((part.len(), report));
        }
        let mixed = match self.strategy {
            StrategyName::Consensus => self.neighbours.mix(&mut moved, &mut self.theta),
            _ => {
                let mut from = moved.iter().map(ParamVec::duplicate).collect::<flat_core::Result<Vec<_>>>()?;
                self.neighbours.mix(&mut moved, &mut from)
            }
        };
        mixed.map_err(Error::objective)?;
        self.theta = moved;
        let report = self.report(batch.len(), &reports)?;
        Ok((PendingStep::known(report), batch.len()))
    }

    /// The report of all agents' steps, of which `own` are this rank's with the sizes of their parts.
    fn report(&self, rows: usize, own: &[(usize, StepReport)]) -> flat_optim::Result<StepReport> {
        let numbers: Vec<f64> = own.iter().flat_map(|(part, report)| report::numbers(*part, report)).collect();
        let all = self.neighbours.numbers(report::NUMBERS, &numbers).map_err(Error::objective)?;
        let first = own.first().map(|(_, report)| report).ok_or_else(|| Error::objective("a rank without agents"))?;
        Ok(report::of_all(first, rows, &all))
    }

    /// Puts one of this rank's agents into the model.
    fn enter(&self, i: usize, model: &Model) -> flat_optim::Result<()> {
        model.params().write(&self.theta[i])?;
        Ok(self.put_statistics(i, model)?)
    }

    /// Puts the mean of all agents into the model, each at the point where its optimizer would be evaluated. BatchNorm's statistics are
    /// the first agent's. Whether these are of that point: they are where there is one agent without an average of its own.
    ///
    /// # Errors
    /// candle's; a rank that is gone.
    pub fn put_mean(&self, model: &Model) -> Result<bool> {
        let (mut points, mut own) = (Vec::with_capacity(self.theta.len()), self.mixing().agents() == 1);
        for (i, optimizer) in self.optimizers.iter().enumerate() {
            self.enter(i, model)?;
            let point = optimizer.evaluation_point()?;
            own &= point.is_none() && !optimizer.lags_statistics();
            points.push(point.map_or_else(|| self.theta[i].duplicate(), Ok)?);
        }
        model.params().write(&self.neighbours.mean(&points)?)?;
        self.put_statistics(0, model)?;
        Ok(own)
    }

    /// Puts the running statistics of one of this rank's agents into the model.
    fn put_statistics(&self, i: usize, model: &Model) -> candle_core::Result<()> {
        let own = self.statistics.get(i).into_iter().flatten();
        model.buffers().values().zip(own).try_for_each(|(var, own)| var.set(own))
    }

    /// Consensus distance: the mean over the agents of the squared distance of their weights to the mean. Three passes over memory an
    /// agent.
    ///
    /// # Errors
    /// candle's; a rank that is gone.
    pub fn distance(&self) -> Result<f64> {
        let mean = self.neighbours.mean(&self.theta)?;
        let square = |theta: &ParamVec| {
            let apart = theta.plus(-1.0, &mean)?;
            apart.dot(&apart)
        };
        let own = self.theta.iter().map(square).collect::<flat_core::Result<Vec<_>>>()?;
        Ok(self.neighbours.numbers(1, &own)?.iter().sum::<f64>() / self.mixing().agents() as f64)
    }

    /// Everything that later steps depend on: of the network, and of each agent on the first rank; elsewhere of this rank's
    /// agents. The model is left at the last of these.
    ///
    /// # Errors
    /// candle's; a rank that is gone.
    pub(crate) fn state(&mut self, model: &Model) -> Result<(BTreeMap<String, Tensor>, Vec<AgentState>)> {
        let mut agents = Vec::with_capacity(self.theta.len());
        for i in 0..self.theta.len() {
            self.enter(i, model)?;
            agents.push(AgentState { model: model.state()?, optimizer: self.optimizers[i].state()? });
        }
        let agents = gather::on_first(self.neighbours.ranks(), self.neighbours.own().start, agents)?;
        Ok(([(MIXING.to_string(), self.weights()?)].into(), agents))
    }

    fn weights(&self) -> candle_core::Result<Tensor> {
        let (mixing, n) = (self.mixing(), self.mixing().agents());
        let weights: Vec<f64> = (0..n).flat_map(|k| (0..n).map(move |l| mixing.weight(k, l))).collect();
        Tensor::from_vec(weights, (n, n), &Device::Cpu)
    }

    /// Puts back what [`Self::state`] gave the first rank, on any number of ranks.
    ///
    /// # Errors
    /// Another number of agents, other mixing weights, another model or optimizer.
    pub(crate) fn load(
        &mut self,
        model: &Model,
        network: &BTreeMap<String, Tensor>,
        agents: &[AgentState],
    ) -> Result<()> {
        if agents.len() != self.mixing().agents() {
            bail!("it is of {} agents, config.toml says {}", agents.len(), self.mixing().agents());
        }
        let saved = network.get(MIXING).context("it has no mixing weights")?;
        let now = self.weights()?;
        if saved.dims() != now.dims()
            || saved.flatten_all()?.to_vec1::<f64>()? != now.flatten_all()?.to_vec1::<f64>()?
        {
            return Err(usage(
                "--resume: the weights of --graph are others than the run began with: put its file back",
            ));
        }
        let own = self.neighbours.own();
        for (i, agent) in agents[own.clone()].iter().enumerate() {
            let of = || format!("agent {}", own.start + i);
            model.set_state(&agent.model).with_context(of)?;
            self.theta[i] = model.params().read()?;
            self.statistics[i] = read(model)?;
            self.optimizers[i].load_state(&agent.optimizer).with_context(of)?;
        }
        Ok(())
    }

    /// Optimizer steps done.
    pub fn steps(&self) -> u64 {
        self.optimizers.first().map_or(0, Optimizer::steps)
    }
}

/// Copies of a model's BatchNorm statistics.
fn read(model: &Model) -> candle_core::Result<Vec<Tensor>> {
    model.buffers().values().map(|var| var.as_detached_tensor().copy()).collect()
}

/// These rows of a batch.
fn part(batch: &Batch, rows: Rows) -> flat_optim::Result<Batch> {
    let rows = rows.range(batch.len())?;
    Ok(Batch {
        images: batch.images.narrow(0, rows.start, rows.len())?,
        labels: batch.labels.narrow(0, rows.start, rows.len())?,
        indices: batch.indices[rows].to_vec(),
    })
}

#[cfg(test)]
mod tests;
