//! Efficient sharpness-aware minimization.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Need, Oracle, Result, Rows};
use flat_core::setting::Range;
use flat_core::{ParamVec, Purpose};

rule! {
    /// `esam`: SAM whose perturbation leaves weights out, and whose gradient is that of the examples whose loss rises most,
    ///
    /// ```text
    /// g = grad f_B(x);   m ~ Bernoulli(beta), an element each;   e = (rho / beta) m g / ||g||
    /// S = the max(1, floor(gamma n)) rows of largest f_i(x + e) - f_i(x), of equal ones the first
    /// surrogate = grad f_S(x + e)
    /// ```
    ///
    /// with the norm of the whole gradient, so that e is `rho g / ||g||` in expectation. A zero gradient gives a plain step.
    /// BatchNorm sees S alone in the last gradient. At gamma 1 nothing is chosen, and at beta 1 too it is [`crate::Sam`].
    ///
    /// Cost: 4/3 + gamma evaluations a step, of which the losses at x + e are a third; 2 at gamma 1. No state.
    ///
    /// J. Du, H. Yan, J. Feng, J. T. Zhou, L. Zhen, R. S. M. Goh, V. Y. F. Tan, "Efficient Sharpness-aware Minimization for Improved
    /// Training of Neural Networks", ICLR 2022, arXiv 2110.03141, Algorithm 1. beta 0.6 and gamma 0.5 are those of the authors'
    /// script for ResNet-18. Their code draws whole tensors, takes the norm over the drawn ones, and chooses one row fewer.
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use flat_optim::{Esam, Optimizer, Params, Sgd, WithLosses};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = Var::new(&[3.0f64, -2.0], &Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Esam::new(0.05), Sgd::new(0.1))?;
    /// // the loss of row i is w_i^2
    /// let mut losses = WithLosses::new(2, |rows: &[u32]| w.sqr()?.index_select(&Tensor::new(rows, &Device::Cpu)?, 0));
    /// let report = optimizer.step(&mut losses)?;
    /// assert!((report.evals - (4.0 / 3.0 + 0.5)).abs() < 1e-12);
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Esam {
        rho as "rho" of Sam: f64 = 0.05;
        /// Probability with which a weight is perturbed.
        beta as "esam-beta": f64 = 0.6, range: Range::Share;
        /// Share of the examples, those whose loss rises most, that the gradient is of.
        gamma as "esam-gamma": f64 = 0.5, range: Range::Share;
    }
    spec {
        "esam",
        "grad of the examples whose loss rises most at x + rho m g/||g||, m a random mask",
        "Du et al. 2022, arXiv 2110.03141, Algorithm 1",
    }
}

impl Esam {
    /// ESAM with radius `rho`.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }

    /// Examples of a batch of `rows` that are chosen.
    fn chosen(&self, rows: usize) -> usize {
        ((self.gamma * rows as f64).floor() as usize).clamp(1, rows)
    }
}

impl GradientRule for Esam {
    fn evals_per_step(&self, rows: usize) -> f64 {
        match self.chosen(rows) {
            all if all == rows => 2.0,
            chosen => 4.0 / 3.0 + chosen as f64 / rows as f64,
        }
    }
    fn needs(&self) -> Vec<Need> {
        if self.gamma < 1.0 { vec![Need::Losses] } else { Vec::new() }
    }
    fn memoryless(&self) -> bool {
        true
    }
    fn radius(&self, _: usize) -> f64 {
        self.rho
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let rows = f.rows();
        let count = self.chosen(rows);
        let (g, before) = match count == rows {
            true => (f.gradient(Rows::All)?, Vec::new()),
            false => f.gradient_and_losses(Rows::All)?,
        };
        let Some(by) = f.scale_to(cx.rho, &g)? else { return Ok(Estimate::plain(g)) };
        let masked = (self.beta < 1.0)
            .then(|| {
                let mask = ParamVec::bernoulli(f.space(), self.beta, &cx.stream(Purpose::Mask))?;
                let mut masked = g.grad.hadamard(&mask)?;
                masked.scale(1.0 / self.beta)?;
                Ok::<_, crate::Error>(masked)
            })
            .transpose()?;
        let direction = masked.as_ref().unwrap_or(&g.grad);
        if count == rows {
            let ascended = f.gradient_at(by, direction, Rows::All)?;
            return Ok(Estimate::perturbed(&g, ascended.grad));
        }
        let after = f.losses_at(by.clone(), direction, Rows::All)?;
        let rises: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        let chosen = f.chosen_gradient_at(by, direction, &largest(&rises, count))?;
        Ok(Estimate::perturbed(&g, chosen.grad))
    }
}

/// The indices of the `count` largest numbers, ascending; of equal ones the first, and NaN before all.
fn largest(numbers: &[f64], count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..numbers.len() as u32).collect();
    order.sort_by(|&i, &j| numbers[j as usize].total_cmp(&numbers[i as usize]));
    order.truncate(count);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_taken_and_of_equal_ones_the_first() {
        assert_eq!(largest(&[1.0, 3.0, -2.0, 3.0, 3.0], 2), [1, 3]);
        assert_eq!(largest(&[0.0, 0.0, 0.0], 1), [0]);
        assert_eq!(largest(&[2.0, 1.0], 2), [0, 1]);
    }

    #[test]
    fn at_least_one_example_is_chosen_and_never_more_than_there_are() {
        assert_eq!([1, 2, 3, 20].map(|n| Esam::default().chosen(n)), [1, 1, 1, 10]);
        assert_eq!(Esam::default().gamma(1.0).chosen(7), 7);
    }
}
