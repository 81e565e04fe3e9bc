//! Adam with decoupled weight decay.

use crate::error::{below_one, non_negative, positive};
use crate::{BaseOptimizer, Masks, Result, StateVisitor, Stateful};
use flat_core::{Number, ParamVec, Params, Space, Update};

/// Options of [`AdamW`]; the defaults are those of `torch.optim.AdamW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the mean of the gradients, in [0, 1).
    pub beta1: f64,
    /// Decay of the mean of their squares, in [0, 1).
    pub beta2: f64,
    /// Added to the root in the denominator.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }
}

impl AdamWConfig {
    /// The optimizer, with zero moments.
    ///
    /// # Errors
    /// An option out of its range; candle's.
    pub fn build(self, space: &Space) -> Result<AdamW> {
        below_one("beta1", self.beta1)?;
        below_one("beta2", self.beta2)?;
        positive("eps", self.eps)?;
        non_negative("weight_decay", self.weight_decay)?;
        Ok(AdamW { config: self, mean: ParamVec::zeros(space)?, square: ParamVec::zeros(space)?, updates: 0 })
    }
}

/// `adamw`: as `torch.optim.AdamW`, with t counting the updates from 1,
///
/// ```text
/// x <- x - lr weight_decay x
/// m <- beta1 m + (1 - beta1) g;   v <- beta2 v + (1 - beta2) g^2
/// x <- x - lr / (1 - beta1^t)  m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
/// ```
///
/// I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, arXiv 1711.05101, Algorithm 2.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    mean: ParamVec,
    square: ParamVec,
    updates: u64,
}

impl Stateful for AdamW {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("updates", &mut self.updates)?;
        visitor.vector("mean", &mut self.mean)?;
        visitor.vector("square", &mut self.square)
    }
}

impl BaseOptimizer for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn apply(&mut self, params: &Params, grad: ParamVec, lr: f64, masks: &Masks) -> Result<()> {
        let AdamWConfig { beta1, beta2, eps, weight_decay } = self.config;
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
