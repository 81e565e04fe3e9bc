//! `e^(s q) |w|^2 / 2`: a valley that widens at a constant rate, with D - 1 samples.

use super::landscape::Landscape;
use std::ops::Range;

/// `f(q, w) = (D / n) e^(s q) |w|^2 / 2` over x = (q, w), w of n = D - 1 numbers; `f_i = D e^(s q) w_i^2 / 2`.
///
/// The minima are w = 0; there the Hessian of f is (D / n) e^(sq) on w, that of f_i has rank one, and `trbar = e^(sq)`. Under
/// the flow dq/dt = -(D / n) s e^(sq) |w|^2 / 2 and d|w|^2/dt = -2 (D / n) e^(sq) |w|^2, so `q - s |w|^2 / 4` stays and
/// Phi(q, w) = (q - s |w|^2 / 4, 0).
///
/// With a slope s proportional to sqrt(eps), trbar falls so slowly that the whole way is hardly steeper than sqrt(eps):
/// the case that the theorems' proofs account for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Valley {
    dim: usize,
    slope: f64,
}

impl Valley {
    /// The valley in `dim` = D dimensions whose trbar has this slope at the origin.
    pub(super) fn new(dim: usize, slope: f64) -> Self {
        Self { dim, slope }
    }

    /// How long `dx/dt = -dPhi grad trbar` takes from the origin to where the slope of trbar is this.
    pub(super) fn flow_time(&self, slope: f64) -> f64 {
        // d e^(-sq) / dt = s^2
        (self.slope / slope - 1.0) / (self.slope * self.slope)
    }

    /// The largest curvature at the origin.
    pub(super) fn curvature(&self) -> f64 {
        self.dim as f64 / (self.dim - 1) as f64
    }
}

impl Landscape for Valley {
    fn dim(&self) -> usize {
        self.dim
    }

    fn samples(&self) -> usize {
        self.dim - 1
    }

    fn value_and_gradient(&self, x: &[f64], rows: Range<usize>, grad: &mut [f64]) -> f64 {
        // the mean over the rows of D e^(sq) w_i^2 / 2
        let weight = self.dim as f64 / rows.len() as f64 * (self.slope * x[0]).exp();
        let mut square = 0.0;
        for i in rows {
            square += x[1 + i] * x[1 + i];
            grad[1 + i] += weight * x[1 + i];
        }
        let value = weight * square / 2.0;
        grad[0] += self.slope * value;
        value
    }

    fn limit(&self, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; x.len()];
        out[0] = x[0] - self.slope * x[1..].iter().map(|w| w * w).sum::<f64>() / 4.0;
        out
    }

    fn tangent_gradient(&self, at: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; at.len()];
        out[0] = self.slope * self.trbar(at);
        out
    }

    /// At a minimum; beside it the curvature of q, of order |w|^2, is left out.
    fn trbar(&self, x: &[f64]) -> f64 {
        (self.slope * x[0]).exp()
    }
}
