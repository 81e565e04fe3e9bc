//! Low-pass filter SGD.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows};
use flat_core::setting::Range;
use flat_core::{Number, ParamVec, Purpose, Update};

rule! {
    /// `lpf`: the gradient of the loss filtered by Gaussian noise that scales with each filter's norm,
    ///
    /// ```text
    /// part j = 1..M of the batch:   z_j ~ N(0, I);   g_j = grad f_j(x + rho F z_j)
    /// surrogate = mean of g_j, weighted by the parts' sizes
    /// ```
    ///
    /// F holds for each weight the norm of its filter: the row of first index (output channel or unit) of a parameter with two
    /// dimensions or more, the whole parameter otherwise. A filter of zeros gets no noise. It never evaluates at x: the reported
    /// loss is the mean over the noisy points.
    ///
    /// Cost: 1 evaluation a step, since each example is used once.
    ///
    /// D. Bisla, J. Wang, A. Choromanska, "Low-Pass Filtering SGD for Recovering Flat Optima in the Deep Learning Optimization
    /// Landscape", AISTATS 2022, arXiv 2201.08025, Algorithm 1. M 8 and rho 0.0005 are the authors'; there the radius rises to
    /// 15 times its first value along half a cosine: `--rho-schedule rising --rho-end 15`. Their ResNet recipes have M 1 and a
    /// constant 0.002, over SGD with Nesterov momentum.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, Lpf};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Lpf::new(0.01), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (1.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Lpf {
        rho as "rho" of Sam: f64 = 5e-4;
        /// Parts of the batch, M, each with noise of its own.
        parts as "lpf-parts": usize = 8, range: Range::AtLeast(1), metavar: "M";
    }
    spec {
        "lpf",
        "mean of grad f_j(x + rho F z_j) over parts j of the batch, z_j Gaussian, F the norms of the filters",
        "Bisla, Wang, Choromanska 2022, arXiv 2201.08025, Algorithm 1",
    }
    or &["lpf-sgd"];
}

impl Lpf {
    /// LPF-SGD with noise of `rho` times each filter's norm.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for Lpf {
    fn evals_per_step(&self, _: usize) -> f64 {
        1.0
    }
    fn radius(&self, _: usize) -> f64 {
        self.rho
    }
    fn lags_statistics(&self) -> bool {
        true
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let norms = f.theta()?.filter_norms()?;
        let mean = f.average_within(self.parts, |f, j| {
            let noise = ParamVec::recur_noise(&cx.stream_at(Purpose::Perturb, j), [&norms], [], |_| Filtered)?;
            Ok(Estimate::plain(f.gradient_at(cx.rho, &noise, Rows::All)?))
        })?;
        let surrogate = crate::Sample::new(mean.loss, mean.grad)?;
        Ok(Estimate { perturbed: true, ..Estimate::plain(surrogate) })
    }
}

/// `F z`.
struct Filtered;

impl Update<1, 0> for Filtered {
    #[inline(always)]
    fn update<E: Number>(&self, z: E, [norm]: [E; 1], _: [E; 0]) -> (E, [E; 0]) {
        (z * norm, [])
    }
}
