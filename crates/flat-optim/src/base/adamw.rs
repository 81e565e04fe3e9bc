//! Adam with decoupled weight decay.

use super::BaseSpec;
use crate::{Base, BaseOptimizer, Masks, Result, StateVisitor, Stateful};
use flat_core::setting::{Range, Settings};
use flat_core::{Number, ParamVec, Params, Space, Update};

flat_core::settings! {
    /// `adamw`: as `torch.optim.AdamW`, with t counting the updates from 1,
    ///
    /// ```text
    /// x <- x - lr weight_decay x
    /// m <- beta1 m + (1 - beta1) g;   v <- beta2 v + (1 - beta2) g^2
    /// x <- x - lr / (1 - beta1^t)  m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
    /// ```
    ///
    /// I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, arXiv 1711.05101, Algorithm 2.
    ///
    /// The defaults are those of `torch.optim.AdamW`.
    ///
    /// ```
    /// use flat_optim::{AdamW, Optimizer, Params, Plain, Query};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Plain, AdamW::new(1e-3))?;
    /// let loss = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?.loss;
    /// assert!(optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?.loss < loss);
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone, Copy)]
    pub struct AdamW {
        /// Learning rate, the papers' eta.
        lr as "lr": f64 = 1e-3, range: Range::Positive;
        /// Decay of the first moment.
        beta1 as "beta1": f64 = 0.9, range: Range::BelowOne;
        /// Decay of the second moment.
        beta2 as "beta2": f64 = 0.999, range: Range::BelowOne;
        /// Added to the root of the second moment.
        eps as "eps": f64 = 1e-8, range: Range::Positive;
        /// Weight decay: added to the gradient over sgd, decoupled over adamw.
        weight_decay as "weight-decay": f64 = 0.01, range: Range::NonNegative;
    }
}

impl AdamW {
    /// The entry of the table of bases.
    pub const SPEC: BaseSpec = BaseSpec::of::<Self>(
        "adamw",
        "Adam with decoupled weight decay",
        "Loshchilov, Hutter 2019, arXiv 1711.05101, Algorithm 2",
    )
    .or(&["adam"]);

    /// AdamW at learning rate `lr`.
    pub fn new(lr: f64) -> Self {
        Self::default().lr(lr)
    }
}

impl Base for AdamW {
    fn lr(&self) -> f64 {
        self.lr
    }
    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }
    fn check(&self) -> Result<()> {
        Ok(Settings::check(self)?)
    }
    fn build(&self, space: &Space) -> Result<Box<dyn BaseOptimizer>> {
        Base::check(self)?;
        Ok(Box::new(Adam {
            options: *self,
            mean: ParamVec::zeros(space)?,
            square: ParamVec::zeros(space)?,
            updates: 0,
        }))
    }
}

/// [`AdamW`] at work.
#[derive(Debug)]
struct Adam {
    options: AdamW,
    mean: ParamVec,
    square: ParamVec,
    updates: u64,
}

impl Stateful for Adam {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("updates", &mut self.updates)?;
        visitor.vector("mean", &mut self.mean)?;
        visitor.vector("square", &mut self.square)
    }
}

impl BaseOptimizer for Adam {
    fn momentum(&self) -> Option<&ParamVec> {
        Some(&self.mean)
    }

    fn in_place(&self) -> bool {
        true
    }

    fn apply(&mut self, params: &Params, grad: ParamVec, lr: f64, masks: &Masks) -> Result<()> {
        let AdamW { beta1, beta2, eps, weight_decay, .. } = self.options;
        let t = (self.updates + 1) as f64;
        let (scale, root) = (1.0 / (1.0 - beta1.powf(t)), (1.0 - beta2.powf(t)).sqrt());
        params.update([&grad], [&mut self.mean, &mut self.square], |i| {
            let lr = lr * masks.lr_scale(i);
            let keep = 1.0 - lr * masks.weight_decay(i, weight_decay);
            Step { keep, beta1, beta2, rate: lr * scale * root, eps: eps * root }
        })?;
        self.updates += 1;
        Ok(())
    }
}

/// The recurrence of [`AdamW`] for one parameter.
struct Step {
    /// What weight decay leaves.
    keep: f64,
    beta1: f64,
    beta2: f64,
    /// `lr sqrt(1 - beta2^t) / (1 - beta1^t)`.
    rate: f64,
    /// `eps sqrt(1 - beta2^t)`: the fraction is expanded by the root, which saves a division an element.
    eps: f64,
}

impl Update<1, 2> for Step {
    #[inline(always)]
    fn update<E: Number>(&self, x: E, [g]: [E; 1], [m, v]: [E; 2]) -> (E, [E; 2]) {
        let x = x * self.keep;
        let m = m * self.beta1 + g.clone() * (1.0 - self.beta1);
        let v = v * self.beta2 + g.clone() * g * (1.0 - self.beta2);
        (x - m.clone() / (v.clone().sqrt() + self.eps) * self.rate, [m, v])
    }
}
