//! Measures of the loss around its parameters: sharpness and slices.

use crate::estimators::chosen;
use crate::failure::{Raised, unwritable};
use crate::objective::Loss;
use crate::watcher::Watcher;
use flat_core::{Purpose, Streams};
use flat_metrics::{Axis, Error, Geometry, Observer, Progress, Sharpness, filter_normalized, slice};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Streams of directions, apart from those of probes.
const DIRECTIONS: u64 = u64::MAX - 5;

/// The sharpness by `measure`. Of the settings those count that the measure has.
#[pyfunction]
#[pyo3(signature = (loss, *, measure, rho, geometry, eta, steps, starts, pairs, noise, seed, observe))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub(crate) fn sharpness(
    py: Python<'_>,
    loss: &Bound<'_, Loss>,
    measure: &str,
    rho: f64,
    geometry: &str,
    eta: f64,
    steps: u64,
    starts: u64,
    pairs: u64,
    noise: &str,
    seed: u64,
    observe: Option<Py<PyAny>>,
) -> PyResult<String> {
    let geometry = match geometry {
        "l2" => Geometry::L2,
        "linf" => Geometry::LInf,
        "adaptive-l2" => Geometry::AdaptiveL2 { eta },
        "adaptive-linf" => Geometry::AdaptiveLInf { eta },
        other => {
            let text = format!("`geometry` is {other}: give l2, linf, adaptive-l2 or adaptive-linf");
            return Err(PyValueError::new_err(text));
        }
    };
    let noise = chosen("noise", noise)?;
    let it = match measure {
        "worst" => Sharpness::Worst { rho, geometry, steps, starts },
        "first-order" => Sharpness::FirstOrder { rho, geometry },
        "per-batch" => Sharpness::PerBatch { rho, geometry },
        "average" => Sharpness::Average { rho, noise, adaptive: None, pairs },
        "low-pass" => Sharpness::LowPass { sigma: rho, pairs },
        "keskar" => Sharpness::Keskar { epsilon: rho, steps, starts },
        other => {
            let text = format!("`measure` is {other}: give worst, first-order, per-batch, average, low-pass or keskar");
            return Err(PyValueError::new_err(text));
        }
    };
    let raised = Raised::default();
    let around = loss.get().start(py, &raised)?;
    let mut watcher = Watcher { observe, raised: raised.clone() };
    let streams = Streams::new(seed);
    let found = py.detach(|| it.run(&around, &streams, &mut watcher));
    serde_json::to_string(&raised.or(found)?).map_err(unwritable)
}

/// Losses at `points` points of one or two filter-normalised random directions over `span`, the first direction varying
/// fastest, with the coordinates.
#[pyfunction]
#[pyo3(signature = (loss, *, axes, span, points, seed, observe))]
pub(crate) fn landscape(
    py: Python<'_>,
    loss: &Bound<'_, Loss>,
    axes: u64,
    span: [f64; 2],
    points: usize,
    seed: u64,
    observe: Option<Py<PyAny>>,
) -> PyResult<(Vec<f64>, Vec<f64>)> {
    if !(1..=2).contains(&axes) {
        return Err(PyValueError::new_err(format!("`axes` is {axes}: give 1 or 2")));
    }
    let raised = Raised::default();
    let around = loss.get().start(py, &raised)?;
    let mut watcher = Watcher { observe, raised: raised.clone() };
    let streams = Streams::new(seed);
    let found = py.detach(|| {
        let params = flat_metrics::Objective::params(&around);
        let theta = params.read()?;
        let axis = |k| Axis::new(filter_normalized(&theta, &streams.at2(Purpose::Probe, DIRECTIONS, k))?, span, points);
        let x = axis(0)?;
        let y = if axes == 2 { Some(axis(1)?) } else { None };
        let (mut done, of) = (0, (points as u64).pow(axes as u32));
        let losses = slice(params, &x, y.as_ref(), &mut || {
            let mut at = Progress::default();
            (at.done, at.of) = (done, of);
            if watcher.observe(&at).is_break() {
                return Err(Error::Interrupted);
            }
            done += 1;
            around.mean()
        })?;
        Ok((x.coordinates, losses))
    });
    raised.or(found)
}
