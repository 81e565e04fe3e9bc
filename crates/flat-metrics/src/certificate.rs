//! Whether a point is a flat local minimum.

mod config;
mod report;

pub use config::CertificateConfig;
pub use report::{CertificateProgress, CertificateReport, Stage, Verdict};

use crate::drift::Drift;
use crate::flow::{FlowReport, FlowStop, Place, flow};
use crate::surface::Surface;
use crate::{EigenReport, Error, Lanczos, LanczosConfig, LinearOperator, Objective, Result, check_determinism};
use flat_core::Streams;
use std::ops::ControlFlow;
use std::time::Instant;

/// A certificate of (eps, eps')-flatness in the sense of Ahn, Jadbabaie & Sra (2024, arXiv 2305.15659): with Phi(x) the limit
/// of the gradient flow from x, `||x - Phi(x)|| <= eps` and `||dPhi(Phi(x)) grad trbar(Phi(x))|| <= eps'`, where
/// `trbar = tr(hess f) / d` and dPhi at a minimum is the projector on the kernel of the Hessian.
///
/// 1. The flow is followed to a small gradient, see [`crate::FlowConfig`]. What is left of the way is at most `||grad f|| / mu` under
///    the local PL inequality with constant mu. Taken for mu is the smallest eigenvalue found in step 2 that is not
///    negligible (1e-6 of the largest), which is right where the kernel is among those found and too large otherwise.
/// 2. The eigenspace of the r largest eigenvalues of the Hessian at Phi(x) is removed, r by the largest ratio of
///    neighbouring eigenvalues (all that are not negligible where the kernel is among those found). The kernel is what is left if the others vanish; if they do not, more of the gradient is left
///    than dPhi would leave, so that `flat` still holds while `not flat` may be due to the rest.
/// 3. For u uniform on the sphere, `(g(x + rho u) + g(x - rho u) - 2 g(x)) / rho^2` has the mean `grad trbar(x)` up to a
///    fifth derivative times rho^2. The squared norm of a mean of probes is biased upwards by their variance, so the
///    squared norm is estimated by the U-statistic over pairs of different probes, unbiased, with the jackknife's interval
///    (too wide rather than too narrow where the norm vanishes). Its square root is reported.
///
/// A loss without minimisers, such as cross entropy once every example is classified rightly, has no Phi: the flow does
/// not arrive and the verdict is `undecided`, with the numbers where it stopped.
///
/// The definition asks for a loss with four continuous derivatives. At the kinks of ReLU and max pooling the differences of
/// step 3 grow without bound as rho falls: their norm then says how densely the kinks lie, and no rho is small enough.
///
/// Costs up to `max_gradients + 2 probes + 2` gradients and `max_matvecs` products, and holds `probes + max_matvecs` vectors
/// of d numbers at its peak. Measure in f64: in f32 the rounding of g, magnified by `2 / rho^2`, is common to all probes and
/// in no interval.
#[derive(Debug, Clone)]
pub struct Certificate {
    config: CertificateConfig,
}

impl Certificate {
    /// The certificate with these settings.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense.
    pub fn new(config: CertificateConfig) -> Result<Self> {
        Ok(Self { config: config.validated()? })
    }

    /// Judges the present parameters, which are the same bit for bit afterwards. `hessian` must be a Hessian of the same
    /// objective, such as [`crate::TangentHessian`], whose products are those at the parameters of the moment.
    ///
    /// # Errors
    /// Those of [`check_determinism`]; a loss or product that is not finite; the objective's and the operator's own.
    pub fn run<O: Objective + ?Sized>(
        &self,
        objective: &O,
        hessian: &mut dyn LinearOperator,
        streams: &Streams,
    ) -> Result<CertificateReport> {
        self.run_watched(objective, hessian, streams, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`Self::run`], calling `progress` before every batch. The callback must not use the model, which is displaced.
    ///
    /// # Errors
    /// As [`Self::run`]; [`Error::Interrupted`] on [`ControlFlow::Break`]: a part of it certifies nothing.
    pub fn run_watched<O: Objective + ?Sized>(
        &self,
        objective: &O,
        hessian: &mut dyn LinearOperator,
        streams: &Streams,
        progress: &mut dyn FnMut(&CertificateProgress) -> ControlFlow<()>,
    ) -> Result<CertificateReport> {
        let (config, start, before) = (&self.config, Instant::now(), hessian.matvecs());
        check_determinism(objective)?;
        let x = objective.params().read()?;
        let mut surface = Surface::new(objective, &x)?;
        let mut watch = |stage, done, of, grad_norm| {
            progress(&CertificateProgress { stage, done, of, grad_norm, wall_s: start.elapsed().as_secs_f64() })
        };
        let most = config.flow.max_gradients;
        let (loss, grad) = surface.gradient(&x, &mut |_| watch(Stage::Flow, 0, most, None))?;
        let grad_norm = grad.norm()?;
        let place = Place { point: x.duplicate()?, loss, grad };
        let (limit, flow) =
            flow(&mut surface, place, &config.flow, &mut |done, slope, _| watch(Stage::Flow, done, most, Some(slope)))?;
        if flow.stopped_by == FlowStop::Interrupted {
            return Err(Error::Interrupted);
        }
        surface.go(&limit.point)?;
        let eigen =
            self.eigenvalues(hessian, streams, &mut |done| watch(Stage::Eigenvalues, done, config.max_matvecs, None))?;
        let rank = config.rank.map_or_else(|| rank_by_gap(&eigen), |r| r.min(eigen.top.len()));
        let drift = Drift::of(config, x.norm()?, &eigen.top[..rank]);
        let (norms, rho) = drift
            .measure(&mut surface, &limit, streams, &mut |done| watch(Stage::Probes, done, config.probes, None))?;
        let gradients = surface.gradients;
        surface.finish()?;
        let value = |i: usize| eigen.top.get(i).map(|p| p.value);
        let gap = [rank.checked_sub(1).and_then(value), value(rank)];
        let distance = limit.point.plus(-1.0, &x)?.norm()?;
        let grad_norm_limit = limit.grad.norm()?;
        // the smallest curvature known of; with none, the gradient itself is all that can be said
        let mu = standing(&eigen).checked_sub(1).and_then(value);
        let left = mu.map_or(grad_norm_limit, |mu| grad_norm_limit / mu) + flow.error;
        let distance_interval = [(distance - left).max(0.0), distance + left];
        let (verdict, reason) = self.judge(&flow, distance_interval, norms.ci95);
        let (origin, space) = (hessian.origin(), x.space());
        Ok(CertificateReport {
            verdict,
            reason,
            distance,
            distance_interval,
            loss,
            loss_gap: loss - limit.loss,
            grad_norm,
            grad_norm_limit,
            flow,
            eigenvalues: eigen.top.iter().map(|p| [p.value, p.residual]).collect(),
            rank,
            gap,
            projected_norm: norms.projected.value.max(0.0).sqrt(),
            projected_norm_ci95: norms.ci95,
            projected_norm_squared: norms.projected,
            gradient_norm_squared: norms.whole,
            rho,
            gradients,
            matvecs: hessian.matvecs() - before,
            dim: x.layout().len(),
            examples: objective.examples(),
            bn_mode: objective.bn_mode().map(Into::into),
            operator: origin.operator,
            dtype: space.dtype.as_str().into(),
            seed: streams.seed(),
            config: config.clone(),
            wall_s: start.elapsed().as_secs_f64(),
            limit: limit.point,
            direction: norms.mean,
        })
    }

    fn eigenvalues(
        &self,
        hessian: &mut dyn LinearOperator,
        streams: &Streams,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<EigenReport> {
        let top = self.config.max_rank.min(hessian.space().layout.len());
        let double = hessian.space().dtype == candle_core::DType::F64;
        let config = LanczosConfig {
            top,
            bottom: 0,
            max_matvecs: self.config.max_matvecs.max(top as u64),
            rel_tol: if double { 1e-8 } else { 1e-5 },
        };
        let mut stopped = false;
        let report = Lanczos::new(config)?.run_watched(hessian, streams, &mut |p| {
            let flow = watch(p.matvecs);
            stopped = flow.is_break();
            flow
        })?;
        if stopped { Err(Error::Interrupted) } else { Ok(report) }
    }

    fn judge(&self, flow: &FlowReport, distance: [f64; 2], norm: [f64; 2]) -> (Verdict, String) {
        let (eps, prime) = (self.config.eps, self.config.eps_prime);
        if flow.stopped_by != FlowStop::GradTol {
            let why = match flow.stopped_by {
                FlowStop::Rounding => "rounding ended the flow above grad_tol (use f64)",
                _ => "the flow did not reach grad_tol: raise max_gradients, or there is no minimiser to reach",
            };
            return (Verdict::Undecided, why.into());
        }
        if distance[0] > eps {
            return (Verdict::NotFlat, format!("the distance to Phi(x) is above eps = {eps}"));
        }
        if norm[0] > prime {
            return (Verdict::NotFlat, format!("the projected gradient is above eps' = {prime}"));
        }
        if distance[1] <= eps && norm[1] <= prime {
            return (Verdict::Flat, format!("distance and projected gradient are below ({eps}, {prime})"));
        }
        let which =
            if distance[1] > eps { "of the distance holds eps" } else { "of the projected gradient holds eps'" };
        (Verdict::Undecided, format!("the interval {which}: more probes or a smaller grad_tol may decide"))
    }
}

/// An eigenvalue below this fraction of the largest counts as zero.
const NEGLIGIBLE: f64 = 1e-6;

/// How many of the eigenvalues found do not count as zero.
fn standing(eigen: &EigenReport) -> usize {
    let largest = eigen.top.first().map_or(0.0, |p| p.value);
    eigen.top.iter().take_while(|p| p.value > 0.0 && p.value > NEGLIGIBLE * largest).count()
}

/// How many eigenvalues stand out: all that do not count as zero where the kernel is among those found, those above the
/// largest ratio of neighbours otherwise.
fn rank_by_gap(eigen: &EigenReport) -> usize {
    let standing = standing(eigen);
    if standing < eigen.top.len() || standing == eigen.dim {
        return standing;
    }
    let ratio = |i: usize| eigen.top[i - 1].value / eigen.top[i].value;
    (1..standing).max_by(|a, b| ratio(*a).total_cmp(&ratio(*b))).unwrap_or(standing)
}
