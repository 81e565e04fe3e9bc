//! Flags of `metrics density`.

use crate::settings::args::HessianArgs;
use clap::Args;
use flat_metrics::DensityConfig;
use std::path::PathBuf;

/// Flags of `metrics density`.
#[derive(Debug, Args)]
pub struct DensityArgs {
    /// The checkpoint, the data and the products.
    #[command(flatten)]
    pub hessian: HessianArgs,
    /// How to estimate.
    #[command(flatten)]
    pub quadrature: QuadratureArgs,
    /// Draw the density with its band into this SVG file.
    #[arg(long, visible_alias = "out", value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// Settings of the stochastic Lanczos quadrature.
#[derive(Debug, Clone, Args)]
pub struct QuadratureArgs {
    /// Random start vectors; the band is the spread among them.
    #[arg(long, value_name = "K", default_value_t = 10)]
    pub probes: u64,
    /// Lanczos steps from each: Hessian-vector products are at most --probes times --steps.
    #[arg(long, value_name = "M", default_value_t = 80)]
    pub steps: usize,
    /// Standard deviation of the smoothing, as a fraction of the spectrum's range.
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    pub width: f64,
    /// Points of the curve.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub points: usize,
}

impl QuadratureArgs {
    /// As the library takes them.
    pub fn config(&self) -> DensityConfig {
        DensityConfig { probes: self.probes, steps: self.steps, width: self.width, points: self.points }
    }
}
