//! Entropy-SGD: towards the mean of a Langevin chain.

use crate::{Batch, Ctx, Estimate, GradientRule, Need, Oracle, Result, Rows, Scalar};
use flat_core::setting::Range;
use flat_core::{Number, ParamVec, Purpose, Update};

rule! {
    /// `entropy-sgd`: the way from the mean of a Langevin chain around theta, on a fresh batch each of its L steps,
    ///
    /// ```text
    /// x = mean = theta;   v = 0
    /// L times, on a fresh batch b:
    ///     g = grad f_b(x);   v <- mu v + g
    ///     x <- x - lr' (g + mu v - gamma_t (theta - x)) + eps sqrt(2 lr') N(0, I)
    ///     mean <- w mean + (1 - w) x
    /// surrogate = theta - mean;   gamma_t = gamma_0 (1 + gamma_1)^t, at most 1/lr' (or gamma_0, where that is more)
    /// ```
    ///
    /// so that a base with learning rate 1 and no momentum, the tool's defaults over SGD, sets theta to the mean. The first batch is
    /// the step's own. Loss and accuracy are means over the chain; the gradient norm is that at theta. Weight decay is the base's
    /// alone.
    ///
    /// Cost: L evaluations a step, of L batches: an epoch is counted in images. State: a count. `t` counts the steps that this rule
    /// took, from 0.
    ///
    /// P. Chaudhari, A. Choromanska, S. Soatto, Y. LeCun, C. Baldassi, C. Borgs, J. Chayes, L. Sagun, R. Zecchina, "Entropy-SGD:
    /// Biasing Gradient Descent Into Wide Valleys", ICLR 2017, arXiv 1611.01838, Algorithm 1. Averaging, noise, the inner momentum
    /// over the gradient alone, and a surrogate without the factor gamma are those of the authors' code, with `gamma_0 = 1e-4` and
    /// `gamma_1 = 1e-3` as they have it for MNIST. Their code puts decay into the chain, counts t from 1, and in its PyTorch form
    /// never advances t. It has no bound on gamma: past `lr' gamma = 1` a step of the chain jumps over theta, and past 2 the
    /// chain diverges, at these defaults after 12,200 steps.
    ///
    /// ```
    /// use flat_optim::{Batch, EntropySgd, Need, Objective, Optimizer, Params, Query, Result, Sgd};
    ///
    /// /// The same function on every batch.
    /// struct Square(candle_core::Var);
    /// impl Objective for Square {
    ///     fn rows(&self) -> usize {
    ///         1
    ///     }
    ///     fn loss(&mut self, _: Query) -> Result<candle_core::Tensor> {
    ///         Ok((self.0.sqr()?.sum_all()? * 0.5)?)
    ///     }
    ///     fn offers(&self, need: Need) -> bool {
    ///         need == Need::FreshBatches
    ///     }
    ///     fn switch(&mut self, _: Batch) -> Result<usize> {
    ///         Ok(1)
    ///     }
    /// }
    /// # fn main() -> Result<()> {
    /// let w = candle_core::Var::new(&[2.0f64], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let rule = EntropySgd::default().steps(2).noise(0.0).momentum(0.0).gamma0(1.0).gamma1(0.0);
    /// let mut optimizer = Optimizer::new(&params, rule, Sgd::new(1.0).momentum(0.0))?;
    /// let report = optimizer.step(&mut Square(w.clone()))?;
    /// // x: 2, 1.8, 1.64; mean: 2, 1.95, 1.8725
    /// assert!((params.read()?.to_f64()?[0] - 1.8725).abs() < 1e-15);
    /// assert_eq!(report.evals, 2.0);
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct EntropySgd {
        /// Steps of the chain and batches a step, L.
        steps as "entropy-l": usize = 20, range: Range::Between(1, 1 << 20), metavar: "L";
        /// Learning rate of the chain.
        inner_lr as "entropy-lr": f64 = 0.1, range: Range::Positive;
        /// Strength of the pull towards theta in the first step, gamma_0.
        gamma0 as "entropy-gamma0": f64 = 1e-4, range: Range::NonNegative;
        /// Growth of that strength a step, gamma_1.
        gamma1 as "entropy-gamma1": f64 = 1e-3, range: Range::NonNegative;
        /// Size of the noise, eps.
        noise as "entropy-eps": f64 = 1e-4, range: Range::NonNegative;
        /// Nesterov momentum of the chain, which starts anew every step.
        momentum as "entropy-momentum": f64 = 0.9, range: Range::BelowOne;
        /// Weight of the past in the mean of the chain, w.
        average as "entropy-average": f64 = 0.75, range: Range::BelowOne;
    }
    state {
        /// Steps taken, t.
        taken: u64 = 0;
    }
    spec {
        "entropy-sgd",
        "x less the mean of a Langevin chain around x",
        "Chaudhari et al. 2017, arXiv 1611.01838, Algorithm 1",
    }
    over sgd { "lr" = 1.0; "momentum" = 0.0; }
}

impl EntropySgd {
    /// Entropy-SGD with `steps` steps of its chain.
    pub fn new(steps: usize) -> Self {
        Self::default().steps(steps)
    }

    /// The strength of the pull in the next step. It grows until a step of the chain would jump over theta.
    fn gamma(&self) -> f64 {
        let grown = self.gamma0 * (1.0 + self.gamma1).powf(self.taken as f64);
        grown.min(self.gamma0.max(1.0 / self.inner_lr))
    }
}

impl GradientRule for EntropySgd {
    fn evals_per_step(&self, _: usize) -> f64 {
        self.steps as f64
    }
    fn radius(&self, _: usize) -> f64 {
        0.0
    }
    fn batches(&self) -> u32 {
        self.steps as u32
    }
    fn plain_at_zero_radius(&self) -> bool {
        false
    }
    fn needs(&self) -> Vec<Need> {
        if self.steps > 1 { vec![Need::FreshBatches] } else { Vec::new() }
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let (lr, gamma, weight) = (self.inner_lr, self.gamma(), 1.0 / self.steps as f64);
        // the chain and its mean are displacements from theta
        let zeros = || ParamVec::zeros(f.space());
        let (mut x, mut mean, mut v) = (zeros()?, zeros()?, zeros()?);
        let (mut loss, mut norm) = (Scalar::from(0.0), Scalar::from(0.0));
        for j in 0..self.steps as u32 {
            let sample = match j {
                0 => f.gradient(Rows::All)?,
                _ => f.on(Batch::Fresh(j - 1), |f| f.gradient_at(1.0, &x, Rows::All))?,
            };
            if j == 0 {
                norm = sample.norm.clone();
            }
            loss = loss.plus(&sample.loss.times(weight)?)?;
            let of = Chain { lr, gamma, momentum: self.momentum, average: self.average, noise: self.noise };
            let stream = cx.stream_at(Purpose::Chain, j.into());
            let (inputs, state) = ([&sample.grad, &x], [&mut v, &mut mean]);
            x = match self.noise {
                0.0 => ParamVec::recur(inputs, state, |_| &of, None, false)?.0,
                _ => ParamVec::recur_noise(&stream, inputs, state, |_| &of)?,
            };
        }
        self.taken += 1;
        mean.scale(-1.0)?;
        Ok(Estimate::of(loss, norm, mean))
    }
}

/// A step of the chain: x, v and the mean, with z for the noise where there is some.
struct Chain {
    lr: f64,
    gamma: f64,
    momentum: f64,
    average: f64,
    noise: f64,
}

impl Update<2, 2> for Chain {
    #[inline(always)]
    fn update<E: Number>(&self, z: E, [g, x]: [E; 2], [v, mean]: [E; 2]) -> (E, [E; 2]) {
        let Self { lr, gamma, momentum, average, noise } = *self;
        let v = v * momentum + g.clone();
        let x = x * (1.0 - lr * gamma) + g * -lr + v.clone() * (-lr * momentum);
        let x = if noise == 0.0 { x } else { x + z * (noise * (2.0 * lr).sqrt()) };
        (x.clone(), [v, mean * average + x * (1.0 - average)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_grows_as_published_until_the_chain_would_jump_over_theta() {
        let after = |taken, gamma0| EntropySgd { taken, ..EntropySgd::default().gamma0(gamma0) }.gamma();
        assert_eq!(after(0, 1e-4), 1e-4);
        assert_eq!(after(5000, 1e-4), 1e-4 * 1.001f64.powf(5000.0));
        assert!([12_000, 100_000, u64::MAX].iter().all(|t| after(*t, 1e-4) <= 10.0), "lr' is 0.1");
        assert_eq!((after(0, 30.0), after(9, 30.0)), (30.0, 30.0), "what was asked for is not taken back");
    }
}
