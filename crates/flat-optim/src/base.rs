//! Base optimizers: what to do with a (surrogate) gradient.

mod iterate_mean;
mod spec;

pub use spec::{BaseKind, BaseSpec};

use crate::{Masks, Result, StateVisitor, Stateful};
use flat_core::{Number, ParamVec, Params, Space, Update};

/// One line a base: its file and its type.
macro_rules! bases {
    ($($file:ident::$base:ident),* $(,)?) => {
        $(mod $file; pub use $file::$base;)*

        /// Every base optimizer of this crate.
        pub const BASES: &[BaseSpec] = &[$($base::SPEC),*];
    };
}
bases![sgd::Sgd, adamw::AdamW, schedule_free::ScheduleFree, schedule_free_adamw::ScheduleFreeAdamW,];

/// The options of a base optimizer, which hold nothing of the parameters yet.
pub trait Base {
    /// The learning rate, from which its schedule starts.
    fn lr(&self) -> f64;

    /// The weight decay of parameters that no group says otherwise of.
    fn weight_decay(&self) -> f64;

    /// Whether the model is a mean of its iterates, which stands in for a schedule of the learning rate.
    fn averages(&self) -> bool {
        false
    }

    /// Refuses options that make no sense.
    ///
    /// # Errors
    /// [`crate::Error::BadSetting`] naming the option.
    fn check(&self) -> Result<()>;

    /// The optimizer, with buffers for the parameters of `space`.
    ///
    /// # Errors
    /// As [`Self::check`]; candle's.
    fn build(&self, space: &Space) -> Result<Box<dyn BaseOptimizer>>;
}

impl<B: Base + 'static> From<B> for Box<dyn Base> {
    fn from(base: B) -> Self {
        Box::new(base)
    }
}

/// Turns a gradient into an update of theta.
pub trait BaseOptimizer: Stateful + Send {
    /// `theta <- theta - lr * direction(grad)`, weight decay included, in the variables themselves: a recurrence over
    /// elements in one pass ([`Params::update`]), or algebra on vectors between [`Params::read`] and [`Params::write`].
    /// `masks` hold what differs between parameters.
    ///
    /// # Errors
    /// candle's.
    fn apply(&mut self, params: &Params, grad: ParamVec, lr: f64, masks: &Masks) -> Result<()>;

    /// `theta <- theta - lr x` right after [`Self::apply`], for a part that enters none of its moments.
    ///
    /// # Errors
    /// candle's.
    fn apply_beside(&mut self, params: &Params, x: &ParamVec, lr: f64, masks: &Masks) -> Result<()> {
        along(params, x, lr, masks)
    }

    /// Whether all vectors that [`Self::apply`] and [`Self::apply_beside`] change, variables and state, are changed by
    /// [`Params::update`] alone. A device then leaves a step out by itself, and nothing is copied to put it back.
    fn in_place(&self) -> bool {
        false
    }

    /// Theta less the point that is to be evaluated, saved and averaged, where that is not theta.
    fn offset(&self) -> Option<&ParamVec> {
        None
    }

    /// The same, for whoever changes theta and the iterates together.
    fn offset_mut(&mut self) -> Option<&mut ParamVec> {
        None
    }

    /// Forgets what it remembers: the next step is as its first.
    ///
    /// # Errors
    /// candle's.
    fn reset(&mut self) -> Result<()> {
        self.visit(&mut Forget)
    }

    /// Its momentum, which points uphill: a running mean or sum of the gradients that it took. `None` for a base without.
    fn momentum(&self) -> Option<&ParamVec> {
        None
    }
}

/// `w <- w + a x`.
struct Along(f64);

impl Update<1, 0> for Along {
    #[inline(always)]
    fn update<E: Number>(&self, w: E, [x]: [E; 1], _: [E; 0]) -> (E, [E; 0]) {
        (w + x * self.0, [])
    }
}

/// `theta <- theta - lr x`.
pub(crate) fn along(params: &Params, x: &ParamVec, lr: f64, masks: &Masks) -> Result<()> {
    Ok(params.update([x], [], |i| Along(-lr * masks.lr_scale(i)))?)
}

/// Sets every piece of a state to zero.
struct Forget;

impl StateVisitor for Forget {
    fn vector(&mut self, _: &str, value: &mut ParamVec) -> Result<()> {
        *value = ParamVec::zeros(&value.space())?;
        Ok(())
    }
    fn count(&mut self, _: &str, value: &mut u64) -> Result<()> {
        *value = 0;
        Ok(())
    }
    fn number(&mut self, _: &str, value: &mut f64) -> Result<()> {
        *value = 0.0;
        Ok(())
    }
}
