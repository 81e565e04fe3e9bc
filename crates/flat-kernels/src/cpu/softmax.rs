//! Softmax and cross entropy of rows of `k` logits, computed in f64.

use crate::Float;

/// Probabilities of every row.
pub fn softmax<T: Float>(z: &[T], k: usize) -> Vec<T> {
    let (mut out, mut p) = (Vec::with_capacity(z.len()), vec![0.0; k]);
    for z in z.chunks_exact(k.max(1)) {
        probabilities(z, &mut p);
        out.extend(p.iter().map(|p| T::from_f64(*p)));
    }
    out
}

fn probabilities<T: Float>(z: &[T], p: &mut [f64]) {
    let max = z.iter().fold(f64::NEG_INFINITY, |m, z| m.max(z.to_f64()));
    let mut total = 0.0;
    for (p, z) in p.iter_mut().zip(z) {
        *p = (z.to_f64() - max).exp();
        total += *p;
    }
    p.iter_mut().for_each(|p| *p /= total);
}

/// The cross entropy of every row with targets `t` that sum to one.
pub fn cross_entropy<T: Float>(z: &[T], t: &[T], k: usize) -> Vec<T> {
    z.chunks_exact(k.max(1)).zip(t.chunks_exact(k.max(1))).map(|(z, t)| T::from_f64(row(z, t))).collect()
}

/// `log sum exp z - <t, z>`: the largest logit is taken out of the sum, so that small losses keep their digits.
fn row<T: Float>(z: &[T], t: &[T]) -> f64 {
    let (mut at, mut max) = (0, f64::NEG_INFINITY);
    for (i, z) in z.iter().enumerate() {
        if z.to_f64() > max {
            (at, max) = (i, z.to_f64());
        }
    }
    let mut rest = 0.0;
    let mut linear = 0.0;
    for (i, (z, t)) in z.iter().zip(t).enumerate() {
        let z = z.to_f64() - max;
        linear += t.to_f64() * z;
        if i != at {
            rest += z.exp();
        }
    }
    rest.ln_1p() - linear
}
