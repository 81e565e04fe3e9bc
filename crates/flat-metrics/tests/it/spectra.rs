//! Explicit matrices with known spectra.

use flat_core::{Purpose, Streams};
use flat_metrics::{Dense, Result};

/// `sum_k lambda_k q_k q_k^T` with random orthonormal q_k (Gram-Schmidt).
pub fn with_spectrum(lambda: &[f64], seed: u64) -> Result<Dense> {
    let d = lambda.len();
    let mut q: Vec<Vec<f64>> = Vec::new();
    for k in 0..d {
        let mut x = Streams::new(seed).at(Purpose::Test, k as u64).normals(d);
        for _ in 0..2 {
            for p in &q {
                let c: f64 = x.iter().zip(p).map(|(a, b)| a * b).sum();
                x.iter_mut().zip(p).for_each(|(a, b)| *a -= c * b);
            }
        }
        let norm = x.iter().map(|a| a * a).sum::<f64>().sqrt();
        q.push(x.into_iter().map(|a| a / norm).collect());
    }
    Dense::from_fn(d, |i, j| (0..d).map(|k| lambda[k] * q[k][i] * q[k][j]).sum())
}

/// The shape of a trained classifier's Hessian: a few outliers (classes less one), a bulk with a power law, and a tail
/// below zero.
pub fn classifier(d: usize) -> Vec<f64> {
    (0..d)
        .map(|k| match k {
            0..9 => 20.0 / (1.0 + k as f64),
            _ if k % 6 == 5 => -0.1 / (1.0 + k as f64 / 10.0),
            _ => 4.0 / (1.0 + k as f64).powf(1.1),
        })
        .collect()
}
