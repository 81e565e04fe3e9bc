//! A certificate that a point is, or is not, a flat local minimum.

mod config;
mod judge;
mod judgement;

pub use config::CertificateConfig;
pub use judgement::{Judgement, Reason, SpectrumReport, Verdict};

use super::drift::{At, Known, Slope};
use super::flow::{FlowReport, Means, Place, flow};
use super::range::{Range, Reach};
use super::surface::Surface;
use crate::measured::{Effort, Measured, Stop};
use crate::objective::{Objective, check_determinism, provenance};
use crate::observer::{Observer, Progress, Stage};
use crate::operator::LinearOperator;
use crate::{Error, Result};
use flat_core::Streams;
use judge::{Evidence, judge};
use std::ops::ControlFlow;
use std::time::Instant;

/// A certificate of (eps, eps')-flatness (Ahn, Jadbabaie & Sra 2024, arXiv 2305.15659). With Phi(x) the limit of the
/// gradient flow from x, it asks for `||x - Phi(x)|| <= eps` and `||dPhi(Phi(x)) grad trbar(Phi(x))|| <= eps'`. There
/// `trbar = tr(hess f) / d`, and dPhi at a minimum is the projector P on the kernel of the Hessian.
///
/// 1. The flow is followed by exponential Rosenbrock steps of order 3 (Hochbruck, Ostermann & Schweitzer 2009) in Krylov
///    spaces of the gradient, whose last steps are Newton's, see [`crate::FlowConfig`]. It has arrived where the gradient is
///    at most `grad_tol` and the way that is left, `||H^+ g||`, at most 1e-4 eps.
/// 2. Lanczos' method from random vectors goes on at Phi(x) until its Krylov spaces are closed: they hold the whole range of
///    the Hessian, what is left is the kernel. Eigenvalues below 1e-10 of the largest (1e-5 in f32) count as zero. A negative
///    Rayleigh quotient proves that Phi(x) is no local minimum. Of degenerate saddles, which have none, nothing is seen.
/// 3. With the range known, `P grad tr(H) = P sum_i D^3 f [q_i, q_i]` over its eigenvectors: nothing is drawn. Where
///    `max_matvecs` products do not reach it, probes on the sphere give a bound from above at 95 %, and the verdict is
///    `Undecided`.
///
/// The distance's interval is the sum of the embedded error estimates and the way left, which takes the whole range: without
/// it the distance is `at least`. The estimates are no proofs; they bound the error where third derivatives change little
/// over a step.
///
/// A loss without minimisers, such as cross entropy once every example is classified rightly, has no Phi: the flow does
/// not arrive and the verdict is `Undecided`, with the numbers where it stopped.
///
/// The definition asks for a loss with four continuous derivatives. At the kinks of ReLU and max pooling third derivatives
/// do not exist: what is measured is the slope between them.
///
/// Costs up to `max_gradients + 1` gradients and products for the flow, `max_matvecs` products for the spectrum, and four
/// products an eigenvector or two a probe for the slope. Holds up to `max_matvecs` vectors of d numbers. Measure in f64.
#[derive(Debug, Clone)]
pub struct Certificate {
    config: CertificateConfig,
}

/// The flow has arrived where this fraction of eps is left of the way.
const ARRIVE: f64 = 1e-4;
/// Vectors of a basis, in bytes.
const MEMORY: usize = 4 << 30;
/// Vectors of the flow's Krylov spaces, whose small eigenproblems are solved at each look.
const BASIS: usize = 600;
/// Eigenvalues in the report.
const LISTED: usize = 20;

impl Certificate {
    /// The certificate with these settings.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense.
    pub fn new(config: CertificateConfig) -> Result<Self> {
        Ok(Self { config: config.validated()? })
    }

    /// Judges the present parameters, which are the same bit for bit afterwards. `hessian` must be a Hessian of the same
    /// objective, such as [`crate::TangentHessian`], whose products are those at the parameters of the moment. An
    /// interruption ends the run with what was reached, as `Undecided`.
    ///
    /// # Errors
    /// Those of [`check_determinism`]; a loss or product that is not finite; the objective's and the operator's own;
    /// [`Error::Interrupted`] before the first gradient.
    pub fn run<O: Objective + ?Sized>(
        &self,
        objective: &O,
        hessian: &mut dyn LinearOperator,
        streams: &Streams,
        observer: &mut dyn Observer,
    ) -> Result<Measured<Judgement>> {
        let (config, start, before) = (&self.config, Instant::now(), hessian.matvecs());
        check_determinism(objective)?;
        let x = objective.params().read()?;
        let mut surface = Surface::new(objective, &x)?;
        let mut watch =
            |stage, done, of, value| observer.observe(&Progress { stage, done, of, value, ..Progress::default() });
        let most = config.flow.max_gradients;
        let (loss, grad) = surface.gradient(&x, &mut |_: &Progress| watch(Stage::Flow, 0, most, None))?;
        let grad_norm = grad.norm()?;
        let place = Place { point: x.duplicate()?, loss, grad };
        let held = (MEMORY / x.layout().len() / x.dtype().size_in_bytes()).max(4);
        let means = Means { config: &config.flow, arrive: ARRIVE * config.eps, basis: BASIS.min(held), streams };
        let (limit, flow) = flow(&mut surface, hessian, place, &means, &mut |done, slope| {
            watch(Stage::Flow, done.min(most), most, Some(slope))
        })?;
        surface.go(&limit.point)?;
        let mut interrupted = flow.stop == Stop::Interrupted;
        let reach = Reach {
            most: usize::try_from(config.max_matvecs).unwrap_or(usize::MAX).min(held),
            // third derivatives are about twice the bend of a gradient
            off: 4.0 * flow.bend * flow.left.unwrap_or(0.0),
        };
        let of = (reach.most as u64).min(x.layout().len() as u64);
        let (products, mut range) = (hessian.matvecs(), None);
        if !interrupted {
            range = Range::explore(hessian, streams, &reach, &mut |done| watch(Stage::Spectrum, done, of, None))?;
            interrupted = range.as_ref().is_none_or(|r| r.interrupted);
        }
        let products = hessian.matvecs() - products;
        let spectrum = range.as_ref().map(|r| spectrum_of(r, &flow, &limit, products)).transpose()?;
        let mut slope = None;
        if let (Some(range), Some(found), false) = (&range, &spectrum, interrupted)
            && flow.stop == Stop::Arrived
            && !found.negative()
        {
            let of = if range.complete { found.rank as u64 } else { config.probes };
            let measured = self
                .slope(&mut surface, hessian, &limit, range, streams, &mut |done| watch(Stage::Slope, done, of, None));
            slope = match measured {
                Err(Error::Interrupted) => {
                    interrupted = true;
                    None
                }
                other => Some(other?),
            };
        }
        let gradients = surface.gradients;
        surface.finish()?;
        let distance = limit.point.plus(-1.0, &x)?.norm()?;
        let (distance_known, distance_interval) = known_distance(distance, &flow, &limit, range.as_ref())?;
        let eps_prime = slope.as_ref().map(|s: &Slope| match config.eps_prime {
            Some(given) => [given, given],
            None => s.trace_interval.map(|t| config.eps.sqrt() * t.max(0.0)),
        });
        let (verdict, reason) = judge(&Evidence {
            eps: config.eps,
            flow: &flow,
            distance: distance_interval,
            spectrum: spectrum.as_ref(),
            slope: slope.as_ref(),
            eps_prime,
            interrupted,
        });
        Ok(Measured {
            result: Judgement {
                verdict,
                reason,
                distance,
                distance_known,
                distance_interval,
                loss,
                loss_gap: loss - limit.loss,
                grad_norm,
                grad_norm_limit: limit.grad.norm()?,
                flow,
                spectrum,
                slope,
                eps_prime,
                config: config.clone(),
                limit: limit.point,
            },
            provenance: provenance(objective, hessian.provenance().operator),
            effort: Effort {
                matvecs: hessian.matvecs() - before,
                gradients,
                losses: 0,
                seed: Some(streams.seed()),
                wall_s: start.elapsed().as_secs_f64(),
            },
            stop: Stop::interrupted_if(interrupted),
        })
    }

    fn slope<O: Objective + ?Sized>(
        &self,
        surface: &mut Surface<'_, O>,
        hessian: &mut dyn LinearOperator,
        limit: &Place,
        range: &Range,
        streams: &Streams,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Slope> {
        let usual = At::<O>::usual_rho(&limit.point, range)?;
        let at = At { surface, hessian, x: &limit.point, rho: self.config.rho.unwrap_or(usual) };
        match range.complete {
            true => at.exact(range, watch),
            false => at.bound(range, self.config.probes, streams, watch),
        }
    }
}

fn spectrum_of(range: &Range, flow: &FlowReport, limit: &Place, matvecs: u64) -> Result<SpectrumReport> {
    let all = range.eigenvalues();
    // without a step of the flow third derivatives are taken to be of the size that the parameters' own scale suggests
    let usual = range.scale() / limit.point.norm()?.max(1e-3);
    let bend = if flow.bend > 0.0 { flow.bend } else { usual };
    let left = if range.complete { range.newton_length(&limit.grad, flow.noise)? } else { flow.left.unwrap_or(0.0) };
    Ok(SpectrumReport {
        largest: all.iter().rev().take(LISTED).copied().collect(),
        smallest: all.first().copied().unwrap_or([0.0, 0.0]),
        smallest_at_least: range.smallest_at_least(),
        zero: range.zero,
        doubt: range.zero.max(4.0 * bend * left),
        rank: range.significant().count(),
        complete: range.complete,
        resolution: range.complete.then_some(range.resolution),
        matvecs,
    })
}

/// The interval of the distance, which has an upper end where the flow arrived and the whole range is known.
fn known_distance(distance: f64, flow: &FlowReport, limit: &Place, range: Option<&Range>) -> Result<(Known, [f64; 2])> {
    match range.filter(|r| r.complete && flow.stop == Stop::Arrived) {
        Some(range) => {
            let error = flow.error + range.newton_length(&limit.grad, flow.noise)?;
            Ok((Known::Interval, [(distance - error).max(0.0), distance + error]))
        }
        None => {
            let error = flow.error + flow.left.unwrap_or(0.0);
            Ok((Known::AtLeast, [(distance - error).max(0.0), f64::INFINITY]))
        }
    }
}
