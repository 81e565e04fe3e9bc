//! The use of a rule's estimate: who moves theta, and how.

use crate::base::along;
use crate::{BaseOptimizer, Masks, Result, Scalar};
use flat_core::{ParamVec, Params};
use std::sync::Arc;

/// The use of an estimate.
#[derive(Debug, Default)]
pub enum Then {
    /// The base optimizer takes the gradient.
    #[default]
    Base,
    /// The same, and then `theta <- theta - lr * direct` ([`BaseOptimizer::apply_beside`]): a part that enters no moment of the
    /// base.
    And(ParamVec),
    /// `theta <- theta - lr * grad`, without the base: the rule is a whole optimizer.
    Direct,
    /// The base takes the gradient, and its change of theta is projected, with those of its other iterates.
    Projected {
        /// On which side.
        keep: Keep,
        /// Orthonormal vectors that span the subspace.
        basis: Arc<[ParamVec]>,
    },
}

/// Which part of a change is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The part in the subspace.
    Dominant,
    /// The part orthogonal to it.
    Bulk,
}

impl Then {
    /// Whether all that it changes is changed by [`Params::update`], given that the base's is.
    pub(crate) fn in_place(&self) -> bool {
        !matches!(self, Self::Projected { .. })
    }

    /// Moves the variables. `clip` is the factor that shortened `grad`; it shortens what bypasses the base as well.
    /// `theta` is a copy of the variables, where one is there.
    pub(crate) fn apply(
        self,
        params: &Params,
        base: &mut dyn BaseOptimizer,
        grad: ParamVec,
        lr: f64,
        (masks, clip, theta): (&Masks, &Scalar, Option<&ParamVec>),
    ) -> Result<()> {
        match self {
            Self::Base => base.apply(params, grad, lr, masks),
            Self::Direct => along(params, &grad, lr, masks),
            Self::And(x) => {
                base.apply(params, grad, lr, masks)?;
                let x = if clip.host() == Some(1.0) { x } else { x.scaled_by(clip)? };
                base.apply_beside(params, &x, lr, masks)
            }
            Self::Projected { keep, basis } => {
                let read = if theta.is_none() { Some(params.read()?) } else { None };
                let before = theta.or(read.as_ref());
                let offset = base.offset_mut().map(|offset| offset.duplicate()).transpose()?;
                base.apply(params, grad, lr, masks)?;
                let Some(before) = before else { return Ok(()) };
                let change = params.read()?.plus(-1.0, before)?;
                let inside = keep.part(change, &basis)?;
                if let (Some(was), Some(offset)) = (offset, base.offset_mut()) {
                    let change = keep.part(offset.plus(-1.0, &was)?, &basis)?;
                    *offset = was.plus(1.0, &change)?;
                }
                Ok(params.write_sum(before, 1.0, &inside, None)?)
            }
        }
    }
}

impl Keep {
    /// The part of a vector that is kept, given orthonormal vectors.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn part(self, x: ParamVec, basis: &[ParamVec]) -> Result<ParamVec> {
        let on_device = !x.space().device.is_cpu();
        let mut inside = ParamVec::zeros(&x.space())?;
        for v in basis {
            inside = inside.plus_by(&v.dot_at(&x, on_device)?, v)?;
        }
        match self {
            Self::Dominant => Ok(inside),
            Self::Bulk => Ok(x.plus(-1.0, &inside)?),
        }
    }
}
