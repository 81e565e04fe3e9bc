//! Momentum sharpness-aware minimization.

use super::Sam;
use crate::{Ctx, Estimate, GradientRule, Need, Oracle, Result, Rows};

rule! {
    /// `msam`: SAM whose perturbation is the base optimizer's momentum, which costs no gradient,
    ///
    /// ```text
    /// v = momentum before the step;   surrogate = grad f_B(x - rho v / ||v||)
    /// ```
    ///
    /// The shifted point lies ahead on the path of descent. The first step, where `v = 0`, is plain. It never evaluates at x:
    /// the reported loss and norm are those of the shifted point. A base without momentum is refused.
    ///
    /// Cost: 1 evaluation a step.
    ///
    /// M. Becker, F. Altrock, B. Risse, "Momentum-SAM: Sharpness Aware Minimization without Computational Overhead", 2024, arXiv
    /// 2401.12033, Algorithm 1. Radii are larger than [`crate::Sam`]'s: the authors' class has 0.3, their CIFAR recipes 3, ViT
    /// on ImageNet 10. Their code keeps the parameters at the shifted point between steps, and takes weight decay there; here
    /// both are at x.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sgd, Msam};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Msam::new(0.3), Sgd::new(0.1).momentum(0.9))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert!(optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?.perturbed);
    /// assert_eq!((report.evals, report.perturbed), (1.0, false));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Msam {
        rho as "rho" of Sam: f64 = 0.3;
    }
    spec {
        "msam",
        "grad f(x - rho v/||v||), v the momentum of the base",
        "Becker, Altrock, Risse 2024, arXiv 2401.12033, Algorithm 1",
    }
}

impl Msam {
    /// MSAM with radius `rho`; the authors use 0.3 to 10.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }
}

impl GradientRule for Msam {
    fn evals_per_step(&self, _: usize) -> f64 {
        1.0
    }
    fn radius(&self, _: usize) -> f64 {
        self.rho
    }
    fn needs(&self) -> Vec<Need> {
        vec![Need::Momentum]
    }
    fn lags_statistics(&self) -> bool {
        true
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let on_device = !f.space().device.is_cpu();
        let by = match cx.momentum {
            Some(v) => f.scale_direction(cx.rho, v, on_device)?.map(|by| (by, v)),
            None => None,
        };
        let Some((by, v)) = by else { return Ok(Estimate::plain(f.gradient(Rows::All)?)) };
        let ahead = f.gradient_at(by.times(-1.0)?, v, Rows::All)?;
        Ok(Estimate { perturbed: true, ..Estimate::plain(ahead) })
    }
}
