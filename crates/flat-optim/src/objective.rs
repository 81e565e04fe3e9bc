//! The objective of an optimizer: a mean loss over the rows of a batch.

use crate::{Error, Result, Scalar, Team};
use candle_core::Tensor;
use flat_core::{ParamVec, Params};
use std::ops::Range;

/// Which rows (examples) of the batch an evaluation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// The whole batch.
    All,
    /// One example.
    One(usize),
    /// Consecutive rows.
    Range {
        /// The first.
        start: usize,
        /// How many.
        len: usize,
    },
    /// Part `index` of `of` consecutive parts whose sizes differ by at most one.
    Shard {
        /// Which part, from 0.
        index: usize,
        /// How many parts; at most the number of rows.
        of: usize,
    },
}

impl Rows {
    /// The rows as a range within a batch of `rows`.
    ///
    /// # Errors
    /// [`Error::NoSuchRows`] if the batch is empty or has no such rows.
    pub fn range(self, rows: usize) -> Result<Range<usize>> {
        let range = match self {
            Self::All => 0..rows,
            Self::One(i) if i < rows => i..i + 1,
            Self::Shard { index, of } if index < of && of <= rows => index * rows / of..(index + 1) * rows / of,
            Self::Range { start, len } if start.checked_add(len).is_some_and(|end| end <= rows) => start..start + len,
            _ => 0..0,
        };
        if range.is_empty() {
            return Err(Error::NoSuchRows { asked: format!("{self:?}"), available: rows });
        }
        Ok(range)
    }

    /// The rows' part of a batch of `rows`, in 0..=1.
    ///
    /// # Errors
    /// As [`Self::range`].
    pub fn share(self, rows: usize) -> Result<f64> {
        Ok(self.range(rows)?.len() as f64 / rows as f64)
    }
}

/// Which batch the evaluations of a step use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// The step's own.
    Step,
    /// A further one of this step, by its index from 0: a function of seed, step and index alone.
    Fresh(u32),
    /// The step's batch of another sampler, by its name.
    Source(&'static str),
}

/// Something that a rule needs beside gradients of the step's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The momentum of the base optimizer.
    Momentum,
    /// Losses of single examples, and gradients of chosen ones.
    Losses,
    /// Further batches within a step.
    FreshBatches,
    /// Another sampler of the data, by its name.
    Source(&'static str),
    /// Eigenvectors of the Hessian.
    Subspace,
    /// The number of training examples.
    Examples,
    /// The number of steps of the run.
    Steps,
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Momentum => {
                f.write_str("the momentum of a base optimizer (--base sgd with --momentum above 0, or --base adamw)")
            }
            Self::Losses => f.write_str("losses of single examples"),
            Self::FreshBatches => f.write_str("further batches within a step"),
            Self::Source(name) => write!(f, "a second sampler of the data, `{name}`"),
            Self::Subspace => f.write_str("eigenvectors of the Hessian (Builder::subspace)"),
            Self::Steps => f.write_str("the number of steps of the run (Builder::steps)"),
            Self::Examples => f.write_str("the number of training examples (Builder::examples)"),
        }
    }
}

/// One evaluation of the objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Which rows to average over.
    pub rows: Rows,
    /// Whether BatchNorm may update its running statistics. True for exactly one evaluation of an optimizer step, the
    /// first one, which is at theta for every rule that evaluates there. In every other evaluation the forward pass
    /// is in training mode but leaves the running statistics alone. An objective that may meet non-finite numbers
    /// should keep them out of its running statistics: a skipped step restores the parameters, not the buffers of the
    /// model.
    pub update_stats: bool,
}

/// A loss and its gradient.
#[derive(Debug)]
pub struct Sample {
    /// Mean loss over the rows.
    pub loss: Scalar,
    /// Its gradient in all parameters.
    pub grad: ParamVec,
    /// Euclidean norm of `grad`.
    pub norm: Scalar,
}

impl Sample {
    /// The loss of a graph that reaches the variables, and its gradient; a gradient of zeros where the loss is not finite.
    ///
    /// # Errors
    /// A parameter that the loss does not depend on; a loss that is not one number; candle's.
    pub fn of(loss: &Tensor, params: &Params) -> Result<Self> {
        let value = Scalar::of(loss)?;
        if value.host().is_some_and(|x| !x.is_finite()) {
            return Self::new(value, ParamVec::zeros(params.space())?);
        }
        Self::new(value, params.gradient(&loss.backward()?)?)
    }

    /// A loss and gradient; computes the norm, which is left on the device if the loss is there.
    ///
    /// # Errors
    /// candle's.
    pub fn new(loss: impl Into<Scalar>, grad: ParamVec) -> Result<Self> {
        let loss = loss.into();
        let norm = grad.norm_at(loss.is_on_device())?;
        Ok(Self { loss, grad, norm })
    }

    /// `(1 - share) grad + share other`.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn mixed(&self, share: f64, other: &ParamVec) -> Result<ParamVec> {
        let mut mixed = self.grad.scaled(1.0 - share)?;
        mixed.add_scaled(share, other)?;
        Ok(mixed)
    }
}

/// A mean loss over the rows of the present batch, as a function of the model's variables.
///
/// Any closure `FnMut(Query) -> candle_core::Result<Tensor>` is an objective of one row; [`crate::WithRows`] gives a closure a
/// batch of several, [`crate::WithLosses`] makes one of the losses of single examples. An objective owns (or borrows) the batch, and must be a pure function of the variables and the
/// query within one step: a rule compares evaluations at several points. Hence dropout and augmentation have to be fixed
/// for the step, and BatchNorm's running statistics change only where [`Query::update_stats`] says so.
pub trait Objective {
    /// Number of rows in [`Rows::All`].
    fn rows(&self) -> usize;

    /// What a gradient of these rows costs, in gradients of the whole batch: their share of it. An objective that computes
    /// more than it is asked for says so here, and evaluations are counted by it.
    ///
    /// # Errors
    /// Rows outside of the batch.
    fn cost(&self, rows: Rows) -> Result<f64> {
        rows.share(self.rows())
    }

    /// Mean loss over the rows of the query, as a one-element tensor whose graph reaches the variables.
    ///
    /// # Errors
    /// Whatever goes wrong in the model, or [`Error::objective`].
    fn loss(&mut self, query: Query) -> Result<Tensor>;

    /// Loss and gradient. The default calls [`Self::loss`] and `backward`; an objective that streams its rows, or that
    /// knows its gradient in closed form, overrides this. A loss that is not finite may skip the backward pass and be
    /// returned with any gradient.
    ///
    /// # Errors
    /// As [`Self::loss`]; a parameter that the loss does not depend on; a loss that is not one number.
    fn loss_and_grad(&mut self, params: &Params, query: Query) -> Result<Sample> {
        Sample::of(&self.loss(query)?, params)
    }

    /// Whether it leaves losses and norms unread although the device is the CPU, as on other devices.
    fn leaves_numbers(&self) -> bool {
        false
    }

    /// The ranks that share it out, where a batch is evaluated in grains.
    fn team(&self) -> Option<Team> {
        None
    }

    /// Whether the evaluations that follow are this rank's own, of rows that no other rank evaluates.
    fn set_alone(&mut self, _alone: bool) {}

    /// Whether it has what a rule may need beyond the above.
    fn offers(&self, _need: Need) -> bool {
        false
    }

    /// [`Self::loss_and_grad`], and the loss of each of its rows from the same forward pass, a vector.
    ///
    /// # Errors
    /// As [`Self::loss_and_grad`]; [`Error::Unmet`] without [`Need::Losses`].
    fn losses_and_grad(&mut self, _params: &Params, _query: Query) -> Result<(Sample, Tensor)> {
        Err(Error::Unmet { need: Need::Losses })
    }

    /// The loss of each row of the query, a vector, by a forward pass.
    ///
    /// # Errors
    /// As [`Self::losses_and_grad`].
    fn losses(&mut self, _query: Query) -> Result<Tensor> {
        Err(Error::Unmet { need: Need::Losses })
    }

    /// Mean loss and gradient over chosen rows of the batch, given by ascending indices. They are a batch of their own to
    /// BatchNorm.
    ///
    /// # Errors
    /// As [`Self::losses_and_grad`].
    fn chosen_loss_and_grad(&mut self, _params: &Params, _rows: &[u32], _update_stats: bool) -> Result<Sample> {
        Err(Error::Unmet { need: Need::Losses })
    }

    /// Takes another batch for the evaluations that follow, up to the next switch; returns its rows.
    ///
    /// # Errors
    /// [`Error::Unmet`] without what the batch needs; whatever reading it returns.
    fn switch(&mut self, to: Batch) -> Result<usize> {
        match to {
            Batch::Step => Ok(self.rows()),
            Batch::Fresh(_) => Err(Error::Unmet { need: Need::FreshBatches }),
            Batch::Source(name) => Err(Error::Unmet { need: Need::Source(name) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_consecutive_cover_the_batch_and_differ_by_at_most_one() -> Result<()> {
        for (rows, of) in [(10, 3), (7, 7), (128, 5), (1, 1)] {
            let mut next = 0;
            for index in 0..of {
                let r = Rows::Shard { index, of }.range(rows)?;
                assert_eq!(r.start, next);
                assert!(r.len() == rows / of || r.len() == rows.div_ceil(of));
                next = r.end;
            }
            assert_eq!(next, rows);
        }
        Ok(())
    }

    #[test]
    fn rows_outside_the_batch_are_refused() {
        assert!(Rows::One(3).range(3).is_err());
        assert!(Rows::Shard { index: 2, of: 2 }.range(9).is_err());
        assert!(Rows::Shard { index: 0, of: 4 }.range(3).is_err());
        assert!(Rows::All.range(0).is_err());
    }
}
