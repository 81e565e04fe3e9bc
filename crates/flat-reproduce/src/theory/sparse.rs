//! Regression by a diagonal linear network: the flattest minima are the sparse ones.

use super::landscape::{Landscape, distance};
use std::ops::Range;

/// `f_i(u, v) = (sum_j a_j (u_j^2 - v_j^2) - 1)^2 / 2`, the sum over the i-th of n blocks of m features; `f = (1/n) sum f_i`.
///
/// The weights `u^2 - v^2` of a network with two layers of one weight a feature meet n measurements. In every block a_1 = 1/2
/// and a_j = +-1 otherwise. x holds the blocks one after another, each u before v, so D = 2 n m.
///
/// * The flow multiplies u_j by e^(-2 a_j t) and v_j by e^(2 a_j t), with one t a block that solves one equation in one
///   unknown.
/// * The trace is `(4/n) sum a_j^2 (u_j^2 + v_j^2)`, and the normals of the minima, `(a u, -a v)` of each block, have disjoint
///   supports: the projector on the tangent space is a projection a block.
/// * `sum a_j^2 (u_j^2 + v_j^2) >= min |a_j| sum |a_j (u_j^2 - v_j^2)| >= 1/2` in every block, with equality where u_1^2 = 2 and all
///   else is 0. So trbar is at least 2/D, and the flattest minima are the solutions of one nonzero weight a block, that is
///   the weighted basis pursuit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sparse {
    blocks: usize,
    features: usize,
}

/// a_1, the cheapest feature of every block.
const CHEAP: f64 = 0.5;

impl Sparse {
    /// About `dim` parameters in `blocks` blocks.
    pub(super) fn new(dim: usize, blocks: usize) -> Self {
        Self { blocks, features: dim / (2 * blocks) }
    }

    fn a(j: usize) -> f64 {
        match j {
            0 => CHEAP,
            j if j % 2 == 1 => 1.0,
            _ => -1.0,
        }
    }

    /// A sharp minimum: every feature carries the same share of the answer, and `spare / m` more in both u^2 and v^2.
    pub(super) fn start(&self, spare: f64) -> Vec<f64> {
        let m = self.features;
        let total: f64 = (0..m).map(|j| Self::a(j).abs()).sum();
        let mut block = vec![0.0; 2 * m];
        for j in 0..m {
            let w = Self::a(j).signum() / total;
            block[j] = (w.max(0.0) + spare / m as f64).sqrt();
            block[m + j] = ((-w).max(0.0) + spare / m as f64).sqrt();
        }
        block.repeat(self.blocks)
    }

    /// The smallest trbar of a minimum.
    pub(super) fn least_trbar(&self) -> f64 {
        4.0 * CHEAP / self.dim() as f64
    }

    /// Distance to the nearest of the flattest minima.
    pub(super) fn distance_to_flattest(&self, x: &[f64]) -> f64 {
        let mut nearest = vec![0.0; x.len()];
        for start in (0..x.len()).step_by(2 * self.features) {
            nearest[start] = (1.0 / CHEAP).sqrt().copysign(x[start]);
        }
        distance(x, &nearest)
    }
}

impl Landscape for Sparse {
    fn dim(&self) -> usize {
        2 * self.blocks * self.features
    }

    fn samples(&self) -> usize {
        self.blocks
    }

    fn value_and_gradient(&self, x: &[f64], rows: Range<usize>, grad: &mut [f64]) -> f64 {
        let (m, weight) = (self.features, 1.0 / rows.len() as f64);
        let mut value = 0.0;
        for i in rows {
            let at = 2 * m * i..2 * m * (i + 1);
            let (u, v) = x[at.clone()].split_at(m);
            let e = (0..m).map(|j| Self::a(j) * (u[j] * u[j] - v[j] * v[j])).sum::<f64>() - 1.0;
            let (gu, gv) = grad[at].split_at_mut(m);
            for j in 0..m {
                let slope = 2.0 * weight * e * Self::a(j);
                gu[j] += slope * u[j];
                gv[j] -= slope * v[j];
            }
            value += weight * e * e / 2.0;
        }
        value
    }

    fn limit(&self, x: &[f64]) -> Vec<f64> {
        let m = self.features;
        let mut out = x.to_vec();
        for block in out.chunks_mut(2 * m) {
            let (u, v) = block.split_at_mut(m);
            // what the prediction is made of: terms that fall and grow as e^(-+4t), and as e^(-+2t)
            let (mut fall, mut grow) = (0.0, 0.0);
            for j in 1..m {
                let (up, down) = if Self::a(j) > 0.0 { (u[j], v[j]) } else { (v[j], u[j]) };
                fall += up * up;
                grow += down * down;
            }
            let (slow_fall, slow_grow) = (CHEAP * u[0] * u[0], CHEAP * v[0] * v[0]);
            let excess = |t: f64| {
                let (e2, e4) = ((2.0 * t).exp(), (4.0 * t).exp());
                fall / e4 - grow * e4 + slow_fall / e2 - slow_grow * e2 - 1.0
            };
            let t = root(excess);
            for j in 0..m {
                let factor = (2.0 * Self::a(j) * t).exp();
                u[j] /= factor;
                v[j] *= factor;
            }
        }
        out
    }

    fn tangent_gradient(&self, at: &[f64]) -> Vec<f64> {
        let m = self.features;
        let factor = 8.0 / (self.blocks * self.dim()) as f64;
        let mut out = Vec::with_capacity(at.len());
        for block in at.chunks(2 * m) {
            // grad tr = (8/n) a^2 x and the normal is +-a x
            let a = |k: usize| Self::a(k % m);
            let normal = |k: usize| if k < m { a(k) * block[k] } else { -a(k) * block[k] };
            let (mut across, mut square) = (0.0, 0.0);
            for (k, x) in block.iter().enumerate() {
                across += a(k) * a(k) * x * normal(k);
                square += normal(k) * normal(k);
            }
            let along = if square > 0.0 { across / square } else { 0.0 };
            out.extend(block.iter().enumerate().map(|(k, x)| factor * (a(k) * a(k) * x - along * normal(k))));
        }
        out
    }

    fn trbar(&self, x: &[f64]) -> f64 {
        let m = self.features;
        let sum: f64 = x.iter().enumerate().map(|(k, x)| (Self::a(k % (2 * m) % m) * x).powi(2)).sum();
        4.0 * sum / (self.blocks * self.dim()) as f64
    }
}

/// The root of a function that falls from above 0 to below 0, by bisection to the last bits.
fn root(f: impl Fn(f64) -> f64) -> f64 {
    let (mut lo, mut hi) = (-1.0, 1.0);
    // beyond e^200 there is nothing to bracket
    while f(lo) < 0.0 && lo > -100.0 {
        lo *= 2.0;
    }
    while f(hi) > 0.0 && hi < 100.0 {
        hi *= 2.0;
    }
    loop {
        let mid = 0.5 * (lo + hi);
        if mid <= lo || mid >= hi || hi - lo < 1e-16 {
            return mid;
        }
        if f(mid) > 0.0 {
            lo = mid;
        } else {
            hi = mid;
        }
    }
}
