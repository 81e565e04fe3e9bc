//! Flags of `metrics density`.

use crate::settings::args::HessianArgs;
use flat_core::setting::Range;
use flat_metrics::DensityConfig;
use std::path::PathBuf;

flat_core::settings! {
    /// Flags of `metrics density`.
    #[derive(Debug, Clone)]
    pub struct DensityArgs {
        /// Random start vectors; the band is the spread among them.
        probes as "probes": u64 = DensityConfig::default().probes, range: Range::AtLeast(1), metavar: "K";
        /// Lanczos steps from each: Hessian-vector products are at most --probes times --steps.
        steps as "steps": usize = DensityConfig::default().steps, range: Range::AtLeast(2), metavar: "M";
        /// Standard deviation of the smoothing, as a fraction of the spectrum's range.
        width as "width": f64 = DensityConfig::default().width, range: Range::PositiveUpTo(1.0);
        /// Points of the curve.
        points as "points": usize = DensityConfig::default().points;
        /// Draw the density with its band into this SVG file.
        plot as "plot": Option<PathBuf> = None, metavar: "FILE.svg", aliases: &["out"];
    }
    with {
        /// The checkpoint, the data and the products.
        hessian: HessianArgs;
    }
}

impl DensityArgs {
    /// As the library takes them.
    pub fn config(&self) -> DensityConfig {
        DensityConfig { probes: self.probes, steps: self.steps, width: self.width, points: self.points }
    }
}
