//! Means and exponents with their intervals.

use anyhow::{Result, bail};
use flat_metrics::t_quantile;
use serde::{Deserialize, Serialize};

/// A number with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Interval {
    /// The estimate.
    pub(super) value: f64,
    /// Ends of the interval (Student's t).
    pub(super) ci95: [f64; 2],
}

impl Interval {
    fn new(value: f64, half: f64) -> Self {
        Self { value, ci95: [value - half, value + half] }
    }

    /// Whether the interval holds a number.
    pub(super) fn holds(&self, x: f64) -> bool {
        self.ci95[0] <= x && x <= self.ci95[1]
    }

    /// The mean of independent samples, at least two.
    pub(super) fn mean(samples: &[f64]) -> Result<Self> {
        let n = samples.len() as f64;
        if samples.len() < 2 {
            bail!("an interval needs two samples at least");
        }
        let mean = samples.iter().sum::<f64>() / n;
        let variance = samples.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
        Ok(Self::new(mean, t_quantile(n - 1.0, 0.95)? * (variance / n).sqrt()))
    }

    /// The geometric mean of positive samples.
    pub(super) fn geometric_mean(samples: &[f64]) -> Result<Self> {
        let logs: Vec<f64> = samples.iter().map(|x| x.ln()).collect();
        let Self { value, ci95: [lo, hi] } = Self::mean(&logs)?;
        Ok(Self { value: value.exp(), ci95: [lo.exp(), hi.exp()] })
    }

    /// As the page prints it.
    pub(super) fn text(&self, digits: usize) -> String {
        format!("{:.digits$} [{:.digits$}, {:.digits$}]", self.value, self.ci95[0], self.ci95[1])
    }
}

/// A power law `y = factor x^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Power {
    /// The exponent, its interval from the scatter about the line (what is not a power law widens it).
    pub(super) exponent: Interval,
    /// The factor.
    pub(super) factor: f64,
    /// Points fitted.
    pub(super) points: usize,
}

impl Power {
    /// Least squares in the logarithms of (x, y), all positive, with at least two different x and three points.
    pub(super) fn fit(points: &[(f64, f64)]) -> Result<Self> {
        let n = points.len() as f64;
        let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        let mean = |f: fn(&(f64, f64)) -> f64| logs.iter().map(f).sum::<f64>() / n;
        let (mx, my) = (mean(|p| p.0), mean(|p| p.1));
        let sxx: f64 = logs.iter().map(|(x, _)| (x - mx) * (x - mx)).sum();
        if points.len() < 3 || !(sxx.is_finite() && sxx > 0.0) {
            bail!("an exponent needs three points at two places, all positive");
        }
        let slope = logs.iter().map(|(x, y)| (x - mx) * (y - my)).sum::<f64>() / sxx;
        let rest: f64 = logs.iter().map(|(x, y)| (y - my - slope * (x - mx)).powi(2)).sum();
        let error = (rest / (n - 2.0) / sxx).sqrt();
        Ok(Self {
            exponent: Interval::new(slope, t_quantile(n - 2.0, 0.95)? * error),
            factor: (my - slope * mx).exp(),
            points: points.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_core::{Purpose, Streams};

    #[test]
    fn a_pure_power_is_found_exactly() -> Result<()> {
        let points: Vec<(f64, f64)> = [0.1, 0.2, 0.4, 0.8f64].iter().map(|x| (*x, 3.0 * x.powf(-2.5))).collect();
        let fit = Power::fit(&points)?;
        assert!((fit.exponent.value + 2.5).abs() < 1e-12 && (fit.factor - 3.0).abs() < 1e-12, "{fit:?}");
        assert!(fit.exponent.ci95[1] - fit.exponent.ci95[0] < 1e-6);
        assert!(Power::fit(&points[..2]).is_err() && Power::fit(&[(1.0, 2.0); 4]).is_err());
        Ok(())
    }

    #[test]
    fn intervals_cover_in_95_of_100_cases() -> Result<()> {
        let trials = 4000;
        let (mut powers, mut means) = (0, 0);
        for trial in 0..trials {
            let noise = Streams::new(1).at(Purpose::Test, trial).normals(10);
            let xs = [0.1, 0.2, 0.4, 0.8, 1.6f64];
            let points: Vec<(f64, f64)> =
                noise.iter().enumerate().map(|(k, e)| (xs[k % 5], xs[k % 5].powf(-3.0) * (0.3 * e).exp())).collect();
            powers += u64::from(Power::fit(&points)?.exponent.holds(-3.0));
            means += u64::from(Interval::mean(&noise)?.holds(0.0));
        }
        // five standard errors of a share of 0.95
        let slack = 5.0 * (0.95f64 * 0.05 / trials as f64).sqrt();
        for share in [powers, means].map(|count| count as f64 / trials as f64) {
            assert!((share - 0.95).abs() < slack, "{share}");
        }
        Ok(())
    }
}
