//! Schedule-free stochastic gradient descent.

use super::BaseSpec;
use super::iterate_mean::{IterateMean, Shift};
use crate::{Base, BaseOptimizer, Masks, Result, StateVisitor, Stateful};
use flat_core::setting::{Range, Settings};
use flat_core::{Number, ParamVec, Params, Space, Update};

flat_core::settings! {
    /// `schedule-free`: gradients at y, steps of z, and their mean x, which is the model,
    ///
    /// ```text
    /// y = (1 - beta) z + beta x
    /// z <- z - lr (grad f(y) + weight_decay y)
    /// x <- (1 - c) x + c z        c = w_t / (w_1 + .. + w_t),   w_t = t^r (largest lr so far)^2,   t from 1
    /// ```
    ///
    /// The variables hold y. [`crate::Optimizer::with_averaged`] shows x: it is what the tool evaluates, saves and averages
    /// further. The mean stands in for a schedule of the learning rate, which the authors keep constant after a linear
    /// warm-up; `train` refuses another. x and z begin at theta, and a reset sets them there.
    ///
    /// A direction that bypasses the base ([`crate::Then::And`]) moves z, as a gradient does, and the mean with it. Where the
    /// change of theta is projected ([`crate::Then::Projected`]), so are those of x and z.
    ///
    /// State: one vector, y - x. It is no momentum buffer: rules that ask for one ([`crate::Msam`]) are refused over this base.
    ///
    /// A. Defazio, X. Yang, H. Mehta, K. Mishchenko, A. Khaled, A. Cutkosky, "The Road Less Scheduled", NeurIPS 2024, arXiv
    /// 2405.15682, eqs. 4 to 6. The defaults are those of `SGDScheduleFree` in the authors' package, whose `momentum` is beta;
    /// they advise rates 10 to 50 times those of plain SGD. Its warm-up is `(t + 1) / steps`, ours `(t + 1) / (steps + 1)`.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Plain, Query, ScheduleFree};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Plain, ScheduleFree::new(0.5))?;
    /// for _ in 0..20 {
    ///     optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// }
    /// let loss: f64 = optimizer.with_averaged(|| Ok::<_, flat_optim::Error>(w.sqr()?.sum_all()?.to_scalar()?))?;
    /// assert!(loss < 0.1);
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone, Copy)]
    pub struct ScheduleFree {
        /// Learning rate, the papers' eta.
        lr as "lr": f64 = 1.0, range: Range::Positive;
        /// Where gradients are taken between the iterates (0) and their mean (towards 1).
        beta as "schedule-free-beta": f64 = 0.9, range: Range::BelowOne;
        /// Power of the step's index in its weight in the mean.
        power as "schedule-free-r": f64 = 0.0, range: Range::NonNegative;
        /// Weight decay: added to the gradient over sgd, decoupled over adamw.
        weight_decay as "weight-decay": f64 = 0.0, range: Range::NonNegative;
    }
}

impl ScheduleFree {
    /// The entry of the table of bases.
    pub const SPEC: BaseSpec = BaseSpec::of::<Self>(
        "schedule-free",
        "SGD whose model is the mean of its iterates, without a schedule",
        "Defazio et al. 2024, arXiv 2405.15682, eqs. 4 to 6",
    )
    .or(&["schedule-free-sgd"]);

    /// Schedule-free SGD at learning rate `lr`.
    pub fn new(lr: f64) -> Self {
        Self::default().lr(lr)
    }
}

impl Base for ScheduleFree {
    fn lr(&self) -> f64 {
        self.lr
    }
    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }
    fn averages(&self) -> bool {
        true
    }
    fn check(&self) -> Result<()> {
        Ok(Settings::check(self)?)
    }
    fn build(&self, space: &Space) -> Result<Box<dyn BaseOptimizer>> {
        Base::check(self)?;
        Ok(Box::new(Free { weight_decay: self.weight_decay, mean: IterateMean::new(self.beta, self.power, space)? }))
    }
}

/// [`ScheduleFree`] at work.
#[derive(Debug)]
struct Free {
    weight_decay: f64,
    mean: IterateMean,
}

impl Stateful for Free {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        self.mean.visit(visitor)
    }
}

impl BaseOptimizer for Free {
    fn offset(&self) -> Option<&ParamVec> {
        self.mean.offset()
    }
    fn offset_mut(&mut self) -> Option<&mut ParamVec> {
        Some(self.mean.offset_mut())
    }
    fn in_place(&self) -> bool {
        true
    }

    fn apply(&mut self, params: &Params, grad: ParamVec, lr: f64, masks: &Masks) -> Result<()> {
        let decay = self.weight_decay;
        self.mean.update(lr, masks, |offset, shift| {
            let step = |i| Step { shift: shift(i), weight_decay: masks.weight_decay(i, decay) };
            Ok(params.update([&grad], [offset], step)?)
        })
    }
    fn apply_beside(&mut self, params: &Params, x: &ParamVec, lr: f64, masks: &Masks) -> Result<()> {
        self.mean.add(params, x, lr, masks)
    }
}

/// The recurrence of [`ScheduleFree`] for one parameter.
struct Step {
    shift: Shift,
    weight_decay: f64,
}

impl Update<1, 1> for Step {
    #[inline(always)]
    fn update<E: Number>(&self, y: E, [g]: [E; 1], [offset]: [E; 1]) -> (E, [E; 1]) {
        let n = g + y.clone() * self.weight_decay;
        let (y, offset) = self.shift.apply(y, offset, n);
        (y, [offset])
    }
}
