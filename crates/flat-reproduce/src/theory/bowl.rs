//! `c (<y, z> - 1)^2 / 2`: Ahn, Jadbabaie & Sra's example, with one sample.

use super::landscape::{Landscape, dot, norm};
use std::ops::Range;

/// `f(y, z) = c (<y, z> - 1)^2 / 2` over x = (y, z), y and z of D/2 numbers each; n = 1 and f_1 = f.
///
/// With s = y + z and q = y - z, `4 <y, z> = |s|^2 - |q|^2`, and the flow multiplies s by e^-t and q by e^t for the t that ends
/// at `<y, z> = 1`. The Hessian is `c (z, y)(z, y)^T` at the minima and its trace `c |x|^2` everywhere, so trbar along the
/// minima is `c (2 + |q|^2) / D`: flat exactly where y = z.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bowl {
    half: usize,
    scale: f64,
}

impl Bowl {
    /// `(<y, z> - 1)^2 / 2` in `dim` = D dimensions, an even number.
    pub(super) fn new(dim: usize) -> Self {
        Self { half: dim / 2, scale: 1.0 }
    }

    /// `(x1 x2 - 1)^2`.
    pub(super) fn hyperbola() -> Self {
        Self { half: 1, scale: 2.0 }
    }

    /// The minimum `y = a e1, z = e1 / a` whose `|y - z|^2` is this.
    pub(super) fn minimum(&self, q2: f64) -> Vec<f64> {
        let a = (q2.sqrt() + (q2 + 4.0).sqrt()) / 2.0;
        let mut x = vec![0.0; self.dim()];
        (x[0], x[self.half]) = (a, 1.0 / a);
        x
    }

    /// `|q|^2` of the minima where the gradient of trbar along them has this norm:
    /// `(2 c / D) |q| sqrt((|q|^2 + 4) / (|q|^2 + 2))`.
    pub(super) fn q2_at(&self, slope: f64) -> f64 {
        let g2 = (slope * self.dim() as f64 / self.scale).powi(2);
        // 4 Q (Q + 4) = g2 (Q + 2)
        let b = 16.0 - g2;
        (-b + (b * b + 32.0 * g2).sqrt()) / 8.0
    }

    /// How long `dx/dt = -dPhi grad trbar` takes along the minima from one `|q|^2` to another.
    pub(super) fn flow_time(&self, from: f64, to: f64) -> f64 {
        let d = self.dim() as f64;
        // dQ/dt = -(4 c / D) Q (Q + 4) / (Q + 2)
        d / (8.0 * self.scale) * (from * (from + 4.0) / (to * (to + 4.0))).ln()
    }

    /// The largest curvature at this minimum.
    pub(super) fn curvature(&self, q2: f64) -> f64 {
        self.scale * (2.0 + q2)
    }
}

impl Landscape for Bowl {
    fn dim(&self) -> usize {
        2 * self.half
    }

    fn samples(&self) -> usize {
        1
    }

    fn value_and_gradient(&self, x: &[f64], _: Range<usize>, grad: &mut [f64]) -> f64 {
        let (y, z) = x.split_at(self.half);
        let e = dot(y, z) - 1.0;
        let (gy, gz) = grad.split_at_mut(self.half);
        for (g, z) in gy.iter_mut().zip(z) {
            *g += self.scale * e * z;
        }
        for (g, y) in gz.iter_mut().zip(y) {
            *g += self.scale * e * y;
        }
        self.scale * e * e / 2.0
    }

    fn limit(&self, x: &[f64]) -> Vec<f64> {
        let (y, z) = x.split_at(self.half);
        let (mut s2, mut q2) = (0.0, 0.0);
        for (y, z) in y.iter().zip(z) {
            s2 += (y + z) * (y + z);
            q2 += (y - z) * (y - z);
        }
        // |s|^2 / w - |q|^2 w = 4, w = e^2t
        let w = 2.0 * s2 / (4.0 + (16.0 + 4.0 * s2 * q2).sqrt());
        let grow = w.sqrt();
        let mut out = vec![0.0; x.len()];
        let (oy, oz) = out.split_at_mut(self.half);
        for (((oy, oz), y), z) in oy.iter_mut().zip(oz).zip(y).zip(z) {
            let (s, q) = ((y + z) / grow, (y - z) * grow);
            (*oy, *oz) = ((s + q) / 2.0, (s - q) / 2.0);
        }
        out
    }

    fn tangent_gradient(&self, at: &[f64]) -> Vec<f64> {
        let (y, z) = at.split_at(self.half);
        let along = 2.0 * dot(y, z) / norm(at).powi(2);
        let factor = 2.0 * self.scale / self.dim() as f64;
        // grad trbar = 2 c x / D, the normal is (z, y)
        at.iter().zip(z.iter().chain(y)).map(|(x, n)| factor * (x - along * n)).collect()
    }

    fn trbar(&self, x: &[f64]) -> f64 {
        self.scale * dot(x, x) / self.dim() as f64
    }
}
