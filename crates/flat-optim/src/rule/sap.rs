//! Sharpness-aware perturbation.

use super::rsp::{beyond, gate};
use crate::error::{names, positive};
use crate::{Ctx, Error, Estimate, GradientRule, Oracle, Result, Rows, StateVisitor, Stateful};
use flat_core::Purpose;

/// Length of the offset xi, as a part of rho, where a sample's own gradient is zero.
const OFFSET: f64 = 1e-3;

/// Whose loss is f_i in [`Sap`]: it gives the direction of the perturbation and the perturbed gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// That of a random sample of the batch, as in the paper.
    #[default]
    Sample,
    /// That of the whole batch (the paper's Figure 3 at the full batch size).
    Batch,
}

/// The sign of the perturbation in [`Sap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sign {
    /// Random, as in the paper.
    #[default]
    Random,
    /// Always uphill.
    Plus,
}

macro_rules! named {
    ($kind:ident, $flag:literal, $($variant:ident = $name:literal),+) => {
        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self {
                    $(Self::$variant => $name,)+
                })
            }
        }

        impl std::str::FromStr for $kind {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(Error::option($flag, name, format!("must be one of {}", names([$($name),+])))),
                }
            }
        }
    };
}
named!(Direction, "direction", Sample = "sample", Batch = "batch");
named!(Sign, "sign", Random = "random", Plus = "plus");

/// Options of [`Sap`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SapConfig {
    /// Perturbation radius.
    pub rho: f64,
    /// The gate eps0: perturb only where the gradient norm is at most this. Infinite: always.
    pub gate: f64,
    /// eta', from which the schedule of the learning rate starts on the plain steps beyond the gate. `None`: the same
    /// learning rate as on perturbed steps.
    pub plain_lr: Option<f64>,
    /// Whether v is projected to be orthogonal to the gradient. The paper projects; `false` is an ablation.
    pub project: bool,
    /// Whose loss is f_i: that of `examples` rows of the batch (the paper), or the batch's own.
    pub direction: Direction,
    /// Examples in a sample. Algorithm 2 has 1; the paper's Figure 3 (right) also tries 64 and 128. The default is 128: a
    /// smaller sample adds its noise to every step, which keeps random weights from training at usual learning rates. Above 1, the sample
    /// is one of ceil(rows / examples) consecutive parts of the batch.
    pub examples: usize,
    /// Random sign (the paper), or always uphill as in SAM.
    pub sign: Sign,
}

impl Default for SapConfig {
    fn default() -> Self {
        Self {
            rho: 0.1,
            gate: f64::INFINITY,
            plain_lr: None,
            project: true,
            direction: Direction::Sample,
            examples: 128,
            sign: Sign::Random,
        }
    }
}

impl SapConfig {
    /// The rule.
    ///
    /// # Errors
    /// `rho` or `plain_lr` that is not a finite number above 0; a `gate` that is not above 0; `examples` = 0.
    pub fn build(self) -> Result<Sap> {
        positive("rho", self.rho)?;
        gate(self.gate, self.plain_lr)?;
        if self.examples == 0 {
            return Err(Error::option("examples", 0, "a sample holds at least one example"));
        }
        Ok(Sap { config: self })
    }
}

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
#[derive(Debug, Clone)]
pub struct Sap {
    config: SapConfig,
}

impl Sap {
    /// How many samples a batch of `rows` holds.
    fn samples(&self, rows: usize) -> usize {
        match self.config.direction {
            Direction::Sample => rows.div_ceil(self.config.examples),
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

impl Stateful for Sap {
    fn visit(&mut self, _: &mut dyn StateVisitor) -> Result<()> {
        Ok(())
    }
}

impl GradientRule for Sap {
    fn name(&self) -> &'static str {
        "sap"
    }
    fn evals_per_step(&self, rows: usize) -> f64 {
        match self.samples(rows) {
            1 => 2.0,
            n => 1.0 + 2.0 / n as f64,
        }
    }
    fn radius(&self, _: usize) -> f64 {
        self.config.rho
    }
    fn estimate(&mut self, f: &mut Oracle<'_>, cx: &Ctx<'_>) -> Result<Estimate> {
        let g = f.here(Rows::All)?;
        if beyond(self.config.gate, &g)? {
            return Ok(Estimate::plain(g).with_lr(self.config.plain_lr.map(|lr| cx.lr_from(lr))));
        }
        let i = self.draw(f.rows(), cx);
        let sign = if self.config.sign == Sign::Random { cx.stream(Purpose::Sign).sign() } else { 1.0 };
        let mut g_i = if i == Rows::All { None } else { Some(f.here(i)?) };
        if f.scale_to_known(cx.rho, g_i.as_ref().unwrap_or(&g))?.is_none() {
            g_i = Some(f.displaced(OFFSET * cx.rho, &cx.sphere()?, i)?);
        }
        let direction = g_i.as_ref().unwrap_or(&g);
        let Some(by) = f.scale_to_known(cx.rho, direction)? else { return Ok(Estimate::plain(g)) };
        let mut v = f.displaced(sign * by, &direction.grad, i)?.grad;
        if self.config.project {
            v = g.reject(v)?;
        }
        v.add_scaled(1.0, &g.grad)?;
        Ok(Estimate::perturbed(&g, v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ablations_parse_from_their_names() -> Result<()> {
        for d in [Direction::Sample, Direction::Batch] {
            assert_eq!(d.to_string().parse::<Direction>()?, d);
        }
        for s in [Sign::Random, Sign::Plus] {
            assert_eq!(s.to_string().parse::<Sign>()?, s);
        }
        let text = "minus".parse::<Sign>().expect_err("unknown").to_string();
        assert_eq!(text, "sign = minus: must be one of random, plus");
        Ok(())
    }
}
