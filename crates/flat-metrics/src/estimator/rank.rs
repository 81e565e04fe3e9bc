//! Effective ranks: how many eigenvalues carry most of an operator.

use crate::Result;
use crate::linalg::Quadrature;
use crate::statistics::{Estimate, of_means};
use serde::Serialize;

/// Effective ranks of a symmetric operator A and the curvature scores made of one, from the quadratures of
/// [`crate::SpectralDensity`].
///
/// With probes of 2 steps or more the first two moments are free of any error but the probes', so `participation` is too.
/// The entropy integrates |x| and |x| ln |x|, which are no polynomials: it and the scores have the error of m steps besides,
/// which no interval shows.
///
/// Intervals are those of the jackknife over the probes. Over 2,000 seeds, 3 to 20 probes and 11 spectra, that of
/// `participation` covered in 92 to 100 % of the runs, those of `entropy` and of the scores in 92 to 99 % on most spectra and
/// in 82 to 93 % where one eigenvalue carries half of the trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EffectiveRank {
    /// `exp(-sum_j p_j ln p_j)` with `p_j = |lambda_j| / sum_i |lambda_i|` (Roy & Vetterli 2007, "The Effective Rank"), in
    /// [1, d]: r for a projector of rank r. The effective rank of TRACE (Aljaafari, Carvalho & Freitas 2025, arXiv
    /// 2505.17998).
    pub entropy: Estimate,
    /// `tr(A)^2 / (tr A^2)`, the participation ratio, in [0, d]: r for a projector of rank r. Meant for A without much
    /// negative curvature, which cancels in the trace. The value is that of the probes' means, which is too large by the
    /// order of its error where the trace is lost in the noise.
    pub participation: Estimate,
    /// `tr(A) / sqrt(r)` with `entropy` for r: the curvature complexity as TRACE's paper defines it.
    pub curvature_score: Estimate,
    /// `tr(A) / r` with the same r: what the authors' code computes (`trace/hessian/metrics.py`), against their paper.
    pub curvature_score_code: Estimate,
}

impl EffectiveRank {
    pub(crate) fn of(quadratures: &[Quadrature], dim: usize, matvecs: u64) -> Result<Self> {
        let d = dim as f64;
        // means over the spectrum of x, x^2, |x| and |x| ln |x|
        let samples: Vec<[f64; 4]> = quadratures
            .iter()
            .map(|q| {
                let size = |x: f64| if x == 0.0 { 0.0 } else { x.abs() * x.abs().ln() };
                [q.integrate(|x| x), q.integrate(|x| x * x), q.integrate(f64::abs), q.integrate(size)]
            })
            .collect();
        // tr(A) over the root of d tr(A^2), in [-1, 1] by Cauchy and Schwarz
        let cosine = |[x, xx, ..]: [f64; 4]| if xx == 0.0 { 0.0 } else { x / xx.sqrt() };
        // -sum p ln p = ln S - (sum |x| ln |x|) / S with S = d mean|x|
        let entropy = |[_, _, a, l]: [f64; 4]| if a == 0.0 { 0.0 } else { ((d * a).ln() - l / a).exp() };
        let score = |s: [f64; 4], power: f64| if s[2] == 0.0 { 0.0 } else { d * s[0] / entropy(s).powf(power) };
        let mut rank = of_means(&samples, matvecs, entropy)?;
        if rank.value > 0.0 {
            // the exact rank is within, a sample's need not be
            rank.value = rank.value.clamp(1.0, d);
            rank.ci95 = rank.ci95.map(|ends| ends.map(|x| x.clamp(1.0, d)));
        }
        Ok(Self {
            entropy: rank,
            participation: squared(&of_means(&samples, matvecs, cosine)?, d),
            curvature_score: of_means(&samples, matvecs, |s| score(s, 0.5))?,
            curvature_score_code: of_means(&samples, matvecs, |s| score(s, 1.0))?,
        })
    }
}

/// `d s^2` for an estimate of s in [-1, 1].
fn squared(s: &Estimate, d: f64) -> Estimate {
    let square = |[lo, hi]: [f64; 2]| {
        let (a, b) = (lo.max(-1.0).powi(2), hi.min(1.0).powi(2));
        [if lo <= 0.0 && 0.0 <= hi { 0.0 } else { d * a.min(b) }, d * a.max(b)]
    };
    Estimate {
        value: d * s.value.powi(2).min(1.0),
        std_error: s.std_error.map(|e| 2.0 * d * s.value.abs() * e),
        ci95: s.ci95.map(square),
        ..s.clone()
    }
}
