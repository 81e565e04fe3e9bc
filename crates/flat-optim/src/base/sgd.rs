//! Stochastic gradient descent.

use crate::error::{below_one, non_negative};
use crate::{BaseOptimizer, Error, Masks, Result, StateVisitor, Stateful};
use flat_core::{Number, ParamVec, Params, Space, Update};

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

    fn apply(&mut self, params: &Params, grad: ParamVec, lr: f64, masks: &Masks) -> Result<()> {
        let first = self.updates == 0;
        let SgdConfig { momentum, dampening, nesterov, weight_decay, decoupled } = self.config;
        let step = |i| {
            let (lr, decay) = (lr * masks.lr_scale(i), masks.weight_decay(i, weight_decay));
            Step {
                lr,
                keep: if decoupled { 1.0 - lr * decay } else { 1.0 },
                weight_decay: if decoupled { 0.0 } else { decay },
                momentum,
                // the buffer is zero at first; without dampening then it becomes a copy of the gradient, as PyTorch's
                gain: if first { 1.0 } else { 1.0 - dampening },
                mix: if nesterov { (1.0, momentum) } else { (0.0, 1.0) },
            }
        };
        match &mut self.buffer {
            None => params.update([&grad], [], step)?,
            Some(buffer) => params.update([&grad], [buffer], step)?,
        }
        self.updates += 1;
        Ok(())
    }
}

/// The recurrence of [`Sgd`] for one parameter, without branches: the loop over its elements is to fill vectors.
struct Step {
    lr: f64,
    /// What decoupled weight decay leaves.
    keep: f64,
    /// Coupled weight decay.
    weight_decay: f64,
    momentum: f64,
    /// 1 - dampening.
    gain: f64,
    /// Shares of gradient and momentum in the direction.
    mix: (f64, f64),
}

impl Update<1, 0> for Step {
    #[inline(always)]
    fn update<E: Number>(&self, x: E, [g]: [E; 1], _: [E; 0]) -> (E, [E; 0]) {
        let g = g + x.clone() * self.weight_decay;
        (x * self.keep - g * self.lr, [])
    }
}

impl Update<1, 1> for Step {
    #[inline(always)]
    fn update<E: Number>(&self, x: E, [g]: [E; 1], [m]: [E; 1]) -> (E, [E; 1]) {
        let g = g + x.clone() * self.weight_decay;
        let m = m * self.momentum + g.clone() * self.gain;
        let direction = g * self.mix.0 + m.clone() * self.mix.1;
        (x * self.keep - direction * self.lr, [m])
    }
}
