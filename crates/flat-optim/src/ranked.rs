//! An objective whose batch is shared out over ranks.

use crate::team::{Grain, push};
use crate::{Batch, Need, Objective, Query, Result, Rows, Sample, Team};
use candle_core::{DType, Tensor};
use flat_comm::Growing;
use flat_core::Params;
use std::ops::Range;

/// An objective evaluated in grains, of which every rank evaluates its own: to the optimizer it is the objective of the whole
/// batch. Every rank holds the whole batch; a single example is evaluated by all of them.
///
/// BatchNorm normalises a grain with its own statistics, as data-parallel training does on each rank; the running statistics are those
/// of the first grain, hence of the first rank.
///
/// Cost: that of the objective; gradients move once through [`Ranks::sum`](crate::Ranks::sum) an evaluation.
///
/// ```
/// use flat_optim::{Optimizer, Params, Query, Ranked, Ranks, Sam, Sgd, Team, WithRows};
/// # fn main() -> flat_optim::Result<()> {
/// let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
/// let params = Params::new([("w".to_string(), w.clone())])?;
/// let mut optimizer = Optimizer::new(&params, Sam::new(0.05), Sgd::new(0.1))?;
/// let mut batch = WithRows::new(64, |_: Query| w.sqr()?.sum_all());
/// let team = Team::new(Ranks::default(), 8)?;
/// assert_eq!(optimizer.step(&mut Ranked::new(&mut batch, &team))?.evals, 2.0);
/// # Ok(())
/// # }
/// ```
pub struct Ranked<'a> {
    inner: &'a mut dyn Objective,
    team: &'a Team,
    alone: bool,
}

impl<'a> Ranked<'a> {
    /// `inner` shared out over a team.
    pub fn new(inner: &'a mut dyn Objective, team: &'a Team) -> Self {
        Self { inner, team, alone: false }
    }

    /// The rows that are shared out; `None` where they are evaluated at once.
    fn shared(&self, query: Query) -> Result<Option<Range<usize>>> {
        let rows = query.rows.range(self.rows())?;
        let whole = self.alone || matches!(query.rows, Rows::One(_)) || self.team.grains().min(rows.len()) < 2;
        Ok((!whole).then_some(rows))
    }

    /// Loss and gradient over some rows, whose grains `each` evaluates.
    fn summed(
        &mut self,
        params: &Params,
        rows: &Range<usize>,
        mut each: impl FnMut(&mut dyn Objective, &Grain) -> Result<Sample>,
    ) -> Result<Sample> {
        let tree = self.team.tree(rows.len());
        let grains = self.team.own(tree, rows)?;
        let mut sum = Growing::from(tree, grains.first().map_or(0, |grain| grain.index));
        let mut losses = Vec::with_capacity(grains.len());
        for grain in &grains {
            let Sample { loss, mut grad, .. } = each(self.inner, grain)?;
            losses.push(loss.times(grain.share)?);
            grad.scale(grain.share)?;
            push(&mut sum, grad)?;
        }
        let loss = self.team.total(tree.parts(), losses)?;
        Sample::new(loss, self.team.sum(tree, sum, params.space())?)
    }

    /// Numbers of all rows, of which this rank has those of its grains.
    fn gathered(&self, own: &[Tensor]) -> Result<Tensor> {
        let own = own.iter().map(on_host).collect::<Result<Vec<_>>>()?.concat();
        Ok(Tensor::new(self.team.ranks().join(&own)?, &candle_core::Device::Cpu)?)
    }
}

/// A query of a grain's rows.
fn of_grain(query: Query, grain: &Grain) -> Query {
    let rows = Rows::Range { start: grain.rows.start, len: grain.rows.len() };
    Query { rows, update_stats: query.update_stats && grain.index == 0 }
}

#[expect(clippy::disallowed_methods, reason = "losses of single examples are asked for on the host")]
fn on_host(losses: &Tensor) -> Result<Vec<f64>> {
    Ok(losses.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
}

impl Objective for Ranked<'_> {
    fn rows(&self) -> usize {
        self.inner.rows()
    }

    fn cost(&self, rows: Rows) -> Result<f64> {
        self.inner.cost(rows)
    }

    fn loss(&mut self, query: Query) -> Result<Tensor> {
        self.inner.loss(query)
    }

    fn loss_and_grad(&mut self, params: &Params, query: Query) -> Result<Sample> {
        let Some(rows) = self.shared(query)? else { return self.inner.loss_and_grad(params, query) };
        self.summed(params, &rows, |f, grain| f.loss_and_grad(params, of_grain(query, grain)))
    }

    fn leaves_numbers(&self) -> bool {
        self.inner.leaves_numbers()
    }

    fn team(&self) -> Option<Team> {
        (!self.alone && self.team.grains() > 1).then(|| self.team.clone())
    }

    fn set_alone(&mut self, alone: bool) {
        self.alone = alone;
    }

    fn offers(&self, need: Need) -> bool {
        self.inner.offers(need)
    }

    fn losses_and_grad(&mut self, params: &Params, query: Query) -> Result<(Sample, Tensor)> {
        let Some(rows) = self.shared(query)? else { return self.inner.losses_and_grad(params, query) };
        let mut own = Vec::new();
        let sample = self.summed(params, &rows, |f, grain| {
            let (sample, losses) = f.losses_and_grad(params, of_grain(query, grain))?;
            own.push(losses);
            Ok(sample)
        })?;
        Ok((sample, self.gathered(&own)?))
    }

    fn losses(&mut self, query: Query) -> Result<Tensor> {
        let Some(rows) = self.shared(query)? else { return self.inner.losses(query) };
        let grains = self.team.own(self.team.tree(rows.len()), &rows)?;
        let own =
            grains.iter().map(|grain| self.inner.losses(of_grain(query, grain))).collect::<Result<Vec<Tensor>>>()?;
        self.gathered(&own)
    }

    fn chosen_loss_and_grad(&mut self, params: &Params, rows: &[u32], update_stats: bool) -> Result<Sample> {
        if self.alone || self.team.grains().min(rows.len()) < 2 {
            return self.inner.chosen_loss_and_grad(params, rows, update_stats);
        }
        self.summed(params, &(0..rows.len()), |f, grain| {
            f.chosen_loss_and_grad(params, &rows[grain.rows.clone()], update_stats && grain.index == 0)
        })
    }

    fn switch(&mut self, to: Batch) -> Result<usize> {
        self.inner.switch(to)
    }
}
