//! Sharpness-aware minimization as an optimal relaxation of Bayes.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Need, Oracle, Result, Rows, Then};
use flat_core::setting::Range;
use flat_core::{Number, ParamVec, Purpose, Space, Update};

rule! {
    /// `bsam`: a whole optimizer that keeps a Gaussian posterior of precision N s around the weights,
    ///
    /// ```text
    /// part j = 1..P of the batch:   z ~ N(0, I);   q = grad f_j(x + z / sqrt(N s));   g_j = grad f_j(x + rho q / s)
    /// h = mean of sqrt(s) |q|;   G = mean of g_j;   delta = prior / N
    /// m <- b1 m + (1 - b1) (G + delta x);   x <- x - lr m / s;   s <- b2 s + (1 - b2) (h + gamma + delta)
    /// ```
    ///
    /// element by element; x moves by the s from before. Of the base optimizer it takes the learning rate alone: weight decay
    /// comes from the prior, momentum from b1. `rho = 0` is not the plain gradient, so a radius of 0 does not switch it off. It
    /// never evaluates at x: the reported loss is that of the perturbed points.
    ///
    /// Cost: 2 evaluations a step. State: two vectors.
    ///
    /// T. Moellenhoff, M. E. Khan, "SAM as an Optimal Relaxation of Bayes", ICLR 2023, arXiv 2210.01620, Algorithm 1, with the
    /// defaults of the authors' code: lr 0.5 (CIFAR-10; `--lr` here), P 8, b1 0.9, b2 0.999, s from 1, gamma 0.1, prior precision
    /// 25 (40 in their recipe), rho 0.01. N is the number of training images; with augmentation they take four times that.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, Bsam};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Bsam::new(0.01).data(Some(1000.0)), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct Bsam {
        rho as "rho" of Sam: f64 = 0.01;
        /// Decay of the mean gradient.
        beta1 as "bsam-beta1": f64 = 0.9, range: Range::BelowOne;
        /// Decay of the precision.
        beta2 as "bsam-beta2": f64 = 0.999, range: Range::BelowOne;
        /// The precision s at the start.
        s_init as "bsam-s-init": f64 = 1.0, range: Range::Positive;
        /// Damping gamma of the precision.
        damping as "bsam-damping": f64 = 0.1, range: Range::NonNegative;
        /// Precision of the prior, which is the weight decay times N.
        prior as "bsam-prior": f64 = 25.0, range: Range::Positive;
        /// Parts of the batch, P, each with noise of its own.
        parts as "bsam-parts": usize = 8, range: Range::AtLeast(1), metavar: "P";
        /// Size N of the data set.
        data as "bsam-data": Option<f64> = None, range: Range::Positive, metavar: "N",
            default_in_words: "the training images in use";
    }
    state {
        /// m.
        mean: Option<ParamVec> = None;
        /// s.
        precision: Option<ParamVec> = None;
    }
    spec {
        "bsam",
        "x - lr m/s: m the mean of grad f(x + rho q/s), q the gradient at noise of precision N s",
        "Moellenhoff, Khan 2023, arXiv 2210.01620, Algorithm 1",
    }
    over sgd { "lr" = 0.5; }
}

impl Bsam {
    /// bSAM with radius `rho`.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for Bsam {
    fn evals_per_step(&self, _: usize) -> f64 {
        2.0
    }
    fn radius(&self, _: usize) -> f64 {
        self.rho
    }
    fn needs(&self) -> Vec<Need> {
        if self.data.is_some() { Vec::new() } else { vec![Need::Examples] }
    }
    fn plain_at_zero_radius(&self) -> bool {
        false
    }
    fn replaces_base(&self) -> bool {
        true
    }
    fn lags_statistics(&self) -> bool {
        true
    }
    fn begin(&mut self, space: &Space) -> Result<()> {
        self.mean = Some(ParamVec::zeros(space)?);
        self.precision = Some(ParamVec::from_f64(space, vec![self.s_init; space.layout.len()])?);
        Ok(())
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let n = self.data.or(cx.known.examples.map(|n| n as f64)).unwrap_or(f64::INFINITY);
        let (Some(mean), Some(s)) = (&mut self.mean, &mut self.precision) else {
            return Ok(Estimate::plain(f.gradient(Rows::All)?));
        };
        let rows = f.rows();
        let mut sizes = ParamVec::zeros(f.space())?;
        let average = f.average_in_turn(self.parts, |f, j| {
            let noise = ParamVec::recur_noise(&cx.stream_at(Purpose::Perturb, j), [s], [], |_| Noise { n })?;
            let q = f.gradient_at(1.0, &noise, Rows::All)?.grad;
            let share = f.rows() as f64 / rows as f64;
            let (ascent, _) = ParamVec::recur([&q, s], [&mut sizes], |_| Ascent { share }, Some(1), false)?;
            Ok(Estimate::plain(f.gradient_at(cx.rho, &ascent, Rows::All)?))
        })?;
        let of = Step {
            beta1: self.beta1,
            beta2: self.beta2,
            delta: self.prior / n,
            floor: self.damping + self.prior / n,
        };
        let (step, _) = ParamVec::recur([&average.grad, f.theta()?, &sizes], [mean, s], |_| &of, None, false)?;
        Ok(Estimate::of(average.loss, average.grad_norm, step).then(Then::Direct))
    }
}

/// `z / sqrt(N s)`.
struct Noise {
    n: f64,
}

impl Update<1, 0> for Noise {
    #[inline(always)]
    fn update<E: Number>(&self, z: E, [s]: [E; 1], _: [E; 0]) -> (E, [E; 0]) {
        (z / (s * self.n).sqrt(), [])
    }
}

/// `q / s`, and `h <- h + share sqrt(s) |q|`.
struct Ascent {
    share: f64,
}

impl Update<2, 1> for Ascent {
    #[inline(always)]
    fn update<E: Number>(&self, _: E, [q, s]: [E; 2], [h]: [E; 1]) -> (E, [E; 1]) {
        let size = s.clone().sqrt() * q.clone().abs() * self.share;
        (q / s, [h + size])
    }
}

/// `m / s` with the next m and the s from before, and the next s.
struct Step {
    beta1: f64,
    beta2: f64,
    delta: f64,
    /// gamma + delta.
    floor: f64,
}

impl Update<3, 2> for Step {
    #[inline(always)]
    fn update<E: Number>(&self, _: E, [g, x, h]: [E; 3], [m, s]: [E; 2]) -> (E, [E; 2]) {
        let m = m * self.beta1 + (g + x * self.delta) * (1.0 - self.beta1);
        let next = s.clone() * self.beta2 + (h + self.floor) * (1.0 - self.beta2);
        (m.clone() / s, [m, next])
    }
}
