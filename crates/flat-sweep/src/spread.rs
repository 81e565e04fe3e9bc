//! A number over the seeds: mean, spread and interval.

use flat_metrics::t_quantile;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The mean of a sample, its standard deviation and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// Standard deviation of one number, with n - 1; `None` for a single number.
    pub std: Option<f64>,
    /// Student's 95 % interval of the mean; `None` for a single number.
    pub ci95: Option<[f64; 2]>,
    /// Numbers.
    pub n: usize,
}

impl Spread {
    /// The mean and spread of these numbers; `None` for none, or where one is not finite.
    pub fn of(sample: &[f64]) -> Option<Self> {
        if sample.is_empty() || sample.iter().any(|x| !x.is_finite()) {
            return None;
        }
        let n = sample.len();
        let mean = sample.iter().sum::<f64>() / n as f64;
        if n == 1 {
            return Some(Self { mean, std: None, ci95: None, n });
        }
        let freedom = n as f64 - 1.0;
        let std = (sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / freedom).sqrt();
        let half = t_quantile(freedom, 0.95).ok()? * std / (n as f64).sqrt();
        Some(Self { mean, std: Some(std), ci95: Some([mean - half, mean + half]), n })
    }

    /// Numbers by seed less those of another sample, over the seeds that both have; `None` where they share none.
    pub fn paired(first: &BTreeMap<u64, f64>, second: &BTreeMap<u64, f64>) -> Option<Self> {
        Self::of(&first.iter().filter_map(|(seed, x)| Some(x - second.get(seed)?)).collect::<Vec<_>>())
    }

    /// Whether the mean is shown to be above 0 or below it; `Equal` where the interval holds 0, `None` without one.
    pub fn sign(&self) -> Option<Ordering> {
        self.ci95.map(|[low, high]| match () {
            () if low > 0.0 => Ordering::Greater,
            () if high < 0.0 => Ordering::Less,
            () => Ordering::Equal,
        })
    }

    /// Mean ± standard deviation \[interval\], each number written by `number`.
    pub fn text(&self, number: impl Fn(f64) -> String) -> String {
        match (self.std, self.ci95) {
            (Some(std), Some([low, high])) => {
                format!("{} ± {} [{}, {}]", number(self.mean), number(std), number(low), number(high))
            }
            _ => number(self.mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        // numpy.std([1, 2, 4], ddof = 1) and scipy.stats.t.interval(0.95, 2, 7 / 3, std / sqrt(3))
        let found = Spread::of(&[1.0, 2.0, 4.0]).expect("three numbers");
        let (std, [low, high]) = found.std.zip(found.ci95).expect("an interval");
        assert!((std - 1.527_525).abs() < 1e-6 && (low + 1.461_250).abs() < 1e-5 && (high - 6.127_917).abs() < 1e-5);
        assert_eq!(Spread::of(&[3.0]).map(|s| (s.mean, s.ci95)), Some((3.0, None)));
        assert!(Spread::of(&[]).is_none() && Spread::of(&[f64::NAN, 1.0]).is_none());
    }

    #[test]
    fn pairs_are_of_the_seeds_that_both_have() {
        let by_seed = |sample: &[(u64, f64)]| sample.iter().copied().collect::<BTreeMap<_, _>>();
        let second = by_seed(&[(1, 0.5), (2, 0.5), (3, 0.5), (7, 9.0)]);
        let found = |first: &[(u64, f64)]| Spread::paired(&by_seed(first), &second);
        let apart = found(&[(0, 9.0), (1, 1.5), (2, 2.5), (3, 1.5)]).expect("three pairs");
        assert_eq!((apart.n, apart.mean, apart.sign()), (3, 4.0 / 3.0, Some(Ordering::Equal)));
        assert_eq!(found(&[(1, 1.5), (2, 1.6)]).and_then(|s| s.sign()), Some(Ordering::Greater));
        assert_eq!(found(&[(1, -0.5), (2, -0.6)]).and_then(|s| s.sign()), Some(Ordering::Less));
        assert_eq!(found(&[(1, 1.5)]).map(|s| s.sign()), Some(None));
        assert!(found(&[(0, 1.0)]).is_none());
    }
}
