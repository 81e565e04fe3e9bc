//! How many eigenvalues carry an operator.

use crate::estimate::jackknife;
use crate::{Estimate, Quadrature, Result};
use serde::Serialize;

/// Effective ranks of a symmetric operator A and the curvature score made of one, from the quadratures of
/// [`crate::SpectralDensity`]; values and intervals by the jackknife over its probes, whose bias is of order 1/n^2.
///
/// With p probes of m steps the first two moments are free of any error but the probes', so `participation` and
/// `curvature_score` are too. `entropy` integrates |x| and |x| ln |x|, which are no polynomials: it has the error of m
/// steps besides.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EffectiveRank {
    /// `tr(A)^2 / tr(A^2)`, the participation ratio: r for a projector of rank r. Meant for A without much negative
    /// curvature, which cancels in the trace.
    pub participation: Estimate,
    /// `exp(-sum_j p_j ln p_j)` with `p_j = |lambda_j| / sum_i |lambda_i|` (Roy & Vetterli 2007, "The Effective Rank"): r for a
    /// projector of rank r.
    pub entropy: Estimate,
    /// `tr(A) / sqrt(r)`, the curvature complexity by which TRACE (Aljaafari, Carvalho & Freitas 2025, arXiv 2505.17998)
    /// follows training. The formula is theirs; that r is `participation` is our reading, under which the score is
    /// `sqrt(tr(A^2))`, the Frobenius norm, with the sign of the trace.
    pub curvature_score: Estimate,
    /// The same score with `entropy` for r.
    pub curvature_score_entropy: Estimate,
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
        let participation = |[x, xx, ..]: [f64; 4]| if xx == 0.0 { 0.0 } else { d * x * x / xx };
        // -sum p ln p = ln S - (sum |x| ln |x|) / S with S = d mean|x|
        let entropy = |[_, _, a, l]: [f64; 4]| if a == 0.0 { 0.0 } else { ((d * a).ln() - l / a).exp() };
        let score = |x: f64, r: f64| if r == 0.0 { 0.0 } else { d * x / r.sqrt() };
        Ok(Self {
            participation: jackknife(&samples, matvecs, participation)?,
            entropy: jackknife(&samples, matvecs, entropy)?,
            curvature_score: jackknife(&samples, matvecs, |s| score(s[0], participation(s)))?,
            curvature_score_entropy: jackknife(&samples, matvecs, |s| score(s[0], entropy(s)))?,
        })
    }
}
