//! Gradient flow of the quadratic model at a point, in the Krylov space of the gradient.

use crate::Result;
use crate::linalg::{Krylov, Ritz};
use crate::observer::Progress;
use crate::operator::LinearOperator;
use flat_core::{ParamVec, Space};
use std::ops::ControlFlow;

/// The motion `delta(h) = -h phi_1(-h H) g` of `dx/dt = -g - H (x - x_0)`, with `phi_1(z) = (e^z - 1) / z`: Lanczos' method
/// from g (Hochbruck & Lubich 1997, "On Krylov subspace approximations to the matrix exponential operator"). One space
/// serves every h; for large h the motion is Newton's step `-H^+ g`.
pub(crate) struct Linear {
    krylov: Krylov,
    space: Space,
    /// Norm of g.
    slope: f64,
    /// What the last product has outside the space.
    remainder: Option<ParamVec>,
    ritz: Vec<Ritz>,
    /// Parts of g below this are rounding and do not move.
    noise: f64,
    /// The motion may be wrong by this fraction of its length.
    accuracy: f64,
}

/// `exp(-20)` of a decayed part is left.
const RELAXED: f64 = 20.0;

impl Linear {
    pub(crate) fn new(grad: &ParamVec, noise: f64, accuracy: f64) -> Result<Self> {
        let slope = grad.norm()?;
        let krylov = Krylov::from_unit(grad.scaled(1.0 / slope)?);
        Ok(Self { krylov, space: grad.space(), slope, remainder: None, ritz: Vec::new(), noise, accuracy })
    }

    /// Products so far.
    pub(crate) fn steps(&self) -> usize {
        self.krylov.steps()
    }

    /// Multiplies until the motion over `h` is accurate, at most `limit` times in all.
    pub(crate) fn grow(
        &mut self,
        hessian: &mut dyn LinearOperator,
        h: f64,
        limit: usize,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut next_look = self.krylov.steps() + 1;
        while self.krylov.steps() < limit.min(self.space.layout.len()) && !self.krylov.closed {
            if let Some(mut w) = self.remainder.take() {
                w.scale(1.0 / w.norm()?)?;
                self.krylov.basis.push(w);
            }
            let done = self.krylov.steps() as u64;
            let product = hessian.product(self.krylov.current(), &mut |_: &Progress| watch(done))?.product;
            let w = self.krylov.absorb(product)?;
            if !self.krylov.closed {
                self.remainder = Some(w);
            }
            let steps = self.krylov.steps();
            if steps >= next_look || self.krylov.closed || steps == limit {
                self.ritz = self.krylov.ritz()?;
                if self.settled(h) {
                    break;
                }
                // a fifth more products between looks, whose cost grows with the cube of their number
                next_look = steps + (steps / 5).max(1);
            }
        }
        self.ritz = self.krylov.ritz()?;
        Ok(())
    }

    /// Whether the motion over `h` is accurate.
    pub(crate) fn settled(&self, h: f64) -> bool {
        let h = h.min(self.relaxation());
        self.residue(h) <= self.accuracy * norm(&self.motion(h))
    }

    /// A bound of the motion's error over `h`: what the last vector's product has outside the space, over the time it acts.
    pub(crate) fn residue(&self, h: f64) -> f64 {
        let steps = self.krylov.steps();
        if self.krylov.closed || steps == self.space.layout.len() {
            return 0.0;
        }
        self.krylov.beta[steps - 1] * self.motion(h)[steps - 1].abs() * h.min(RELAXED / self.slowest())
    }

    /// The smallest rate at which a part of g that is more than rounding decays; negative rates count by size.
    fn slowest(&self) -> f64 {
        self.moving().map(|r| r.value.abs()).fold(f64::INFINITY, f64::min).max(f64::MIN_POSITIVE)
    }

    /// The time after which nothing moves any more.
    pub(crate) fn relaxation(&self) -> f64 {
        let scale = self.ritz.iter().map(|r| r.value.abs()).fold(0.0, f64::max);
        // slower rates than this are not told from zero
        RELAXED / self.slowest().max(16.0 * self.krylov.epsilon * scale).max(1e-300)
    }

    /// Length of the way to the quadratic model's stationary point, `||H^+ g||` over the parts that move.
    pub(crate) fn rest(&self) -> f64 {
        let scale = self.ritz.iter().map(|r| r.value.abs()).fold(f64::MIN_POSITIVE, f64::max);
        let floor = self.krylov.epsilon * scale;
        self.moving().map(|r| (self.slope * r.vector[0] / r.value.abs().max(floor)).powi(2)).sum::<f64>().sqrt()
    }

    fn moving(&self) -> impl Iterator<Item = &Ritz> {
        self.ritz.iter().filter(|r| r.vector[0].abs() * self.slope > self.noise)
    }

    /// Coordinates of `f(H) g` over the parts that move.
    fn function(&self, f: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut c = vec![0.0; self.krylov.steps()];
        for r in self.moving() {
            let weight = self.slope * r.vector[0] * f(r.value);
            c.iter_mut().zip(&r.vector).for_each(|(c, s)| *c += weight * s);
        }
        c
    }

    /// Coordinates of the motion over `h`.
    pub(crate) fn motion(&self, h: f64) -> Vec<f64> {
        self.function(|rate| if rate == 0.0 { -h } else { (-h * rate).exp_m1() / rate })
    }

    /// A vector of these coordinates.
    pub(crate) fn vector(&self, c: &[f64]) -> Result<ParamVec> {
        self.krylov.combine(c, &self.space)
    }

    /// `g + H delta` for the motion's coordinates.
    pub(crate) fn predicted(&self, c: &[f64]) -> Result<ParamVec> {
        let (n, k) = (c.len(), &self.krylov);
        let mut t: Vec<f64> = (0..n)
            .map(|i| {
                let below = if i > 0 { k.beta[i - 1] * c[i - 1] } else { 0.0 };
                let above = if i + 1 < n { k.beta[i] * c[i + 1] } else { 0.0 };
                below + k.alpha[i] * c[i] + above
            })
            .collect();
        t[0] += self.slope;
        let mut out = self.vector(&t)?;
        if let Some(w) = &self.remainder {
            // its norm is the last beta
            out.add_scaled(c[n - 1], w)?;
        }
        Ok(out)
    }

    /// Takes the part in the space off `w` and returns its coordinates.
    pub(crate) fn split(&self, w: &mut ParamVec) -> Result<Vec<f64>> {
        self.krylov.orthogonalise(w)
    }

    /// Newton's step from a gradient of these coordinates.
    pub(crate) fn newton(&self, c: &[f64]) -> Vec<f64> {
        let scale = self.ritz.iter().map(|r| r.value.abs()).fold(0.0, f64::max);
        let mut out = vec![0.0; c.len()];
        for r in self.moving().filter(|r| r.value > 16.0 * self.krylov.epsilon * scale) {
            let along: f64 = r.vector.iter().zip(c).map(|(s, c)| s * c).sum();
            out.iter_mut().zip(&r.vector).for_each(|(o, s)| *o -= along / r.value * s);
        }
        out
    }

    /// Coordinates of `2 h phi_3(-h H)` times a vector of these coordinates: what a force that grows with the square of the
    /// time moves.
    pub(crate) fn grown(&self, h: f64, c: &[f64]) -> Vec<f64> {
        self.times(c, |rate| 2.0 * h * phi_3(-h * rate))
    }

    /// Coordinates of `h phi_1(-h H)` times a vector of these coordinates: what a constant force moves.
    pub(crate) fn held(&self, h: f64, c: &[f64]) -> Vec<f64> {
        self.times(c, |rate| if rate == 0.0 { h } else { -(-h * rate).exp_m1() / rate })
    }

    fn times(&self, c: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut out = vec![0.0; c.len()];
        for r in &self.ritz {
            let along: f64 = r.vector.iter().zip(c).map(|(s, c)| s * c).sum();
            let weight = f(r.value) * along;
            out.iter_mut().zip(&r.vector).for_each(|(o, s)| *o += weight * s);
        }
        out
    }
}

/// `(e^z - 1 - z - z^2 / 2) / z^3`.
pub(crate) fn phi_3(z: f64) -> f64 {
    if z.abs() < 0.1 {
        // the series to its ninth term: 0.1^9 / 12! is below rounding
        let mut term = 1.0 / 6.0;
        let mut sum = term;
        for k in 4..13 {
            term *= z / f64::from(k);
            sum += term;
        }
        sum
    } else {
        (z.exp_m1() - z - z * z / 2.0) / (z * z * z)
    }
}

/// Euclidean norm of coordinates.
pub(crate) fn norm(c: &[f64]) -> f64 {
    c.iter().map(|c| c * c).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phi_3_is_the_same_from_both_sides_of_its_switch_and_one_sixth_at_zero() {
        assert!((phi_3(0.0) - 1.0 / 6.0).abs() < 1e-16);
        // the formula loses 1e-16 / 0.1^3 there
        assert!((phi_3(0.1 - 1e-12) - phi_3(0.1 + 1e-12)).abs() < 1e-12);
        assert!((phi_3(-0.1 + 1e-12) - phi_3(-0.1 - 1e-12)).abs() < 1e-12);
        // for large negative arguments 1 / (2 |z|)
        assert!((phi_3(-1e6) * 2e6 - 1.0).abs() < 1e-5);
    }
}
