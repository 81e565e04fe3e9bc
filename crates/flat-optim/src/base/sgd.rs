//! Stochastic gradient descent.

use super::{decay, descend};
use crate::error::{below_one, non_negative};
use crate::{BaseOptimizer, Error, Masks, Result, StateVisitor, Stateful};
use flat_core::{ParamVec, Space};

/// Options of [`Sgd`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SgdConfig {
    /// Momentum, in [0, 1); 0 keeps no buffer.
    pub momentum: f64,
    /// Dampening of the momentum, in [0, 1].
    pub dampening: f64,
    /// Nesterov momentum; needs momentum and no dampening.
    pub nesterov: bool,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether weight decay shrinks the weights themselves (SGDW, Loshchilov and Hutter 2019, arXiv 1711.05101) instead
    /// of joining the gradient (L2, as `torch.optim.SGD`).
    pub decoupled: bool,
}

impl SgdConfig {
    /// The optimizer, with a zero momentum buffer where momentum asks for one.
    ///
    /// # Errors
    /// An option out of its range; candle's.
    pub fn build(self, space: &Space) -> Result<Sgd> {
        below_one("momentum", self.momentum)?;
        non_negative("weight_decay", self.weight_decay)?;
        if !(0.0..=1.0).contains(&self.dampening) {
            return Err(Error::option("dampening", self.dampening, "must lie in [0, 1]"));
        }
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(Error::option("nesterov", true, "needs momentum above 0 and dampening 0"));
        }
        let buffer = if self.momentum > 0.0 { Some(ParamVec::zeros(space)?) } else { None };
        Ok(Sgd { config: self, buffer, updates: 0 })
    }
}

/// `sgd`: as `torch.optim.SGD`,
///
/// ```text
/// g <- g + weight_decay x                               (coupled; decoupled: x <- x - lr weight_decay x)
/// m <- momentum m + (1 - dampening) g                   (first update: m <- g)
/// x <- x - lr m                                         (Nesterov: x <- x - lr (g + momentum m))
/// ```
///
/// Coupled weight decay is taken at theta, never at a rule's perturbed point.
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    buffer: Option<ParamVec>,
    updates: u64,
}

impl Stateful for Sgd {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("updates", &mut self.updates)?;
        match &mut self.buffer {
            Some(buffer) => visitor.vector("momentum", buffer),
            None => Ok(()),
        }
    }
}

impl BaseOptimizer for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn apply(&mut self, theta: &mut ParamVec, mut grad: ParamVec, lr: f64, masks: &Masks) -> Result<()> {
        let SgdConfig { momentum, dampening, nesterov, weight_decay, decoupled } = self.config;
        if decoupled {
            decay(theta, lr, weight_decay, masks)?;
        } else if let Some(rate) = &masks.weight_decay {
            grad.add_product(1.0, rate, theta)?;
        } else if weight_decay > 0.0 {
            grad.add_scaled(weight_decay, theta)?;
        }
        let first = self.updates == 0;
        self.updates += 1;
        let Some(buffer) = &mut self.buffer else { return descend(theta, &grad, lr, masks) };
        // The buffer is zero at first; a weight of 1 then is PyTorch's copy of the first gradient.
        buffer.axpby(momentum, if first { 1.0 } else { 1.0 - dampening }, &grad)?;
        if !nesterov {
            return descend(theta, buffer, lr, masks);
        }
        grad.add_scaled(momentum, buffer)?;
        descend(theta, &grad, lr, masks)
    }
}
