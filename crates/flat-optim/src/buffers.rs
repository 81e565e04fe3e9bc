//! Adapter for models whose layers always move their running statistics in training mode.

use crate::{Batch, Need, Objective, Params, Query, Result, Rows, Sample};
use candle_core::{Tensor, Var};

/// An objective whose model keeps running statistics of its own accord, as `candle_nn::BatchNorm` does. Such a model
/// moves them in every forward pass in training mode and cannot obey [`Query::update_stats`]. Under a rule of two
/// gradients a step they would move by 0.19 of the batch's where the layer's momentum says 0.10, and towards
/// statistics of perturbed weights. Here they are put back after each evaluation that must not move them, and after
/// one whose loss is known to be not finite.
///
/// Costs two copies of the buffers an evaluation.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Module, ModuleT, VarBuilder, VarMap};
/// use flat_optim::{Optimizer, Params, Query, Sam, Sgd, WithBuffers};
///
/// # fn main() -> flat_optim::Result<()> {
/// let map = VarMap::new();
/// let vars = VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu);
/// let norm = candle_nn::batch_norm(2, 1e-5, vars.pp("norm"))?;
/// let out = candle_nn::linear(2, 1, vars.pp("out"))?;
/// let x = Tensor::new(&[[1.0f64, 5.0], [2.0, 3.0], [3.0, 4.0]], &Device::Cpu)?; // column means 2 and 4
///
/// let loss = |_: Query| out.forward(&norm.forward_t(&x, true)?)?.sqr()?.mean_all();
/// let mut loss = WithBuffers::new(loss, Params::buffers_of(&map)?);
/// let mut optimizer = Optimizer::new(&Params::from_varmap(&map)?, Sam::default(), Sgd::new(0.1))?;
/// optimizer.step(&mut loss)?; // two forward passes, one update of the running statistics
/// let mean = norm.running_mean().to_vec1::<f64>()?;
/// assert!((mean[0] - 0.1 * 2.0).abs() < 1e-12 && (mean[1] - 0.1 * 4.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WithBuffers<O> {
    objective: O,
    buffers: Vec<Var>,
}

impl<O: Objective> WithBuffers<O> {
    /// Guards these variables; [`Params::buffers_of`] finds those of a `VarMap`.
    pub fn new(objective: O, buffers: Vec<Var>) -> Self {
        Self { objective, buffers }
    }

    /// Evaluates, and puts the buffers back unless `keep` says of the outcome that they may stay.
    fn guarded<T>(&mut self, evaluate: impl FnOnce(&mut O) -> Result<T>, keep: impl FnOnce(&T) -> bool) -> Result<T> {
        let before: Vec<Tensor> =
            self.buffers.iter().map(|var| var.as_detached_tensor().copy()).collect::<candle_core::Result<_>>()?;
        let outcome = evaluate(&mut self.objective);
        if !outcome.as_ref().is_ok_and(keep) {
            self.buffers.iter().zip(&before).try_for_each(|(var, before)| var.set(before))?;
        }
        outcome
    }
}

impl<O: Objective> Objective for WithBuffers<O> {
    fn rows(&self) -> usize {
        self.objective.rows()
    }

    fn cost(&self, rows: Rows) -> Result<f64> {
        self.objective.cost(rows)
    }

    fn loss(&mut self, query: Query) -> Result<Tensor> {
        self.guarded(|objective| objective.loss(query), |_| query.update_stats)
    }

    fn loss_and_grad(&mut self, params: &Params, query: Query) -> Result<Sample> {
        self.guarded(|objective| objective.loss_and_grad(params, query), |sample| query.update_stats && finite(sample))
    }

    fn leaves_numbers(&self) -> bool {
        self.objective.leaves_numbers()
    }

    fn offers(&self, need: Need) -> bool {
        self.objective.offers(need)
    }

    fn losses_and_grad(&mut self, params: &Params, query: Query) -> Result<(Sample, Tensor)> {
        let keep = |(sample, _): &(Sample, Tensor)| query.update_stats && finite(sample);
        self.guarded(|objective| objective.losses_and_grad(params, query), keep)
    }

    fn losses(&mut self, query: Query) -> Result<Tensor> {
        self.guarded(|objective| objective.losses(query), |_| query.update_stats)
    }

    fn chosen_loss_and_grad(&mut self, params: &Params, rows: &[u32], update_stats: bool) -> Result<Sample> {
        let keep = |sample: &Sample| update_stats && finite(sample);
        self.guarded(|objective| objective.chosen_loss_and_grad(params, rows, update_stats), keep)
    }

    fn switch(&mut self, to: Batch) -> Result<usize> {
        self.objective.switch(to)
    }
}

fn finite(sample: &Sample) -> bool {
    sample.loss.host().is_none_or(f64::is_finite)
}
