//! Schedule-free Adam with decoupled weight decay.

use super::BaseSpec;
use super::iterate_mean::{IterateMean, Shift};
use crate::{Base, BaseOptimizer, Masks, Result, StateVisitor, Stateful};
use flat_core::setting::{Range, Settings};
use flat_core::{Number, ParamVec, Params, Space, Update};

flat_core::settings! {
    /// `schedule-free-adamw`: [`crate::ScheduleFree`] with Adam's steps for z,
    ///
    /// ```text
    /// y = (1 - beta) z + beta x
    /// v <- beta2 v + (1 - beta2) g^2        g = grad f(y)
    /// z <- z - lr (g / (sqrt(v) / sqrt(1 - beta2^t) + eps) + weight_decay y)
    /// x <- (1 - c) x + c z
    /// ```
    ///
    /// There is no first moment: beta takes its part. c, and what is said of x, are as there.
    ///
    /// State: two vectors, y - x and v.
    ///
    /// A. Defazio, X. Yang, H. Mehta, K. Mishchenko, A. Khaled, A. Cutkosky, "The Road Less Scheduled", NeurIPS 2024, arXiv
    /// 2405.15682, Algorithm 1. The defaults are those of `AdamWScheduleFree` in the authors' package, whose first beta is beta.
    /// Theirs takes the decay at y, as here, and has the bias correction in v alone; the paper's algorithm has it in lr.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Plain, Query, ScheduleFreeAdamW};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Plain, ScheduleFreeAdamW::new(0.1))?;
    /// let loss = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?.loss;
    /// assert!(optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?.loss < loss);
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone, Copy)]
    pub struct ScheduleFreeAdamW {
        /// Learning rate, the papers' eta.
        lr as "lr": f64 = 0.0025, range: Range::Positive;
        /// Where gradients are taken between the iterates (0) and their mean (towards 1).
        beta as "schedule-free-beta": f64 = 0.9, range: Range::BelowOne;
        /// Power of the step's index in its weight in the mean.
        power as "schedule-free-r": f64 = 0.0, range: Range::NonNegative;
        /// Decay of the second moment.
        beta2 as "beta2": f64 = 0.999, range: Range::BelowOne;
        /// Added to the root of the second moment.
        eps as "eps": f64 = 1e-8, range: Range::Positive;
        /// Weight decay: added to the gradient over sgd, decoupled over adamw.
        weight_decay as "weight-decay": f64 = 0.0, range: Range::NonNegative;
    }
}

impl ScheduleFreeAdamW {
    /// The entry of the table of bases.
    pub const SPEC: BaseSpec = BaseSpec::of::<Self>(
        "schedule-free-adamw",
        "AdamW whose model is the mean of its iterates, without a schedule",
        "Defazio et al. 2024, arXiv 2405.15682, Algorithm 1",
    )
    .or(&["schedule-free-adam"]);

    /// Schedule-free AdamW at learning rate `lr`.
    pub fn new(lr: f64) -> Self {
        Self::default().lr(lr)
    }
}

impl Base for ScheduleFreeAdamW {
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
        Ok(Box::new(FreeAdam {
            options: *self,
            mean: IterateMean::new(self.beta, self.power, space)?,
            square: ParamVec::zeros(space)?,
        }))
    }
}

/// [`ScheduleFreeAdamW`] at work.
#[derive(Debug)]
struct FreeAdam {
    options: ScheduleFreeAdamW,
    mean: IterateMean,
    square: ParamVec,
}

impl Stateful for FreeAdam {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        self.mean.visit(visitor)?;
        visitor.vector("square", &mut self.square)
    }
}

impl BaseOptimizer for FreeAdam {
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
        let ScheduleFreeAdamW { beta2, eps, weight_decay, .. } = self.options;
        let root = (1.0 - beta2.powf(self.mean.next() as f64)).sqrt();
        let square = &mut self.square;
        self.mean.update(lr, masks, |offset, shift| {
            let step = |i| Step {
                shift: shift(i),
                weight_decay: masks.weight_decay(i, weight_decay),
                beta2,
                root,
                eps: eps * root,
            };
            Ok(params.update([&grad], [offset, square], step)?)
        })
    }
    fn apply_beside(&mut self, params: &Params, x: &ParamVec, lr: f64, masks: &Masks) -> Result<()> {
        self.mean.add(params, x, lr, masks)
    }
}

/// The recurrence of [`ScheduleFreeAdamW`] for one parameter.
struct Step {
    shift: Shift,
    weight_decay: f64,
    beta2: f64,
    /// `sqrt(1 - beta2^t)`, by which the fraction is expanded.
    root: f64,
    /// `eps sqrt(1 - beta2^t)`.
    eps: f64,
}

impl Update<1, 2> for Step {
    #[inline(always)]
    fn update<E: Number>(&self, y: E, [g]: [E; 1], [offset, v]: [E; 2]) -> (E, [E; 2]) {
        let v = v * self.beta2 + g.clone() * g.clone() * (1.0 - self.beta2);
        let n = g / (v.clone().sqrt() + self.eps) * self.root + y.clone() * self.weight_decay;
        let (y, offset) = self.shift.apply(y, offset, n);
        (y, [offset, v])
    }
}
