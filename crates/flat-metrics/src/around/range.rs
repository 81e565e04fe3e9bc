//! The range and the kernel of the Hessian at one point.

use crate::linalg::{Krylov, Ritz};
use crate::observer::Progress;
use crate::operator::LinearOperator;
use crate::{Error, Result};
use flat_core::{ParamVec, Purpose, Space, Streams};
use std::ops::ControlFlow;

/// Lanczos' method from a random vector until its Krylov spaces are closed, that is until they hold the whole range.
///
/// A closed space is left for a random vector orthogonal to it. Where the Hessian of that vector is zero, nothing but the
/// kernel is left: an eigenvector that was missed has a part of about `1 / sqrt d` in it, so with 95 % probability its
/// eigenvalue is below [`Range::resolution`]. Multiple eigenvalues are found as often as they occur.
pub(crate) struct Range {
    krylov: Krylov,
    space: Space,
    ritz: Vec<Ritz>,
    /// Norm of the rounding of a product with a vector of norm 1.
    pub(crate) noise: f64,
    /// Eigenvalues up to this size count as zero.
    pub(crate) zero: f64,
    /// An eigenvalue that was missed is below this, with 95 % probability; infinite unless `complete`.
    pub(crate) resolution: f64,
    /// The whole range was reached.
    pub(crate) complete: bool,
    pub(crate) interrupted: bool,
}

/// How far to go.
pub(crate) struct Reach {
    /// Most vectors of the basis.
    pub(crate) most: usize,
    /// What eigenvalues may be wrong by, for the point is not quite the limit.
    pub(crate) off: f64,
}

/// Stream of the vectors that measure rounding.
const ROUNDING: u64 = u64::MAX - 5;

/// A normal variable is below 1/16 in size with probability 5 %.
const RARE: f64 = 16.0;

/// Eigenvalues below this fraction of the largest count as zero: the root of the rounding, up to a digit or two.
fn negligible(epsilon: f64) -> f64 {
    if epsilon < 1e-10 { 1e-10 } else { 1e-5 }
}

impl Range {
    /// Spends at most `reach.most` products, but 4 in any case; `None` where it is interrupted before.
    pub(crate) fn explore(
        hessian: &mut dyn LinearOperator,
        streams: &Streams,
        reach: &Reach,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Option<Self>> {
        let space = hessian.space().clone();
        let (d, krylov) = (space.layout.len(), Krylov::new(&space, streams)?);
        let (noise, product) = match rounding(hessian, krylov.current(), streams, &mut || watch(0)) {
            Err(Error::Interrupted) => return Ok(None),
            other => other?,
        };
        let mut out = Self {
            space: space.clone(),
            ritz: Vec::new(),
            noise,
            zero: 0.0,
            resolution: f64::INFINITY,
            complete: false,
            interrupted: false,
            krylov,
        };
        let mut product = product;
        loop {
            let k = &mut out.krylov;
            let fresh = k.steps() > 0 && k.steps() == k.begin;
            let size = product.norm()?;
            if fresh && size <= out.zero {
                k.basis.pop();
                out.complete = true;
                out.resolution = RARE * (d as f64).sqrt() * size.max(out.noise);
                break;
            }
            let remainder = k.absorb(product)?;
            let scale = k.alpha.iter().chain(&k.beta).fold(0.0f64, |s, x| s.max(x.abs()));
            out.noise = out.noise.max(k.epsilon * scale);
            out.zero = (16.0 * out.noise).max(negligible(k.epsilon) * scale).max(reach.off);
            k.close_below(out.zero);
            if k.steps() == d {
                out.complete = true;
                out.resolution = out.zero;
                break;
            }
            if k.steps() + 4 > reach.most {
                break;
            }
            k.extend(remainder, &space, streams)?;
            let done = k.steps() as u64;
            product = match hessian.product(k.current(), &mut |_: &Progress| watch(done)) {
                Ok(product) => product.product,
                Err(Error::Interrupted) => {
                    out.interrupted = true;
                    break;
                }
                Err(e) => return Err(e),
            };
        }
        out.ritz = out.krylov.ritz()?;
        Ok(Some(out))
    }

    /// The eigenvalues found with their residuals, in ascending order.
    pub(crate) fn eigenvalues(&self) -> Vec<[f64; 2]> {
        self.ritz.iter().map(|r| [r.value, r.residual()]).collect()
    }

    /// The pairs that are not zero, largest first.
    pub(crate) fn significant(&self) -> impl Iterator<Item = &Ritz> {
        self.ritz.iter().rev().filter(|r| r.value.abs() > self.zero)
    }

    /// The largest eigenvalue in size.
    pub(crate) fn scale(&self) -> f64 {
        self.ritz.iter().fold(0.0f64, |s, r| s.max(r.value.abs()))
    }

    /// The eigenvector of a pair.
    pub(crate) fn vector(&self, ritz: &Ritz) -> Result<ParamVec> {
        Ok(self.krylov.pair(ritz, &self.space)?.vector)
    }

    /// `P w` for a complete range, with the eigenvalues up to `cut` counted as zero.
    pub(crate) fn project(&self, w: &ParamVec, cut: f64) -> Result<ParamVec> {
        let mut out = w.duplicate()?;
        let c = self.krylov.orthogonalise(&mut out)?;
        let mut kept = vec![0.0; self.krylov.steps()];
        for r in self.ritz.iter().filter(|r| r.value.abs() <= cut) {
            let along: f64 = r.vector.iter().zip(&c).map(|(s, c)| s * c).sum();
            kept.iter_mut().zip(&r.vector).for_each(|(k, s)| *k += along * s);
        }
        out.add_scaled(1.0, &self.krylov.combine(&kept, &self.space)?)?;
        Ok(out)
    }

    /// `||H^+ g||` for a complete range: the way to the quadratic model's stationary point. A gradient below its rounding
    /// `noise` may hide `noise / lambda` of it.
    pub(crate) fn newton_length(&self, g: &ParamVec, noise: f64) -> Result<f64> {
        let c = self.krylov.orthogonalise(&mut g.duplicate()?)?;
        let part = |r: &Ritz| r.vector.iter().zip(&c).map(|(s, c)| s * c).sum::<f64>() / r.value;
        let length = self.significant().map(|r| part(r).powi(2)).sum::<f64>().sqrt();
        let slowest = self.significant().map(|r| r.value.abs()).fold(f64::INFINITY, f64::min);
        Ok(length + noise / slowest)
    }

    /// A number that the smallest eigenvalue is at least: with 95 % probability; `None` where nothing can be said.
    ///
    /// With the whole range known it is the smallest found less its residual, or what may have been missed. Otherwise it is
    /// the bound of Kuczynski & Wozniakowski (1992, "Estimating the Largest Eigenvalue by the Power and Lanczos Algorithms
    /// with a Random Start", theorem 4.2) for both ends of the spectrum.
    pub(crate) fn smallest_at_least(&self) -> Option<f64> {
        let (low, high) = (self.ritz.first()?, self.ritz.last()?);
        if self.complete {
            let missed = if self.krylov.steps() == self.space.layout.len() { f64::INFINITY } else { -self.resolution };
            return Some((low.value - low.residual()).min(missed));
        }
        if self.krylov.restarts > 0 {
            return None;
        }
        let (d, m) = (self.space.layout.len() as f64, self.krylov.steps() as f64);
        let epsilon = ((1.648 * d.sqrt() / 0.025).ln() / (2.0 * m - 1.0)).powi(2);
        (epsilon < 0.4).then(|| low.value - epsilon * (high.value - low.value) / (1.0 - 2.0 * epsilon))
    }
}

/// Norm of the rounding of a product, by its linearity, and the product with `a`.
fn rounding(
    hessian: &mut dyn LinearOperator,
    a: &ParamVec,
    streams: &Streams,
    watch: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<(f64, ParamVec)> {
    let b = ParamVec::sphere(&a.space(), &streams.at2(Purpose::Probe, ROUNDING, 0))?;
    let mut product = |v: &ParamVec| Ok::<_, Error>(hessian.product(v, &mut |_: &Progress| watch())?.product);
    let (of_a, of_b, of_sum) = (product(a)?, product(&b)?, product(&a.plus(1.0, &b)?)?);
    Ok((of_sum.plus(-1.0, &of_a)?.plus(-1.0, &of_b)?.norm()?, of_a))
}
