//! The roll-back of an update whose loss or gradient turns out not to be finite: the device itself puts back what was there.

use crate::{BaseOptimizer, GradientRule, Result, StateVisitor, Stateful};
use candle_core::Tensor;
use flat_core::{ParamVec, Params};

/// What an update changes, as it was before: the device puts it back if the step turns out to be skipped.
pub(crate) struct Undo {
    /// Theta and the state of the base; `None` for an update that leaves both as they are by itself.
    copied: Option<(Tensor, Snapshot)>,
    rule: Snapshot,
}

impl Undo {
    /// Of an update that comes next; `theta` are the parameters, where a copy of them is there already.
    pub(crate) fn new(
        params: &Params,
        theta: Option<&ParamVec>,
        base: &mut dyn BaseOptimizer,
        rule: Snapshot,
    ) -> Result<Self> {
        let theta = match theta {
            Some(theta) => theta.as_tensor().clone(),
            None => params.read()?.as_tensor().clone(),
        };
        Ok(Self { copied: Some((theta, Snapshot::of(base)?)), rule })
    }

    /// Of a rule alone.
    pub(crate) fn of_rule(rule: Snapshot) -> Self {
        Self { copied: None, rule }
    }

    /// Whether it is of a rule alone.
    pub(crate) fn is_of_rule(&self) -> bool {
        self.copied.is_none()
    }

    /// Keeps parameters and states as they are where the flag is set, or puts them back.
    pub(crate) fn unless(
        self,
        taken: &Tensor,
        params: &Params,
        base: &mut dyn BaseOptimizer,
        rule: &mut dyn GradientRule,
    ) -> Result<()> {
        if let Some((theta, was)) = self.copied {
            params.write(&chosen(taken, &params.read()?, &theta)?)?;
            was.keep_or_restore(taken, base)?;
        }
        self.rule.keep_or_restore(taken, rule)
    }
}

/// `new` where the flag is set, otherwise `old`.
fn chosen(flag: &Tensor, new: &ParamVec, old: &Tensor) -> Result<ParamVec> {
    let new_flat = new.as_tensor();
    let flat = flag.broadcast_as(new_flat.shape())?.where_cond(new_flat, old)?;
    Ok(ParamVec::from_tensor(new.layout().clone(), flat)?)
}

/// Copies of the vectors of a state, in the order of the traversal.
#[derive(Debug, Default)]
pub(crate) struct Snapshot(Vec<Tensor>);

impl Snapshot {
    pub(crate) fn of(state: &mut dyn Stateful) -> Result<Self> {
        let mut copies = Self::default();
        state.visit(&mut copies)?;
        Ok(copies)
    }

    /// Keeps the vectors as they are where the flag is set, otherwise puts the copies back.
    pub(crate) fn keep_or_restore(self, flag: &Tensor, state: &mut dyn Stateful) -> Result<()> {
        state.visit(&mut Choice { flag, copies: self.0.into_iter() })
    }
}

impl StateVisitor for Snapshot {
    fn vector(&mut self, _: &str, value: &mut ParamVec) -> Result<()> {
        self.0.push(value.as_tensor().copy()?);
        Ok(())
    }
    fn count(&mut self, _: &str, _: &mut u64) -> Result<()> {
        Ok(())
    }
    fn number(&mut self, _: &str, _: &mut f64) -> Result<()> {
        Ok(())
    }
}

struct Choice<'a> {
    flag: &'a Tensor,
    copies: std::vec::IntoIter<Tensor>,
}

impl StateVisitor for Choice<'_> {
    fn vector(&mut self, _: &str, value: &mut ParamVec) -> Result<()> {
        if let Some(old) = self.copies.next() {
            *value = chosen(self.flag, value, &old)?;
        }
        Ok(())
    }
    fn count(&mut self, _: &str, _: &mut u64) -> Result<()> {
        Ok(())
    }
    fn number(&mut self, _: &str, _: &mut f64) -> Result<()> {
        Ok(())
    }
}
