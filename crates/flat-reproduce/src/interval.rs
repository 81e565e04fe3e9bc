//! Means over seeds with Student's intervals.

use flat_sweep::Spread;
use serde::{Deserialize, Serialize};

/// The mean of a sample with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Mean {
    /// The mean.
    pub value: f64,
    /// Student's interval; `None` for fewer than two numbers.
    pub ci95: Option<[f64; 2]>,
}

impl Mean {
    /// Of these numbers; `None` for none, or where one is not finite.
    pub fn of(sample: &[f64]) -> Option<Self> {
        Spread::of(sample).map(Self::from)
    }

    /// The image under a rising function, such as `exp` of a mean of logarithms.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { value: f(self.value), ci95: self.ci95.map(|ends| ends.map(&f)) }
    }

    /// As text, each number by `number`.
    pub fn text(&self, number: impl Fn(f64) -> String) -> String {
        match self.ci95 {
            Some([lo, hi]) => format!("{} [{}, {}]", number(self.value), number(lo), number(hi)),
            None => number(self.value),
        }
    }
}

impl From<Spread> for Mean {
    fn from(spread: Spread) -> Self {
        Self { value: spread.mean, ci95: spread.ci95 }
    }
}

/// Pearson's correlation; `None` for fewer than three pairs or a constant.
pub(super) fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let mean = |f: fn(&(f64, f64)) -> f64| pairs.iter().map(f).sum::<f64>() / n;
    let (mx, my) = (mean(|p| p.0), mean(|p| p.1));
    let sum = |f: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|p| f(p.0 - mx, p.1 - my)).sum::<f64>();
    let (xx, yy, xy) = (sum(&|x, _| x * x), sum(&|_, y| y * y), sum(&|x, y| x * y));
    let r = xy / (xx * yy).sqrt();
    (pairs.len() > 2 && r.is_finite()).then_some(r)
}

/// A correlation over `n` pairs with its 95 % interval by Fisher's transformation (R. A. Fisher, Metron 1, 1921), as if the pairs
/// were independent; without one for fewer than four.
pub(super) fn correlation_text(r: f64, n: usize) -> String {
    if n < 4 {
        return format!("{r:.2}");
    }
    let (z, half) = (r.atanh(), 1.959_963_984_540_054 / (n as f64 - 3.0).sqrt());
    format!("{r:.2} [{:.2}, {:.2}]", (z - half).tanh(), (z + half).tanh())
}

/// A number with three digits.
pub(super) fn short(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 {
        "0".into()
    } else if (1e-3..1e5).contains(&size) {
        let digits = (2 - size.log10().floor() as i32).clamp(0, 5) as usize;
        format!("{x:.digits$}")
    } else {
        format!("{x:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_students() {
        // scipy.stats.t.interval(0.95, 2, loc = 2, scale = 1 / sqrt(3))
        let [lo, hi] = Mean::of(&[1.0, 2.0, 3.0]).and_then(|m| m.ci95).expect("three numbers");
        assert!((lo + 0.484_138).abs() < 1e-4 && (hi - 4.484_138).abs() < 1e-4, "{lo} {hi}");
        assert_eq!(Mean::of(&[1.0]).map(|m| (m.value, m.ci95)), Some((1.0, None)));
        assert!(Mean::of(&[]).is_none() && Mean::of(&[1.0, f64::NAN]).is_none());
    }

    #[test]
    fn a_correlation_s_interval_is_fisher_s() {
        // scipy.stats: pearsonr(...).confidence_interval() of r = 0.5, n = 28 is atanh(0.5) +- 1.96 / 5 transformed back
        assert_eq!(correlation_text(0.5, 28), "0.50 [0.16, 0.74]");
        assert_eq!(correlation_text(0.5, 3), "0.50");
    }

    #[test]
    fn correlation_is_pearsons() {
        assert_eq!(correlation(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), Some(1.0));
        // numpy.corrcoef([0, 1, 2, 3], [1, 0, 3, 1])[0, 1]
        let r = correlation(&[(0.0, 1.0), (1.0, 0.0), (2.0, 3.0), (3.0, 1.0)]).expect("four pairs");
        assert!((r - 0.307_793_5).abs() < 1e-6, "{r}");
        assert!(correlation(&[(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)]).is_none());
    }
}
