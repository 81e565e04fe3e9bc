//! The ranks that share out a batch, and the grains in which they do.

use crate::{Error, Result, Rows, Scalar};
use flat_comm::{Growing, Ranks, Tree};
use flat_core::{ParamVec, Space};
use std::ops::Range;

/// The ranks of a run and the grains of its batches. A grain is a part of a batch that is evaluated at once; gradients of grains are
/// added up as a balanced tree. So the number of grains is part of a run, and the number of ranks is not: any number
/// of ranks up to that of grains finds the same bits.
#[derive(Debug, Clone)]
pub struct Team {
    ranks: Ranks,
    grains: usize,
}

/// A part of some rows: its rows, and its share of them.
pub(crate) struct Grain {
    pub index: usize,
    pub rows: Range<usize>,
    pub share: f64,
}

impl Team {
    /// Of these ranks, with at least as many grains.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for fewer grains than ranks, or none.
    pub fn new(ranks: Ranks, grains: usize) -> Result<Self> {
        if grains < ranks.size() {
            let why = format!("{} ranks share the grains of a batch out: give at least as many", ranks.size());
            return Err(Error::option("grains", grains, why));
        }
        Ok(Self { ranks, grains })
    }

    /// The ranks.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// The parts of a batch.
    pub fn grains(&self) -> usize {
        self.grains
    }

    /// The tree over the grains of so many rows, no more than there are rows.
    pub(crate) fn tree(&self, rows: usize) -> Tree {
        Tree::over(self.grains.min(rows))
    }

    /// This rank's grains of some rows.
    pub(crate) fn own(&self, tree: Tree, of: &Range<usize>) -> Result<Vec<Grain>> {
        let grain = |index| {
            let rows = Rows::Shard { index, of: tree.parts() }.range(of.len())?;
            let share = rows.len() as f64 / of.len() as f64;
            Ok(Grain { index, rows: of.start + rows.start..of.start + rows.end, share })
        };
        self.ranks.own(tree.parts()).map(grain).collect()
    }

    /// The sum of numbers and vectors over things in their order, such as the batches of an epoch. Each grain has some in a row, which
    /// `part` adds up; with one grain that is `part` of all of them.
    ///
    /// # Errors
    /// Those of `part`; a rank that is gone.
    pub fn summed(
        &self,
        things: usize,
        space: &Space,
        mut part: impl FnMut(Range<usize>) -> Result<(Scalar, ParamVec)>,
    ) -> Result<(Scalar, ParamVec)> {
        let tree = self.tree(things);
        let own = self.ranks.own(tree.parts());
        let (mut sum, mut numbers) = (Growing::from(tree, own.start), Vec::with_capacity(own.len()));
        for index in own {
            let (number, x) = part(Rows::Shard { index, of: tree.parts() }.range(things)?)?;
            numbers.push(number);
            push(&mut sum, x)?;
        }
        Ok((self.total(tree.parts(), numbers)?, self.sum(tree, sum, space)?))
    }

    /// The sum of the numbers of all parts, in their order. Waits for the device where there are several ranks.
    #[expect(clippy::disallowed_methods, reason = "other ranks wait for the numbers")]
    pub(crate) fn total(&self, parts: usize, own: Vec<Scalar>) -> Result<Scalar> {
        if self.ranks.is_alone() {
            return own.iter().try_fold(Scalar::from(0.0), |sum, number| Ok(sum.plus(number)?));
        }
        let own = own.iter().map(Scalar::value).collect::<flat_core::Result<Vec<f64>>>()?;
        Ok(Scalar::from(self.ranks.gather(parts, 1, &own)?.into_iter().sum::<f64>()))
    }

    /// The sum of vectors of parts, of which `own` holds this rank's nodes.
    pub(crate) fn sum(&self, tree: Tree, own: Growing<ParamVec>, space: &Space) -> Result<ParamVec> {
        Ok(self.ranks.sum(tree, own.nodes().collect(), || ParamVec::zeros(space))?)
    }
}

/// Adds a vector to a sum that grows.
pub(crate) fn push(sum: &mut Growing<ParamVec>, x: ParamVec) -> Result<()> {
    Ok(sum.push(x, |sum, x| sum.add_scaled(1.0, &x))?)
}
