//! The limit of gradient flow.

use crate::surface::Surface;
use crate::{Error, Objective, Result, Tick, Watch};
use flat_core::ParamVec;
use serde::Serialize;
use std::ops::ControlFlow;

/// Settings of the gradient flow in [`crate::Certificate`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlowConfig {
    /// The flow has arrived where the gradient's norm is at most this.
    pub grad_tol: f64,
    /// Local error allowed in a step, as a fraction of the norm of the parameters.
    pub rel_tol: f64,
    /// Most gradients of the data set.
    pub max_gradients: u64,
}

impl Default for FlowConfig {
    /// To a gradient of 1e-6, with steps good to 1e-6, by at most 3,000 gradients.
    fn default() -> Self {
        Self { grad_tol: 1e-6, rel_tol: 1e-6, max_gradients: 3000 }
    }
}

impl FlowConfig {
    pub(crate) fn validated(self) -> Result<Self> {
        for (field, x) in [("grad_tol", self.grad_tol), ("rel_tol", self.rel_tol)] {
            if !(x.is_finite() && x > 0.0) {
                return Err(Error::BadConfig { field, value: x.to_string(), remedy: "give a number above 0" });
            }
        }
        if self.max_gradients == 0 {
            let remedy = "allow at least one gradient";
            return Err(Error::BadConfig { field: "max_gradients", value: "0".into(), remedy });
        }
        Ok(self)
    }
}

/// Why the flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FlowStop {
    /// The gradient is as small as `grad_tol` asks.
    GradTol,
    /// All `max_gradients` were spent.
    Budget,
    /// No step lowers the loss any more: rounding. Measure in f64.
    Rounding,
    /// The callback asked to stop.
    Interrupted,
}

/// How the flow went.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FlowReport {
    /// Steps taken.
    pub steps: u64,
    /// Gradients of the data set spent.
    pub gradients: u64,
    /// Time the flow ran for, in units of parameter squared per loss.
    pub time: f64,
    /// Sum of the local error estimates of all steps, a distance.
    pub error: f64,
    /// Why it ended.
    pub stopped_by: FlowStop,
}

/// A point with its loss and gradient.
pub(crate) struct Place {
    pub(crate) point: ParamVec,
    pub(crate) loss: f64,
    pub(crate) grad: ParamVec,
}

/// Follows `dx/dt = -grad f(x)` from `start` by the embedded Runge-Kutta pair of orders 3 and 2 of Bogacki & Shampine
/// (1989), three gradients a step. A step is taken where its local error is at most `rel_tol ||x||` and the loss does not
/// grow, so the loss falls monotonically.
pub(crate) fn flow<O: Objective + ?Sized>(
    surface: &mut Surface<'_, O>,
    start: Place,
    config: &FlowConfig,
    watch: &mut dyn FnMut(u64, f64, Tick) -> ControlFlow<()>,
) -> Result<(Place, FlowReport)> {
    let epsilon =
        if start.point.as_tensor().dtype() == candle_core::DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let mut here = start;
    let mut report = FlowReport { steps: 0, gradients: 0, time: 0.0, error: 0.0, stopped_by: FlowStop::Budget };
    let mut slope = here.grad.norm()?;
    // the first step moves by a hundredth of the parameters' size
    let mut h = 0.01 * here.point.norm()?.max(1.0) / slope.max(f64::MIN_POSITIVE);
    report.stopped_by = loop {
        if slope <= config.grad_tol {
            break FlowStop::GradTol;
        }
        if report.gradients + 3 > config.max_gradients {
            break FlowStop::Budget;
        }
        let size = here.point.norm()?.max(f64::MIN_POSITIVE);
        if h * slope < 0.1 * epsilon * size {
            break FlowStop::Rounding;
        }
        let before = surface.gradients;
        let tried = try_step(surface, &here, h, &mut |tick| watch(report.gradients, slope, tick));
        report.gradients += surface.gradients - before;
        let (next, error) = match tried {
            Ok(found) => found,
            Err(Error::Interrupted) => break FlowStop::Interrupted,
            // too long a step may overflow
            Err(Error::NonFinite { .. }) => {
                h /= 10.0;
                continue;
            }
            Err(e) => return Err(e),
        };
        let ratio = error / (config.rel_tol * size);
        let falls = next.loss <= here.loss + 4.0 * epsilon * here.loss.abs();
        if ratio <= 1.0 && falls {
            report.steps += 1;
            report.time += h;
            report.error += error;
            here = next;
            slope = here.grad.norm()?;
        }
        let factor = (0.9 * ratio.max(1e-12).powf(-1.0 / 3.0)).clamp(0.2, 5.0);
        h *= if falls { factor } else { factor.min(0.5) };
    };
    Ok((here, report))
}

/// One step of length `h`: where it ends, and its local error.
fn try_step<O: Objective + ?Sized>(
    surface: &mut Surface<'_, O>,
    here: &Place,
    h: f64,
    watch: &mut Watch<'_>,
) -> Result<(Place, f64)> {
    let k1 = &here.grad;
    let (_, k2) = surface.gradient(&here.point.plus(-h / 2.0, k1)?, watch)?;
    let (_, k3) = surface.gradient(&here.point.plus(-0.75 * h, &k2)?, watch)?;
    let mut point = here.point.plus(-h * 2.0 / 9.0, k1)?;
    point.add_scaled(-h / 3.0, &k2)?;
    point.add_scaled(-h * 4.0 / 9.0, &k3)?;
    let (loss, grad) = surface.gradient(&point, watch)?;
    let mut error = k1.scaled(-5.0 / 72.0)?;
    error.add_scaled(1.0 / 12.0, &k2)?;
    error.add_scaled(1.0 / 9.0, &k3)?;
    error.add_scaled(-1.0 / 8.0, &grad)?;
    let error = h * error.norm()?;
    Ok((Place { point, loss, grad }, error))
}
