//! The gradient of the normalised trace, along the minima.

use crate::certificate::CertificateConfig;
use crate::estimate::Moments;
use crate::flow::Place;
use crate::surface::Surface;
use crate::{Eigenpair, Estimate, Objective, Result};
use flat_core::{ParamVec, Purpose, Streams};
use std::ops::ControlFlow;

/// Antithetic probes of grad trbar, with an eigenspace removed.
pub(crate) struct Drift<'a> {
    probes: u64,
    rho: Option<f64>,
    /// Norm of the parameters, which the default radius is a fraction of.
    size: f64,
    removed: &'a [Eigenpair],
}

/// Squared norms of grad trbar, and its mean.
pub(crate) struct Norms {
    pub(crate) projected: Estimate,
    pub(crate) whole: Estimate,
    /// Interval of the projected norm itself.
    pub(crate) ci95: [f64; 2],
    pub(crate) mean: ParamVec,
}

/// Streams of the probes, apart from those of traces and spectra.
const PROBES: u64 = u64::MAX - 4;

impl<'a> Drift<'a> {
    pub(crate) fn of(config: &CertificateConfig, size: f64, removed: &'a [Eigenpair]) -> Self {
        Self { probes: config.probes, rho: config.rho, size, removed }
    }

    /// Returns the norms and the radius. Two gradients a probe; holds one vector a probe.
    pub(crate) fn measure<O: Objective + ?Sized>(
        &self,
        surface: &mut Surface<'_, O>,
        at: &Place,
        streams: &Streams,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(Norms, f64)> {
        let space = at.point.space();
        let epsilon = if space.dtype == candle_core::DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let rho = self.rho.unwrap_or(epsilon.powf(0.25) * self.size.max(1e-3));
        let mut probes: Vec<ParamVec> = Vec::new();
        let mut whole: Vec<ParamVec> = Vec::new();
        for k in 0..self.probes {
            let u = ParamVec::sphere(&space, &streams.at2(Purpose::Probe, PROBES, k))?;
            let (_, mut w) = surface.gradient(&at.point.plus(rho, &u)?, &mut |_| watch(k))?;
            let (_, minus) = surface.gradient(&at.point.plus(-rho, &u)?, &mut |_| watch(k))?;
            w.add_scaled(1.0, &minus)?;
            w.add_scaled(-2.0, &at.grad)?;
            w.scale(1.0 / (rho * rho))?;
            whole.push(w.duplicate()?);
            // twice, for the rounding of the first pass
            for pair in self.removed.iter().chain(self.removed) {
                let along = pair.vector.dot(&w)?;
                w.add_scaled(-along, &pair.vector)?;
            }
            probes.push(w);
        }
        let mut mean = ParamVec::zeros(&space)?;
        for w in &probes {
            mean.add_scaled(1.0 / probes.len() as f64, w)?;
        }
        let (projected, whole) = (squared_norm(&probes)?, squared_norm(&whole)?);
        let [lo, hi] = projected.ci95.unwrap_or([0.0, f64::INFINITY]);
        let ci95 = [lo.max(0.0).sqrt(), hi.max(0.0).sqrt()];
        Ok((Norms { projected, whole, ci95, mean }, rho))
    }
}

/// The squared norm of the expectation of independent vectors: the mean of `<w_i, w_j>` over all pairs of different ones,
/// which is unbiased, with the jackknife's interval (Arvesen 1969, "Jackknifing U-statistics").
fn squared_norm(w: &[ParamVec]) -> Result<Estimate> {
    let n = w.len();
    let mut rows = vec![0.0; n];
    for i in 0..n {
        for j in 0..i {
            let product = w[i].dot(&w[j])?;
            rows[i] += product;
            rows[j] += product;
        }
    }
    let total: f64 = rows.iter().sum();
    let (n, pairs) = (n as f64, |n: f64| n * (n - 1.0));
    let all = total / pairs(n);
    let mut moments = Moments::default();
    for row in &rows {
        moments.push(n * all - (n - 1.0) * (total - 2.0 * row) / pairs(n - 1.0));
    }
    moments.estimate(0.95, 0)
}
