//! The trace from gradients or losses at randomly perturbed parameters.

use super::config::TraceConfig;
use super::sampling::{Draw, Sample};
use super::trace::{Parts, Trace};
use crate::measured::{Effort, Measured};
use crate::objective::{Objective, batch_gradient, check_determinism, provenance, scalar};
use crate::observer::{Observer, Progress, ask};
use crate::operator::BatchForm;
use crate::{Error, Result};
use flat_core::{ParamVec, Purpose, Restore, Streams};
use std::time::Instant;

/// Settings of [`PerturbedGradient`] and [`PerturbedLoss`].
#[derive(Debug, Clone, PartialEq)]
pub struct PerturbedConfig {
    /// rho: the perturbation is `rho z / sqrt(d)`, of norm rho for probes on the sphere and signs, and in the mean for
    /// Gaussian ones.
    pub radius: f64,
    /// Probes and stopping.
    pub trace: TraceConfig,
}

impl PerturbedConfig {
    fn validated(self) -> Result<Self> {
        if !(self.radius.is_finite() && self.radius > 0.0) {
            return Err(Error::BadConfig {
                field: "radius",
                value: self.radius.to_string(),
                remedy: "give a number above 0, such as 0.1",
            });
        }
        Ok(Self { trace: self.trace.validated()?, ..self })
    }
}

/// The trace from central differences of gradients along the probe: with u uniform on the unit sphere,
///
/// ```text
/// tr H = E (d / 2 rho) <u, grad f(x + rho u) - grad f(x - rho u)> + O(rho^2)
/// ```
///
/// This is what the perturbed gradients of Ahn, Jadbabaie and Sra (2024, arXiv 2305.15659) know of the trace; its drift
/// `grad f(x + rho u) = grad f + (rho^2 / 2) grad tr(H)/d + ...` is why their Algorithm 1 finds flat minima. It asks for
/// gradients alone. The antithetic pair removes the gradient itself, whose part is of mean 0 but larger than everything
/// else, and halves the order of the bias, which for the sphere is
/// `rho^2 / (2 (d + 2)) sum_ij d^4 f / dx_i^2 dx_j^2`. No interval covers this bias: the report has
/// [`Trace::probes_alone95`] in place of one; compare two radii. Too small a radius shows rounding instead: in f32 stay above about 1e-3 of the parameters' norm.
///
/// **Kinks.** The expansion needs derivatives up to the fourth. With ReLU or max pooling the gradient jumps where an
/// example crosses a kink between the two points, and each jump counts as curvature: that is the curvature of the smoothed
/// loss, which the perturbed algorithms do act on, but not the Hessian's, which is blind to kinks. On `models/sharp` in f64
/// both estimators give the Hessian's trace (6.84) up to radius 1e-5, where no example crosses any, and 10 times as much
/// at 1e-3. Compare with products on smooth activations alone.
///
/// The report's operator is `perturbed gradients`, the estimate's `matvecs` count gradient evaluations: two a probe. Layers' traces
/// and the error from the examples come with it. The parameters are restored bit for bit.
#[derive(Debug, Clone)]
pub struct PerturbedGradient {
    config: PerturbedConfig,
}

/// The trace from losses at perturbed parameters: with u uniform on the unit sphere,
///
/// ```text
/// tr H = E (d / rho^2) (f(x + rho u) + f(x - rho u) - 2 f(x)) + O(rho^2)
/// ```
///
/// since `E f(x + rho u) - f(x) = (rho^2 / 2) tr(H)/d + O(rho^4)` (Ahn, Jadbabaie and Sra 2024, arXiv 2305.15659): the
/// mean loss around a point against that at it, the plainest meaning of sharpness. The antithetic pair removes the slope.
/// The bias for the sphere is `rho^2 / (4 (d + 2)) sum_ij d^4 f / dx_i^2 dx_j^2`; no interval covers it, see [`PerturbedGradient`]. The
/// difference of the losses is `rho^2 tr / d`: it has to be well above the rounding of the loss, so take a large radius,
/// or f64. Kinks count as curvature, see [`PerturbedGradient`].
///
/// Forward passes alone: the estimate's `matvecs` count evaluations of the loss, two a probe and one at the beginning. The
/// layers cannot be told apart. The parameters are restored bit for bit.
#[derive(Debug, Clone)]
pub struct PerturbedLoss {
    config: PerturbedConfig,
}

impl PerturbedGradient {
    /// An estimator with these settings.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense.
    pub fn new(config: PerturbedConfig) -> Result<Self> {
        Ok(Self { config: config.validated()? })
    }

    /// Estimates the trace. Costs two gradient evaluations of the data set a probe. An
    /// interruption gives the report of the probes completed.
    ///
    /// # Errors
    /// Those of [`check_determinism`]; a gradient that is not finite; the objective's own;
    /// [`Error::Interrupted`] if no probe was completed.
    pub fn run<O: Objective + ?Sized>(
        &self,
        objective: &O,
        streams: &Streams,
        observer: &mut dyn Observer,
    ) -> Result<Measured<Trace>> {
        check_determinism(objective)?;
        let (start, config, params) = (Instant::now(), &self.config, objective.params());
        let space = params.space();
        let step = config.radius / (space.layout.len() as f64).sqrt();
        let theta = params.read()?;
        let mut evaluations = 0;
        let sample = Sample::take(&config.trace, space, observer, |k, observer| {
            let z = config.trace.probe.draw(space, &streams.at(Purpose::Probe, k))?;
            let mut difference = ParamVec::zeros(space)?;
            let batches =
                both_sides(objective, &theta, (step, &z), &mut evaluations, observer, &mut |sign, i, batch| {
                    let (_, grad) = batch_gradient(objective, i)?;
                    batch.form += sign * z.dot(&grad)?;
                    Ok(difference.add_scaled(sign * batch.weight, &grad)?)
                })?;
            Draw::quadratic(&z, &difference, 0.5 / step, batches, k)
        })?;
        let (trace, layers) = sample.estimates(evaluations)?;
        let (clusters, radius, stop) = (sample.clusters, Some(config.radius), sample.stop);
        let parts = Parts { estimator: "perturbed-gradient", trace, layers, clusters, leave_one_out: None, radius };
        Ok(Measured {
            result: parts.trace(&config.trace, space),
            provenance: provenance(objective, Some("hessian (perturbed gradients)".into())),
            effort: Effort {
                gradients: evaluations,
                seed: Some(streams.seed()),
                wall_s: start.elapsed().as_secs_f64(),
                ..Effort::default()
            },
            stop,
        })
    }
}

impl PerturbedLoss {
    /// An estimator with these settings.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting that makes no sense.
    pub fn new(config: PerturbedConfig) -> Result<Self> {
        Ok(Self { config: config.validated()? })
    }

    /// Estimates the trace. Costs two evaluations of the loss on the data set a probe, and one. An
    /// interruption gives the report of the probes completed.
    ///
    /// # Errors
    /// Those of [`check_determinism`]; a loss that is not finite; the objective's own;
    /// [`Error::Interrupted`] if no probe was completed.
    pub fn run<O: Objective + ?Sized>(
        &self,
        objective: &O,
        streams: &Streams,
        observer: &mut dyn Observer,
    ) -> Result<Measured<Trace>> {
        check_determinism(objective)?;
        let (start, config, params) = (Instant::now(), &self.config, objective.params());
        let (space, n) = (params.space(), objective.batches());
        let step = config.radius / (space.layout.len() as f64).sqrt();
        let theta = params.read()?;
        let loss = |i: usize| scalar(&objective.loss(i)?.detach(), i, "loss");
        let here = (0..n).map(loss).collect::<Result<Vec<f64>>>()?;
        let mut evaluations = 1;
        let sample = Sample::take(&config.trace, space, observer, |k, observer| {
            let z = config.trace.probe.draw(space, &streams.at(Purpose::Probe, k))?;
            let batches = both_sides(objective, &theta, (step, &z), &mut evaluations, observer, &mut |_, i, batch| {
                batch.form += (loss(i)? - here[i]) / (step * step);
                Ok(())
            })?;
            let total = batches.iter().map(|b| b.weight * b.form).sum();
            Ok(Draw { total, layers: Vec::new(), batches })
        })?;
        let (trace, layers) = sample.estimates(evaluations)?;
        let (clusters, radius, stop) = (sample.clusters, Some(config.radius), sample.stop);
        let parts = Parts { estimator: "perturbed-loss", trace, layers, clusters, leave_one_out: None, radius };
        Ok(Measured {
            result: parts.trace(&config.trace, space),
            provenance: provenance(objective, Some("hessian (perturbed losses)".into())),
            effort: Effort {
                losses: evaluations,
                seed: Some(streams.seed()),
                wall_s: start.elapsed().as_secs_f64(),
                ..Effort::default()
            },
            stop,
        })
    }
}

/// Visits the batches at `theta + step z` and then at `theta - step z`: `at(sign, i, ..)` adds to what batch i has. The
/// parameters are restored. Each side is one evaluation.
fn both_sides<O: Objective + ?Sized>(
    objective: &O,
    theta: &ParamVec,
    (step, z): (f64, &ParamVec),
    evaluations: &mut u64,
    observer: &mut dyn Observer,
    at: &mut dyn FnMut(f64, usize, &mut BatchForm) -> Result<()>,
) -> Result<Vec<BatchForm>> {
    let n = objective.batches();
    let mut batches: Vec<_> = (0..n).map(|i| BatchForm::of(objective, i, 0.0)).collect();
    let there = Restore::replace(objective.params(), theta, theta)?;
    for (side, sign) in [1.0, -1.0].into_iter().enumerate() {
        there.set(&theta.plus(sign * step, z)?)?;
        for (i, batch) in batches.iter_mut().enumerate() {
            ask(observer, &Progress::within(side * n + i, 2 * n))?;
            at(sign, i, batch)?;
        }
        *evaluations += 1;
    }
    there.finish()?;
    Ok(batches)
}
