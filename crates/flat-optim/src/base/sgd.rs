//! Stochastic gradient descent.

use super::BaseSpec;
use crate::{Base, BaseOptimizer, Masks, Result, StateVisitor, Stateful};
use flat_core::setting::{BadSetting, Range, Settings};
use flat_core::{Number, ParamVec, Params, Space, Update};

flat_core::settings! {
    /// `sgd`: as `torch.optim.SGD`,
    ///
    /// ```text
    /// g <- g + weight_decay x                               (coupled; decoupled: x <- x - lr weight_decay x)
    /// m <- momentum m + (1 - dampening) g                   (first update: m <- g)
    /// x <- x - lr m                                         (Nesterov: x <- x - lr (g + momentum m))
    /// ```
    ///
    /// Coupled weight decay is taken at theta, never at a rule's perturbed point.
    ///
    /// Unlike there, momentum is 0.9 unless you say otherwise.
    ///
    /// ```
    /// use flat_optim::{Sgd, Optimizer, Params, Plain, Query};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Plain, Sgd::new(0.1).momentum(0.9))?;
    /// let loss = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?.loss;
    /// assert!(optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?.loss < loss);
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone, Copy)]
    pub struct Sgd {
        /// Learning rate, the papers' eta.
        lr as "lr": f64 = 0.05, range: Range::Positive, aliases: &["learning-rate"];
        /// Momentum; 0 keeps no buffer.
        momentum as "momentum": f64 = 0.9, range: Range::BelowOne;
        /// Dampening of the momentum.
        dampening as "dampening": f64 = 0.0, range: Range::Fraction;
        /// Nesterov momentum; needs momentum and no dampening.
        nesterov as "nesterov": bool = false;
        /// Weight decay: added to the gradient over sgd, decoupled over adamw.
        weight_decay as "weight-decay": f64 = 0.0, range: Range::NonNegative, aliases: &["wd"];
        /// Decouple the weight decay from the gradient (SGDW, Loshchilov and Hutter 2019, arXiv 1711.05101).
        decoupled as "decoupled": bool = false;
    }
}

impl Sgd {
    /// The entry of the table of bases.
    pub const SPEC: BaseSpec = BaseSpec::of::<Self>("sgd", "stochastic gradient descent with momentum", "");

    /// SGD at learning rate `lr`.
    pub fn new(lr: f64) -> Self {
        Self::default().lr(lr)
    }
}

impl Base for Sgd {
    fn lr(&self) -> f64 {
        self.lr
    }
    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }
    fn check(&self) -> Result<()> {
        Settings::check(self)?;
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(BadSetting::new("nesterov", true, "needs momentum above 0 and dampening 0").into());
        }
        Ok(())
    }
    fn build(&self, space: &Space) -> Result<Box<dyn BaseOptimizer>> {
        Base::check(self)?;
        let buffer = if self.momentum > 0.0 { Some(ParamVec::zeros(space)?) } else { None };
        Ok(Box::new(Descent { options: *self, buffer, updates: 0 }))
    }
}

/// [`Sgd`] at work.
#[derive(Debug)]
struct Descent {
    options: Sgd,
    buffer: Option<ParamVec>,
    updates: u64,
}

impl Stateful for Descent {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count("updates", &mut self.updates)?;
        match &mut self.buffer {
            Some(buffer) => visitor.vector("momentum", buffer),
            None => Ok(()),
        }
    }
}

impl BaseOptimizer for Descent {
    fn momentum(&self) -> Option<&ParamVec> {
        self.buffer.as_ref()
    }

    fn in_place(&self) -> bool {
        true
    }

    fn apply(&mut self, params: &Params, grad: ParamVec, lr: f64, masks: &Masks) -> Result<()> {
        let first = self.updates == 0;
        let Sgd { momentum, dampening, nesterov, weight_decay, decoupled, .. } = self.options;
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
