//! Sharpness-aware minimization that looks every k steps.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows};
use flat_core::setting::Range;
use flat_core::{ParamVec, Space};

rule! {
    /// `looksam`: a SAM step every k steps, whose part orthogonal to the gradient serves the steps between,
    ///
    /// ```text
    /// t mod k = 0:  g = grad f_B(x);   g_s = grad f_B(x + rho g / ||g||);   surrogate = g_s
    ///               g_v = g_s - <g_s, g> / ||g||^2 g
    /// otherwise:    surrogate = g + alpha (||g|| / ||g_v||) g_v
    /// ```
    ///
    /// `t` counts the steps that this rule took, from 0: its first is a SAM step. Norms are over all parameters together (a
    /// known code takes them a tensor). A zero gradient on a SAM step leaves `g_v` as it was and gives a plain step; a
    /// zero `g_v` gives plain steps. `k = 1` is [`crate::Sam`].
    ///
    /// Cost: 2 evaluations on a SAM step, 1 between: 1 + 1/k in the mean. State: one vector and a count.
    ///
    /// Y. Liu, S. Mai, X. Chen, C.-J. Hsieh, Y. You, "Towards Efficient and Scalable Sharpness-Aware Minimization", CVPR 2022,
    /// arXiv 2203.02714, Algorithm 1, without its layer-wise scaling. k 10 and alpha 0.7 are the paper's for ViT on ImageNet;
    /// ResNet-18 on CIFAR is reported to want alpha 0.3.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, LookSam};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, LookSam::new(0.05), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct LookSam {
        rho as "rho" of Sam: f64 = 0.05;
        /// Steps from one SAM step to the next.
        k as "looksam-k": u64 = 10, range: Range::AtLeast(1);
        /// Share of the kept direction in the steps between.
        alpha as "looksam-alpha": f64 = 0.7, range: Range::NonNegative;
    }
    state {
        /// g_v.
        kept: Option<ParamVec> = None;
        /// Steps taken.
        taken: u64 = 0;
    }
    spec {
        "looksam",
        "every k steps grad f(x + rho g/||g||), between them g + alpha ||g||/||g_v|| g_v",
        "Liu et al. 2022, arXiv 2203.02714, Algorithm 1",
    }
}

impl LookSam {
    /// LookSAM with radius `rho`.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }

    /// Whether the next step is a SAM step.
    fn looks(&self) -> bool {
        self.taken.is_multiple_of(self.k)
    }
}

impl GradientRule for LookSam {
    fn evals_per_step(&self, _: usize) -> f64 {
        if self.looks() { 2.0 } else { 1.0 }
    }
    fn mean_evals(&self, _: usize) -> f64 {
        1.0 + 1.0 / self.k as f64
    }
    fn radius(&self, _: usize) -> f64 {
        self.rho
    }
    fn begin(&mut self, space: &Space) -> Result<()> {
        self.kept = Some(ParamVec::zeros(space)?);
        Ok(())
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let g = f.gradient(Rows::All)?;
        let on_device = g.norm.is_on_device();
        if self.looks() {
            let ascended = f.ascend(cx.rho, &g)?;
            self.taken += 1;
            let Some(ascended) = ascended else { return Ok(Estimate::plain(g)) };
            // one pass finds g_v and its norm
            let along = ascended.grad.dot_at(&g.grad, on_device)?.over(&g.norm)?.over(&g.norm)?;
            self.kept = Some(ascended.grad.plus_by(&along.times(-1.0)?, &g.grad)?);
            return Ok(Estimate::perturbed(&g, ascended.grad));
        }
        let surrogate = match &self.kept {
            None => None,
            Some(kept) => {
                let share = g.norm.times(self.alpha)?.over(&kept.norm_at(on_device)?)?;
                if share.host() == Some(0.0) { None } else { Some(g.grad.plus_by(&share, kept)?) }
            }
        };
        self.taken += 1;
        Ok(match surrogate {
            Some(surrogate) => Estimate::perturbed(&g, surrogate),
            None => Estimate::plain(g),
        })
    }
}
