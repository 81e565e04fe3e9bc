//! Settings of the spectral density: start vectors, Lanczos steps, smoothing.

use crate::{Error, Result};
use flat_core::setting::Range;
use serde::Serialize;

flat_core::settings! {
    /// Settings of [`crate::SpectralDensity`].
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct DensityConfig {
        /// Random start vectors; the band is the spread among them.
        probes as "probes": u64 = 10, range: Range::AtLeast(1), metavar: "K";
        /// Lanczos steps from each: matrix-vector products are at most --probes times --steps.
        steps as "steps": usize = 80, range: Range::AtLeast(2), metavar: "M";
        /// Standard deviation of the smoothing Gaussian, as a fraction of the distance between the outermost Ritz values.
        width as "width": f64 = 0.01, range: Range::PositiveUpTo(1.0);
        /// Points of the curve.
        points as "points": usize = 1024;
    }
}

impl DensityConfig {
    /// The same settings, once their ranges are checked.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the field.
    pub fn validated(self) -> Result<Self> {
        let bad = |field, value: String, remedy| Err(Error::BadConfig { field, value, remedy });
        if self.probes == 0 {
            return bad("probes", "0".into(), "draw at least one start vector, two for a band");
        }
        if self.steps < 2 {
            let remedy = "take at least two Lanczos steps, from which tr A^2 and tr A^3 are exact; 80 for a network";
            return bad("steps", self.steps.to_string(), remedy);
        }
        if !(self.width > 0.0 && self.width <= 1.0) {
            return bad(
                "width",
                self.width.to_string(),
                "give a fraction of the range above 0 and up to 1, such as 0.01",
            );
        }
        // the grid spans the range and MARGIN widths on each side; more than one point a width resolves a Gaussian
        let least = 2.0 * (1.0 / self.width + 2.0 * MARGIN);
        if (self.points as f64) < least || self.points > MOST_POINTS {
            return bad(
                "points",
                self.points.to_string(),
                "take at least 2 / width + 20 points, and at most a million",
            );
        }
        Ok(self)
    }
}

/// Widths of the Gaussian that the grid reaches beyond the outermost Ritz values: 6e-7 of a peak there is outside.
pub(super) const MARGIN: f64 = 5.0;
const MOST_POINTS: usize = 1_000_000;
