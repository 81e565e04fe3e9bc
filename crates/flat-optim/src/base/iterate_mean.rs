//! The mean of the iterates, which schedule-free bases carry as an offset from theta.

use crate::{Masks, Result, StateVisitor, Stateful};
use flat_core::{Number, ParamVec, Params, Space, Update};

/// The iterates of a schedule-free base in two vectors: theta, where gradients are taken (the paper's y), and the offset of
/// theta from the mean x of the other iterates z,
///
/// ```text
/// offset = y - x;   x = y - offset;   z = y + beta / (1 - beta) offset
/// ```
///
/// An offset of zeros means that all three are theta, whatever theta is: nothing has to be copied at the first step.
#[derive(Debug)]
pub(super) struct IterateMean {
    beta: f64,
    power: f64,
    weights: Weights,
    offset: ParamVec,
}

/// The weights of the iterates so far.
#[derive(Debug, Clone, Copy, Default)]
struct Weights {
    updates: u64,
    largest_lr: f64,
    /// Their mean, which a rate that stays leaves as it is.
    mean: f64,
    /// The last one's share in their sum.
    share: f64,
}

impl Weights {
    /// With those of another update at this learning rate, `t^power largest_lr^2`.
    fn with(self, lr: f64, power: f64) -> Self {
        let (updates, largest_lr) = (self.updates + 1, self.largest_lr.max(lr));
        let t = updates as f64;
        let weight = t.powf(power) * largest_lr.powi(2);
        let mean = self.mean + (weight - self.mean) / t;
        Self { updates, largest_lr, mean, share: if mean > 0.0 { weight / (mean * t) } else { 0.0 } }
    }
}

impl IterateMean {
    pub(super) fn new(beta: f64, power: f64, space: &Space) -> Result<Self> {
        Ok(Self { beta, power, weights: Weights::default(), offset: ParamVec::zeros(space)? })
    }

    pub(super) fn offset(&self) -> Option<&ParamVec> {
        (self.weights.updates > 0).then_some(&self.offset)
    }

    pub(super) fn offset_mut(&mut self) -> &mut ParamVec {
        &mut self.offset
    }

    /// The index of the next update, from 1.
    pub(super) fn next(&self) -> u64 {
        self.weights.updates + 1
    }

    /// An update at this learning rate: `moved` carries it out, given the offset and what moves theta and the offset of each
    /// parameter.
    pub(super) fn update(
        &mut self,
        lr: f64,
        masks: &Masks,
        moved: impl FnOnce(&mut ParamVec, &(dyn Fn(usize) -> Shift + Sync)) -> Result<()>,
    ) -> Result<()> {
        let (weights, beta) = (self.weights.with(lr, self.power), self.beta);
        moved(&mut self.offset, &|i| Shift::new(beta, weights.share, lr * masks.lr_scale(i)))?;
        self.weights = weights;
        Ok(())
    }

    /// Takes another direction into the update that was last.
    pub(super) fn add(&mut self, params: &Params, x: &ParamVec, lr: f64, masks: &Masks) -> Result<()> {
        let (share, beta) = (self.weights.share, self.beta);
        let shift = |i| Shift { pull: 0.0, old: 1.0, ..Shift::new(beta, share, lr * masks.lr_scale(i)) };
        Ok(params.update([x], [&mut self.offset], shift)?)
    }
}

impl Stateful for IterateMean {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("updates", &mut self.weights.updates)?;
        visitor.number("largest_lr", &mut self.weights.largest_lr)?;
        visitor.number("weight", &mut self.weights.mean)?;
        visitor.vector("offset", &mut self.offset)
    }
}

/// One update along `n` with c the share of the new z:
///
/// ```text
/// z <- z - lr n;   x <- (1 - c) x + c z;   y <- (1 - beta) z + beta x
/// ```
///
/// which is, in theta and offset,
///
/// ```text
/// y <- y + c beta / (1 - beta) offset - (1 - beta (1 - c)) lr n
/// offset <- (1 - c) offset - (1 - c) (1 - beta) lr n
/// ```
#[derive(Clone, Copy)]
pub(super) struct Shift {
    pull: f64,
    theta: f64,
    old: f64,
    offset: f64,
}

impl Shift {
    fn new(beta: f64, share: f64, lr: f64) -> Self {
        let old = 1.0 - share;
        Self {
            pull: share * beta / (1.0 - beta),
            theta: lr * (beta * old - 1.0),
            old,
            offset: -old * lr * (1.0 - beta),
        }
    }

    #[inline(always)]
    pub(super) fn apply<E: Number>(&self, y: E, offset: E, n: E) -> (E, E) {
        let moved = y + offset.clone() * self.pull + n.clone() * self.theta;
        (moved, offset * self.old + n * self.offset)
    }
}

impl Update<1, 1> for Shift {
    #[inline(always)]
    fn update<E: Number>(&self, y: E, [n]: [E; 1], [offset]: [E; 1]) -> (E, [E; 1]) {
        let (y, offset) = self.apply(y, offset, n);
        (y, [offset])
    }
}
