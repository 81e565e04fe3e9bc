//! Evaluations in parts of a batch, their counting, and their means.

use super::Oracle;
use crate::{Error, Estimate, Query, Result, Rows, Sample, Scalar};
use flat_core::ParamVec;

impl Oracle<'_> {
    /// Averages estimates over `parts` consecutive parts of the batch, weighted by their sizes. Each part is the whole batch to
    /// `each`, which gets its index. Ranks share the parts out where there are as many as grains: `each` must
    /// not depend on the parts before, nor leave anything behind.
    ///
    /// # Errors
    /// Whatever `each` returns.
    pub fn average_within(
        &mut self,
        parts: usize,
        each: impl FnMut(&mut Self, u64) -> Result<Estimate>,
    ) -> Result<Estimate> {
        match self.objective.team() {
            Some(team) if parts.min(self.rows()) >= team.grains() => self.average_shared(&team, parts, each),
            _ => self.average_in_turn(parts, each),
        }
    }

    /// [`Self::average_within`] for parts that every rank has to see, one after another.
    ///
    /// # Errors
    /// Whatever `each` returns.
    pub fn average_in_turn(
        &mut self,
        parts: usize,
        mut each: impl FnMut(&mut Self, u64) -> Result<Estimate>,
    ) -> Result<Estimate> {
        let all = self.rows();
        let parts = parts.clamp(1, all);
        if parts == 1 {
            return each(self, 0);
        }
        let mut mean: Option<Estimate> = None;
        for index in 0..parts {
            let rows = Rows::Shard { index, of: parts };
            let weight = rows.share(all)?;
            let part = self.within(rows, |f| each(f, index as u64))?;
            match mean.as_mut() {
                None => mean = Some(part.scaled(weight)?),
                Some(mean) => mean.add(weight, part)?,
            }
        }
        mean.ok_or(Error::NoSuchRows { asked: "an average".into(), available: all })
    }

    /// The parts in which some rows are evaluated, each with its share.
    pub(super) fn parts(&self, rows: Rows) -> Result<Vec<(Rows, f64)>> {
        let whole = rows == Rows::All || self.window.is_some() && !matches!(rows, Rows::One(_));
        let placed = self.place(rows)?;
        let range = placed.range(self.rows)?;
        // as many as the rows' share of the micro-batches, so that none is larger than a micro-batch
        let of = if whole { (range.len() * self.micro_batches).div_ceil(self.rows) } else { 1 };
        if of <= 1 {
            return Ok(vec![(placed, 1.0)]);
        }
        let part = |index| {
            let shard = Rows::Shard { index, of };
            let inner = shard.range(range.len())?;
            let rows = match self.window {
                None => shard,
                Some(_) => Rows::Range { start: range.start + inner.start, len: inner.len() },
            };
            Ok((rows, inner.len() as f64 / range.len() as f64))
        };
        (0..of).map(part).collect()
    }

    pub(super) fn evaluate(&mut self, rows: Rows, place: &'static str) -> Result<Sample> {
        let parts = self.parts(rows)?;
        let mut mean = Mean::default();
        for (part, weight) in &parts {
            let sample = self.call(*part, place)?;
            mean.add(*weight, sample)?;
        }
        mean.sample()
    }

    fn call(&mut self, rows: Rows, place: &'static str) -> Result<Sample> {
        let query = self.query(rows, 1.0)?;
        let sample = self.objective.loss_and_grad(self.params, query)?;
        self.checked(sample, place)
    }

    /// A query that is counted: at `price` gradients of the rows.
    pub(super) fn query(&mut self, rows: Rows, price: f64) -> Result<Query> {
        self.count(self.objective.cost(rows)? * price);
        // A single example says too little for running statistics: they wait for the next evaluation.
        let update_stats = self.stats_due && (self.rows == 1 || !matches!(rows, Rows::One(_)));
        self.stats_due &= !update_stats;
        Ok(Query { rows, update_stats })
    }

    /// Counts a call that costs as much as this many gradients of the present batch.
    pub(super) fn count(&mut self, evals: f64) {
        self.evals +=
            if self.rows == self.step_rows { evals } else { evals * self.rows as f64 / self.step_rows as f64 };
        self.calls += 1;
    }

    pub(super) fn checked(&mut self, sample: Sample, place: &'static str) -> Result<Sample> {
        for (what, number) in [("loss", &sample.loss), ("gradient norm", &sample.norm)] {
            match number.host() {
                Some(value) if !value.is_finite() => return Err(Error::NonFinite { what, value, place }),
                Some(_) => {}
                None => self.unread.push(number.clone()),
            }
        }
        Ok(sample)
    }
}

/// A weighted mean of samples.
#[derive(Default)]
pub(super) struct Mean(Option<Sum>);

enum Sum {
    /// The first, untouched: alone it is the mean.
    One(f64, Sample),
    Many(Scalar, ParamVec),
}

impl Mean {
    pub(super) fn add(&mut self, weight: f64, part: Sample) -> Result<()> {
        self.0 = Some(match self.0.take() {
            None => Sum::One(weight, part),
            Some(sum) => {
                let (loss, mut grad) = sum.weighted()?;
                grad.add_scaled(weight, &part.grad)?;
                Sum::Many(loss.plus(&part.loss.times(weight)?)?, grad)
            }
        });
        Ok(())
    }

    pub(super) fn sample(self) -> Result<Sample> {
        match self.0 {
            Some(Sum::One(_, sample)) => Ok(sample),
            Some(Sum::Many(loss, grad)) => Sample::new(loss, grad),
            None => Err(Error::NoSuchRows { asked: "a mean".into(), available: 0 }),
        }
    }
}

impl Sum {
    fn weighted(self) -> Result<(Scalar, ParamVec)> {
        match self {
            Self::Many(loss, grad) => Ok((loss, grad)),
            Self::One(weight, Sample { loss, mut grad, .. }) => {
                grad.scale(weight)?;
                Ok((loss.times(weight)?, grad))
            }
        }
    }
}
