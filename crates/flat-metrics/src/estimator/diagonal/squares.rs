//! The mean square of a vector that is known by noisy samples.

use crate::Result;
use crate::statistics::{Estimate, jackknife};
use std::ops::Range;

/// Groups of samples at most: an interval of 7 degrees of freedom, in 8 vectors.
const GROUPS: u64 = 8;

/// Sums of samples in groups. The mean of `x_i^2` over the elements i is estimated by products of two groups' means, whose
/// noise is independent; the square of one mean would hold its variance besides.
pub(super) struct Squares {
    sums: Vec<Vec<f64>>,
    counts: Vec<u64>,
}

impl Squares {
    /// For at most this many samples of `dim` elements.
    pub(super) fn new(samples: u64, dim: usize) -> Self {
        let groups = GROUPS.min(samples) as usize;
        Self { sums: vec![vec![0.0; dim]; groups], counts: vec![0; groups] }
    }

    /// Takes in sample k.
    pub(super) fn push(&mut self, k: u64, sample: &[f64]) {
        let group = (k % self.sums.len() as u64) as usize;
        self.sums[group].iter_mut().zip(sample).for_each(|(sum, x)| *sum += x);
        self.counts[group] += 1;
    }

    /// Root mean square over a range of the elements. The interval is that of the mean square by the jackknife over the
    /// groups, which is not too small on average (Efron & Stein 1981); `None` with fewer than three of them.
    pub(super) fn rms(&self, range: Range<usize>, matvecs: u64) -> Result<Estimate> {
        let size = range.len() as f64;
        let means: Vec<(&[f64], f64)> = self
            .sums
            .iter()
            .zip(&self.counts)
            .filter(|(_, n)| **n > 0)
            .map(|(sum, n)| (&sum[range.clone()], *n as f64))
            .collect();
        let n = means.len();
        let product = |(a, m): &(&[f64], f64), (b, n): &(&[f64], f64)| {
            a.iter().zip(*b).map(|(a, b)| a * b).sum::<f64>() / (m * n * size)
        };
        let mut with = vec![0.0; n];
        for i in 0..n {
            for j in 0..i {
                let product = product(&means[i], &means[j]);
                with[i] += product;
                with[j] += product;
            }
        }
        // every pair is counted twice
        let all = with.iter().sum::<f64>() / 2.0;
        let pairs = |n: usize| (n * n.saturating_sub(1) / 2) as f64;
        let (probes, plain) = (self.counts.iter().sum(), || product(&means[0], &means[0]));
        let square = if n > 1 { all / pairs(n) } else { plain() };
        let value = square.max(0.0).sqrt();
        let mut out = Estimate { value, std_error: None, ci95: None, t_level: 0.95, probes, matvecs };
        if n >= 3 {
            let without: Vec<f64> = with.iter().map(|with| (all - with) / pairs(n - 1)).collect();
            let (error, ends) = jackknife(square, &without)?;
            out.std_error = (value > 0.0).then(|| error / (2.0 * value));
            out.ci95 = Some(ends.map(|x| x.max(0.0).sqrt()));
        }
        Ok(out)
    }
}
