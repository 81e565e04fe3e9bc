//! A smoothed density on a grid of points.

use super::config::{DensityConfig, MARGIN};
use crate::Result;
use crate::linalg::Quadrature;
use crate::statistics::{Moments, t_quantile};

/// The smoothed quadratures on a grid.
pub(super) struct Curve {
    pub(super) grid: Vec<f64>,
    pub(super) density: Vec<f64>,
    pub(super) band: Vec<[f64; 2]>,
    pub(super) cumulative: Vec<f64>,
    pub(super) sigma: f64,
}

impl Curve {
    pub(super) fn smooth(quadratures: &[Quadrature], [lo, hi]: [f64; 2], config: &DensityConfig) -> Result<Self> {
        // a multiple of the identity has no range of its own, and zero no size
        let scale = [hi - lo, hi.abs()].into_iter().find(|s| *s > 0.0).unwrap_or(1.0);
        let sigma = config.width * scale;
        let (first, last, n) = (lo - MARGIN * sigma, hi + MARGIN * sigma, config.points);
        let grid: Vec<f64> = (0..n).map(|i| first + (last - first) * i as f64 / (n - 1) as f64).collect();
        let peak = 1.0 / (sigma * (2.0 * std::f64::consts::PI).sqrt());
        let (mut density, mut band, mut cumulative) = (Vec::with_capacity(n), Vec::new(), Vec::with_capacity(n));
        let t = if quadratures.len() > 1 { t_quantile((quadratures.len() - 1) as f64, 0.95)? } else { 0.0 };
        for &x in &grid {
            let (mut here, mut below) = (Moments::default(), Moments::default());
            for q in quadratures {
                here.push(q.integrate(|node| peak * (-0.5 * ((x - node) / sigma).powi(2)).exp()));
                below.push(q.integrate(|node| normal_cdf((x - node) / sigma)));
            }
            let e = here.estimate(0.95, 0)?;
            density.push(e.value);
            if let Some(error) = e.std_error {
                band.push([(e.value - t * error).max(0.0), e.value + t * error]);
            }
            cumulative.push(below.estimate(0.95, 0)?.value);
        }
        Ok(Self { grid, density, band, cumulative, sigma })
    }
}

/// The distribution function of the standard normal.
fn normal_cdf(z: f64) -> f64 {
    0.5 * statrs::function::erf::erfc(-z / std::f64::consts::SQRT_2)
}
