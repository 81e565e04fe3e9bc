//! Sharpness-aware perturbation.

use super::{Gate, Sam};
use crate::{Ctx, Estimate, GradientRule, Oracle, Result, Rows};
use flat_core::Purpose;
use flat_core::setting::{Needs, Range};

/// Length of the offset xi, as a part of rho, where a sample's own gradient is zero.
const OFFSET: f64 = 1e-3;

flat_core::named! {
    /// Whose loss is f_i in [`Sap`]: it gives the direction of the perturbation and the perturbed gradient.
    pub enum Direction, "direction" {
        /// That of a random sample of the batch, as in the paper.
        Sample = "sample",
        /// That of the whole batch (the paper's Figure 3 at the full batch size).
        Batch = "batch",
    }
}

flat_core::named! {
    /// The sign of the perturbation in [`Sap`].
    pub enum Sign, "sign" {
        /// Random, as in the paper.
        Random = "random",
        /// Always uphill.
        Plus = "plus",
    }
}

rule! {
    /// `sap`: Algorithm 2 of the paper, for f = (1/n) sum f_i,
    ///
    /// ```text
    /// if ||grad f(x)|| <= eps0:   i ~ [n];   sigma ~ {-1, +1}
    ///                             v = Proj_perp_{grad f(x)} grad f_i(x + rho sigma grad f_i(x) / ||grad f_i(x)||)
    ///                             x <- x - eta (grad f(x) + v)
    /// else:                       x <- x - eta' grad f(x)
    /// ```
    ///
    /// The same sample i gives the direction and the perturbed gradient; the projection is against the gradient of the
    /// whole batch. The drift towards a smaller trace of the Hessian is d times that of [`crate::Rsp`], because grad f_i
    /// points along the one curved direction of f_i. Where grad f_i(x) = 0 the direction is that of grad f_i(x + xi), with
    /// xi uniform on the sphere of radius rho / 1000 (one more evaluation of the sample); where that is zero too, the step
    /// is plain.
    ///
    /// SAP is not SAM: it keeps the ordinary gradient and adds v, projects, has a random sign and a single sample.
    ///
    /// Cost: 1 + 2/n evaluations a perturbed step, 1 beyond the gate; up to 3 where batch normalisation ties the sample to
    /// its batch ([`crate::Objective::cost`]). Where the sample is the whole batch (n = 1,
    /// [`Direction::Batch`]) its gradient is known, and the cost is 2. The length of grad f_i decides what is evaluated next:
    /// one round trip to the device a step, and one more for a finite gate.
    ///
    /// K. Ahn, A. Jadbabaie, S. Sra, "How to Escape Sharp Minima with Random Perturbations", ICML 2024, arXiv 2305.15659,
    /// Algorithm 2 and the remark after it.
    ///
    /// ```
    /// use flat_optim::{Optimizer, Params, Query, Sap, Sgd};
    /// # fn main() -> flat_optim::Result<()> {
    /// # let w = candle_core::Var::new(&[3.0f64, -2.0], &candle_core::Device::Cpu)?;
    /// let params = Params::new([("w".to_string(), w.clone())])?;
    /// let mut optimizer = Optimizer::new(&params, Sap::new(0.1), Sgd::new(0.1))?;
    /// let report = optimizer.step(&mut |_: Query| w.sqr()?.sum_all())?;
    /// assert_eq!((report.evals, report.perturbed), (2.0, true));
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug, Clone)]
    pub struct Sap {
        rho as "rho" of Sam: f64 = 0.1;
        /// Examples in the sample that perturbs; 1 is Algorithm 2, whose noise wants a small --lr, a gate or --init.
        examples as "sap-examples": usize = 128, range: Range::AtLeast(1), needs: Needs::Is("sap-direction", "sample");
        /// Ascend along the gradient of one sample or of the batch (ablation).
        direction as "sap-direction": Direction = Direction::Sample;
        /// Random or always positive sign (ablation).
        sign as "sap-sign": Sign = Sign::Random;
    }
    with {
        /// Where it perturbs, and what it does elsewhere.
        gate: Gate;
    }
    spec {
        "sap",
        "g + the part of grad f_i(x ± rho g_i/||g_i||) orthogonal to g, i a random sample of --sap-examples",
        "Ahn, Jadbabaie, Sra 2024, arXiv 2305.15659, Algorithm 2",
    }
    or &["sa"];
}

impl Sap {
    /// SAP with radius `rho`.
    pub fn new(rho: f64) -> Self {
        Self::default().rho(rho)
    }

    /// How many samples a batch of `rows` holds.
    fn samples(&self, rows: usize) -> usize {
        match self.direction {
            Direction::Sample => rows.div_ceil(self.examples),
            Direction::Batch => 1,
        }
    }

    fn draw(&self, rows: usize, cx: &Ctx<'_>) -> Rows {
        let of = self.samples(rows);
        if of == 1 {
            return Rows::All;
        }
        let index = cx.stream(Purpose::Sample).below(of);
        if of == rows { Rows::One(index) } else { Rows::Shard { index, of } }
    }
}

impl GradientRule for Sap {
    fn evals_per_step(&self, rows: usize) -> f64 {
        match self.samples(rows) {
            1 => 2.0,
            n => 1.0 + 2.0 / n as f64,
        }
    }
    fn least_evals(&self, rows: usize) -> f64 {
        if self.gate.eps0.is_finite() { 1.0 } else { self.evals_per_step(rows) }
    }
    fn memoryless(&self) -> bool {
        true
    }
    fn radius(&self, _: usize) -> f64 {
        self.rho
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let g = match self.gate.beyond(f.gradient(Rows::All)?, cx)? {
            Ok(g) => g,
            Err(plain) => return Ok(plain),
        };
        let i = self.draw(f.rows(), cx);
        let sign = if self.sign == Sign::Random { cx.stream(Purpose::Sign).sign() } else { 1.0 };
        let mut g_i = if i == Rows::All { None } else { Some(f.gradient(i)?) };
        if f.scale_to_host(cx.rho, g_i.as_ref().unwrap_or(&g))?.is_none() {
            g_i = Some(f.gradient_at(OFFSET * cx.rho, &cx.sphere()?, i)?);
        }
        let direction = g_i.as_ref().unwrap_or(&g);
        let Some(by) = f.scale_to_host(cx.rho, direction)? else { return Ok(Estimate::plain(g)) };
        let v = f.gradient_at(sign * by, &direction.grad, i)?.grad;
        self.gate.combined(&g, &v)
    }
}
