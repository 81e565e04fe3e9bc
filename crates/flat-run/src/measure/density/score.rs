//! The curvature score along a run.

use crate::measure::along::Moment;
use crate::measure::curvature::Curvature;
use crate::signal;
use crate::store::line::Point;
use anyhow::Result;
use flat_core::Streams;
use flat_metrics::{DensityConfig, Error, Estimate, Progress, SpectralDensity, Stop};
use serde::Serialize;

/// Start vectors and Lanczos steps: 150 products.
const PROBES: u64 = 5;
const STEPS: usize = 30;

/// `tr H / sqrt(r)` of TRACE (Aljaafari, Carvalho & Freitas 2025, arXiv 2505.17998) with r the exponential of the entropy of
/// |eigenvalues|, and r.
#[derive(Debug, Clone, Serialize)]
pub struct Score {
    /// The score.
    #[serde(flatten)]
    score: Estimate,
    /// r.
    rank: Estimate,
    /// The score as the authors' code computes it, `tr H / r`.
    code: Estimate,
}

/// Measures; `None` where a signal asked to stop. Cost: 150 products at most.
///
/// # Errors
/// A product that is not finite; candle's.
pub(super) fn along(now: &Moment<'_>) -> Result<Option<Point>> {
    let density = SpectralDensity::new(DensityConfig { probes: PROBES, steps: STEPS, ..DensityConfig::default() })?;
    let mut bar = now.ui.bar("curvature score", 0, PROBES * STEPS as u64, "products at most");
    let report = Curvature::of_training().run(now.model, now.loss, now.data, |operator| {
        density.run(operator, &Streams::new(now.config.seed), &mut |p: &Progress| {
            bar.update(p.done, String::new);
            signal::go_on()
        })
    });
    match report {
        Err(Error::Interrupted) => Ok(None),
        Ok(report) if report.stop == Stop::Interrupted => Ok(None),
        report => {
            let rank = report?.result.rank;
            let (score, code, rank) = (rank.curvature_score, rank.curvature_score_code, rank.entropy);
            Ok(Some(Point::new(&Score { score, rank, code })?))
        }
    }
}
