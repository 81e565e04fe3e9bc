//! The limit of the gradient flow from a point, by exponential steps.

use super::linear::{Linear, norm};
use super::surface::Surface;
use crate::measured::Stop;
use crate::objective::Objective;
use crate::observer::Progress;
use crate::operator::LinearOperator;
use crate::{Error, Result};
use flat_core::setting::Range;
use flat_core::{ParamVec, Purpose, Streams};
use serde::Serialize;
use std::ops::ControlFlow;

flat_core::settings! {
    /// Settings of the gradient flow in [`crate::Certificate`].
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct FlowConfig {
        /// The gradient's norm is at most this where the flow has arrived, and 1e-4 of --eps is left of the way.
        grad_tol as "grad-tol": f64 = 1e-6, range: Range::Positive;
        /// Estimated error of the flow's steps, as a fraction of their length.
        rel_tol as "rel-tol": f64 = 0.01, range: Range::Positive;
        /// Gradients and Hessian-vector products that the flow may take, together.
        max_gradients as "max-gradients": u64 = 3000, range: Range::AtLeast(1);
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

/// The result of following the gradient flow.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FlowReport {
    /// How it was followed.
    pub method: &'static str,
    /// Steps taken.
    pub steps: u64,
    /// Gradients of the data set spent.
    pub gradients: u64,
    /// Hessian-vector products spent.
    pub matvecs: u64,
    /// Time the flow ran for, in units of parameter squared per loss.
    pub time: f64,
    /// Sum of the error estimates of all steps, a distance.
    pub error: f64,
    /// Estimate of the way that is left, `||H^+ g||` in the last Krylov space; `None` before the first.
    pub left: Option<f64>,
    /// Norm of a gradient that is nothing but rounding.
    pub noise: f64,
    /// Largest `|g(x + s) - g(x) - H s| / |s|^2` of a step s, in the size of third derivatives; 0 without steps.
    pub bend: f64,
    /// Why it ended: [`Stop::Arrived`] where the gradient is at most `grad_tol` and the quadratic model's way to its
    /// stationary point is negligible.
    #[serde(rename = "stopped_by")]
    pub stop: Stop,
}

/// A point with its loss and gradient.
pub(crate) struct Place {
    pub(crate) point: ParamVec,
    pub(crate) loss: f64,
    pub(crate) grad: ParamVec,
}

/// What the flow may use.
pub(crate) struct Means<'a> {
    pub(crate) config: &'a FlowConfig,
    /// A way that is left of at most this length is negligible.
    pub(crate) arrive: f64,
    /// Most vectors of a Krylov space.
    pub(crate) basis: usize,
    pub(crate) streams: &'a Streams,
}

const METHOD: &str = "exponential Rosenbrock steps in Krylov spaces";
/// Stream of the displacement that measures rounding.
const ROUNDING: u64 = u64::MAX - 6;
/// A step below this fraction of the parameters' norm does not move them.
const STILL: f64 = 1e-15;
/// The part of a step's error that is left to the Krylov space.
const KRYLOV: f64 = 0.1;
/// Newton's steps with one Krylov space at most.
const CHORDS: usize = 40;

/// The callback of the flow: gradients and products spent, norm of the gradient.
pub(crate) type FlowWatch<'w> = dyn FnMut(u64, f64) -> ControlFlow<()> + 'w;

/// Follows `dx/dt = -grad f(x)` from `start` by exponential Rosenbrock steps of order 3 with an embedded order 2
/// (exprb32 of Hochbruck, Ostermann & Schweitzer 2009, "Exponential Rosenbrock-type methods"). The quadratic model's flow
/// is exact for every step length, so stiffness limits nothing and the last steps are Newton's.
///
/// The error estimate of a step takes the defect at its end, `g(x + s) - g(x) - H s`, for a force that acts on the whole
/// step: an upper estimate where the defect grows along the step.
///
/// A step takes one Krylov space of the gradient, which serves every step length: a rejected step costs one gradient.
/// An interruption ends the flow with what was reached.
pub(crate) fn flow<O: Objective + ?Sized>(
    surface: &mut Surface<'_, O>,
    hessian: &mut dyn LinearOperator,
    start: Place,
    means: &Means<'_>,
    watch: &mut FlowWatch<'_>,
) -> Result<(Place, FlowReport)> {
    let (gradients, matvecs) = (surface.gradients, hessian.matvecs());
    let size = start.point.norm()?.max(1e-3);
    let (time, error, bend) = (0.0, 0.0, 0.0);
    let mut run =
        Run { here: start, means, noise: 0.0, size, time, error, bend, steps: 0, left: None, target: f64::INFINITY };
    let ended = loop {
        let spent = surface.gradients - gradients + hessian.matvecs() - matvecs;
        // a step takes at least one gradient for its rounding, one product and one gradient
        if spent + 3 > means.config.max_gradients {
            break Stop::Budget;
        }
        let room = (means.config.max_gradients - spent) as usize;
        let slope = run.here.grad.norm()?;
        match run.step(surface, hessian, room, &mut |more| watch(spent + more, slope)) {
            Ok(true) => {}
            Ok(false) => break Stop::Rounding,
            Err(Error::Interrupted) => break Stop::Interrupted,
            Err(e) => return Err(e),
        }
    };
    let slope = run.here.grad.norm()?;
    let near = run.left.is_some_and(|left| left <= means.arrive) && slope <= means.config.grad_tol;
    let report = FlowReport {
        method: METHOD,
        steps: run.steps,
        gradients: surface.gradients - gradients,
        matvecs: hessian.matvecs() - matvecs,
        time: run.time,
        error: run.error,
        left: run.left,
        noise: run.noise,
        bend: run.bend,
        stop: if near && ended != Stop::Interrupted { Stop::Arrived } else { ended },
    };
    Ok((run.here, report))
}

/// The state between two steps.
struct Run<'a> {
    here: Place,
    means: &'a Means<'a>,
    noise: f64,
    size: f64,
    time: f64,
    error: f64,
    bend: f64,
    steps: u64,
    left: Option<f64>,
    /// Length of the next step that is tried first.
    target: f64,
}

impl Run<'_> {
    /// One step, with the cheap ones after it in the same Krylov space; false where none is needed or can be taken.
    fn step<O: Objective + ?Sized>(
        &mut self,
        surface: &mut Surface<'_, O>,
        hessian: &mut dyn LinearOperator,
        room: usize,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<bool> {
        let slope = self.here.grad.norm()?;
        self.noise = self.rounding(surface, watch)?;
        if slope <= self.noise {
            self.left = Some(0.0);
            return Ok(false);
        }
        surface.go(&self.here.point)?;
        let mut linear = Linear::new(&self.here.grad, self.noise, KRYLOV * self.means.config.rel_tol)?;
        linear.grow(hessian, self.target, self.means.basis.min(room - 2), watch)?;
        let products = linear.steps() as u64;
        let (left, before) = (linear.rest(), self.left);
        self.left = Some(left);
        let near = slope <= self.means.config.grad_tol && left <= self.means.arrive;
        // as near as rounding lets it come: the eigenvalues of the limit are judged with what is left
        if near && (left <= 1e-12 * self.size || before.is_some_and(|b| left > 0.5 * b)) {
            return Ok(false);
        }
        let relaxed = linear.relaxation();
        let mut h = self.target.min(relaxed);
        while !linear.settled(h) {
            h /= 2.0;
        }
        let mut watch = |_| watch(products);
        let (there, correction, error, tolerance) = loop {
            let c = linear.motion(h);
            let moved = norm(&c);
            if moved <= STILL * self.size || h == 0.0 {
                return Ok(false);
            }
            // growth away from a saddle, farther than the stationary point that is so near; beyond all curvature known
            if !moved.is_finite() || moved > self.size.max(1.0) || near && moved > 2.0 * left {
                h /= 2.0;
                continue;
            }
            let point = self.here.point.plus(1.0, &linear.vector(&c)?)?;
            let there = match surface.gradient(&point, &mut |_: &Progress| watch(())) {
                Ok((loss, grad)) => Place { point, loss, grad },
                // too long a step may overflow
                Err(Error::NonFinite { .. }) => {
                    h /= 10.0;
                    continue;
                }
                Err(e) => return Err(e),
            };
            let mut outside = there.grad.plus(-1.0, &linear.predicted(&c)?)?;
            let defect = outside.norm()?;
            let inside = linear.split(&mut outside)?;
            let outer = outside.norm()?;
            // what is above rounding, as if it did not decay
            let kept = (outer - 2.0 * self.noise).max(0.0);
            // as if the defect at the end had been there all the time
            let error = norm(&linear.held(h, &inside)).hypot(h * kept) + linear.residue(h);
            let tolerance = self.means.config.rel_tol * moved.max(self.means.arrive);
            let falls = there.loss <= self.here.loss * (1.0 + 1e-12) || there.grad.norm()? <= 0.5 * slope;
            if falls && error <= tolerance && defect <= 0.5 * slope.max(8.0 * self.noise) {
                if defect > 8.0 * self.noise {
                    self.bend = self.bend.max(defect / (moved * moved));
                }
                // as if it grew with the square of the time; 2 phi_3(0) = 1 / 3
                let mut correction = linear.vector(&linear.grown(h, &inside))?;
                correction.add_scaled(h / 3.0 * kept / outer.max(f64::MIN_POSITIVE), &outside)?;
                break (there, correction, error, tolerance);
            }
            let shrink = 0.8 * (tolerance / error).sqrt();
            h *= if shrink.is_finite() { shrink.clamp(0.05, 0.5) } else { 0.5 };
        };
        let full = h >= 0.5 * relaxed;
        let point = there.point.plus(-1.0, &correction)?;
        self.here = match surface.gradient(&point, &mut |_: &Progress| watch(())) {
            Ok((loss, grad)) if loss <= there.loss => Place { point, loss, grad },
            Ok(_) | Err(Error::NonFinite { .. }) => there,
            Err(e) => return Err(e),
        };
        self.steps += 1;
        self.time += h;
        self.error += error;
        let stretch = (0.8 * (tolerance / error.max(f64::MIN_POSITIVE)).sqrt()).clamp(0.3, 8.0);
        self.target = if full && stretch > 1.0 { f64::INFINITY } else { h * stretch };
        if full {
            self.polish(surface, &linear, &mut watch)?;
        }
        Ok(true)
    }

    /// Norm of what a displacement by a few units in the last place does to the gradient.
    fn rounding<O: Objective + ?Sized>(
        &self,
        surface: &mut Surface<'_, O>,
        watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<f64> {
        let space = self.here.point.space();
        let epsilon = if space.dtype == candle_core::DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let u = ParamVec::sphere(&space, &self.means.streams.at2(Purpose::Probe, ROUNDING, 0))?;
        let point = self.here.point.plus(4.0 * epsilon * self.size.max(1.0), &u)?;
        let (_, near) = surface.gradient(&point, &mut |_: &Progress| watch(0))?;
        Ok(near.plus(-1.0, &self.here.grad)?.norm()?.max(f64::MIN_POSITIVE))
    }

    /// Newton's steps with the Hessian of the last point, which cost a gradient each, while they halve the gradient.
    fn polish<O: Objective + ?Sized>(
        &mut self,
        surface: &mut Surface<'_, O>,
        linear: &Linear,
        watch: &mut dyn FnMut(()) -> ControlFlow<()>,
    ) -> Result<()> {
        for _ in 0..CHORDS {
            let slope = self.here.grad.norm()?;
            let c = linear.newton(&linear.split(&mut self.here.grad.duplicate()?)?);
            let moved = norm(&c);
            if slope <= 4.0 * self.noise || moved <= STILL * self.size {
                return Ok(());
            }
            let point = self.here.point.plus(1.0, &linear.vector(&c)?)?;
            let (loss, grad) = match surface.gradient(&point, &mut |_: &Progress| watch(())) {
                Err(Error::NonFinite { .. }) => return Ok(()),
                other => other?,
            };
            if grad.norm()? > 0.5 * slope {
                return Ok(());
            }
            // the path between is not known
            self.error += moved;
            self.here = Place { point, loss, grad };
        }
        Ok(())
    }
}
