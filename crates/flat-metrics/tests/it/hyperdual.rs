//! Exact second derivatives in scalar arithmetic, without candle: hyper-dual numbers (Fike and Alonso 2011).

use std::ops::{Add, Mul, Sub};

/// `f + a e1 + b e2 + ab e1 e2` with `e1^2 = e2^2 = 0`.
#[derive(Clone, Copy)]
pub struct Hyper {
    pub f: f64,
    pub a: f64,
    pub b: f64,
    pub ab: f64,
}

impl Hyper {
    pub fn constant(f: f64) -> Self {
        Self { f, a: 0.0, b: 0.0, ab: 0.0 }
    }

    /// `g(self)`, given g, g' and g'' at `self.f`.
    fn chain(self, g: f64, g1: f64, g2: f64) -> Self {
        Self { f: g, a: g1 * self.a, b: g1 * self.b, ab: g1 * self.ab + g2 * self.a * self.b }
    }

    pub fn tanh(self) -> Self {
        let t = self.f.tanh();
        self.chain(t, 1.0 - t * t, -2.0 * t * (1.0 - t * t))
    }

    pub fn exp(self) -> Self {
        let e = self.f.exp();
        self.chain(e, e, e)
    }

    pub fn ln(self) -> Self {
        self.chain(self.f.ln(), 1.0 / self.f, -1.0 / (self.f * self.f))
    }
}

impl Add for Hyper {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self { f: self.f + o.f, a: self.a + o.a, b: self.b + o.b, ab: self.ab + o.ab }
    }
}

impl Sub for Hyper {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        Self { f: self.f - o.f, a: self.a - o.a, b: self.b - o.b, ab: self.ab - o.ab }
    }
}

impl Mul for Hyper {
    type Output = Self;
    fn mul(self, o: Self) -> Self {
        Self {
            f: self.f * o.f,
            a: self.f * o.a + self.a * o.f,
            b: self.f * o.b + self.b * o.f,
            ab: self.f * o.ab + self.a * o.b + self.b * o.a + self.ab * o.f,
        }
    }
}

/// The Hessian of `f` at `theta`, row by row.
pub fn hessian(theta: &[f64], f: impl Fn(&[Hyper]) -> Hyper) -> Vec<f64> {
    let d = theta.len();
    let mut out = vec![0.0; d * d];
    for i in 0..d {
        for j in 0..=i {
            let mut x: Vec<Hyper> = theta.iter().map(|&t| Hyper::constant(t)).collect();
            x[i].a = 1.0;
            x[j].b = 1.0;
            let second = f(&x).ab;
            (out[i * d + j], out[j * d + i]) = (second, second);
        }
    }
    out
}
