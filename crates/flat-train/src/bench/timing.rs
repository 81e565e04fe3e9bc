//! The time of a step with its interval, from the bursts of a cell.

use flat_metrics::quantile;
use serde::{Deserialize, Serialize};

/// Milliseconds a step over several bursts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Median.
    pub median_ms: f64,
    /// First and third quartile.
    pub quartiles_ms: [f64; 2],
    /// Confidence interval of the median, from order statistics: free of any assumption but that bursts are independent.
    /// All of the bursts where there are fewer than six.
    pub interval_ms: [f64; 2],
    /// Probability that the interval covers the median, at least 0.95 from six bursts on.
    pub coverage: f64,
    /// Bursts.
    pub rounds: usize,
    /// Steps a burst.
    pub steps: u64,
}

impl Timing {
    /// From each burst's milliseconds a step; `None` without a burst.
    pub fn of(mut ms: Vec<f64>, steps: u64) -> Option<Self> {
        ms.sort_by(f64::total_cmp);
        let (interval_ms, coverage) = around_median(&ms)?;
        let quartiles_ms = [quantile(&ms, 0.25), quantile(&ms, 0.75)];
        Some(Self { median_ms: quantile(&ms, 0.5), quartiles_ms, interval_ms, coverage, rounds: ms.len(), steps })
    }
}

/// Confidence interval of the median of ordered numbers, from order statistics, and its coverage. From six on that is at
/// least 0.95; fewer all lie within. `None` where there are none.
pub fn around_median(ordered: &[f64]) -> Option<([f64; 2], f64)> {
    let n = ordered.len();
    let (first, last) = (*ordered.first()?, *ordered.last()?);
    let (mut left_out, mut coverage) = (0, coverage(n, 0));
    while 2 * (left_out + 1) < n && self::coverage(n, left_out + 1) >= 0.95 {
        left_out += 1;
        coverage = self::coverage(n, left_out);
    }
    Some((if left_out == 0 { [first, last] } else { [ordered[left_out], ordered[n - 1 - left_out]] }, coverage))
}

/// Probability that the median lies within the sample of `n` without its `left_out` lowest and highest.
fn coverage(n: usize, left_out: usize) -> f64 {
    let (mut term, mut below) = (0.5f64.powi(n as i32), 0.0);
    for k in 0..=left_out {
        below += term;
        term *= (n - k) as f64 / (k + 1) as f64;
    }
    1.0 - 2.0 * below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_the_median_are_those_of_the_binomial_tables() {
        let sample = |n: usize| (0..n).map(|i| i as f64).rev().collect::<Vec<_>>();
        for (n, low, coverage) in [(6, 0.0, 0.96875), (9, 1.0, 0.9609375), (20, 5.0, 0.9586), (3, 0.0, 0.75)] {
            let t = Timing::of(sample(n), 1).expect("a sample");
            assert_eq!(t.interval_ms, [low, n as f64 - 1.0 - low], "{n}");
            assert!((t.coverage - coverage).abs() < 1e-4, "{n}: {}", t.coverage);
            assert_eq!(t.median_ms, (n as f64 - 1.0) / 2.0);
        }
        assert_eq!(Timing::of(sample(5), 1).map(|t| t.quartiles_ms), Some([1.0, 3.0]));
        assert_eq!(Timing::of(Vec::new(), 1), None);
    }
}
