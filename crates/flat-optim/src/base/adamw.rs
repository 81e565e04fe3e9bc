//! Adam with decoupled weight decay.

use super::{decay, descend};
use crate::error::{below_one, non_negative, positive};
use crate::{BaseOptimizer, Masks, Result, StateVisitor, Stateful};
use flat_core::{ParamVec, Space};

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

    fn apply(&mut self, theta: &mut ParamVec, grad: ParamVec, lr: f64, masks: &Masks) -> Result<()> {
        let AdamWConfig { beta1, beta2, eps, weight_decay } = self.config;
        decay(theta, lr, weight_decay, masks)?;
        self.updates += 1;
        self.mean.axpby(beta1, 1.0 - beta1, &grad)?;
        self.square.axpby_squared(beta2, 1.0 - beta2, &grad)?;
        let t = self.updates as f64;
        let (step, root) = (1.0 / (1.0 - beta1.powf(t)), (1.0 - beta2.powf(t)).sqrt());
        if masks.lr_scale.is_none() {
            return Ok(theta.add_ratio(-lr * step, &self.mean, &self.square, root, eps)?);
        }
        let mut direction = ParamVec::zeros(&theta.space())?;
        direction.add_ratio(step, &self.mean, &self.square, root, eps)?;
        descend(theta, &direction, lr, masks)
    }
}
