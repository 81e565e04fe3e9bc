//! The estimators of an operator. Each returns its report as JSON, and vectors as arrays.

use crate::array;
use crate::failure::{Raised, exception, unwritable};
use crate::operator::{Operator, Running};
use crate::watcher::Watcher;
use flat_core::Streams;
use flat_metrics::{
    DensityConfig, Diagonal, HutchPlusPlus, Hutchinson, Lanczos, LanczosConfig, Measured, ProbeDistribution,
    SpectralDensity, TraceConfig, XTrace,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Serialize;

/// Runs an estimator without the interpreter's lock.
fn run<T: Send>(
    py: Python<'_>,
    operator: &Operator,
    observe: Option<Py<PyAny>>,
    estimate: impl FnOnce(&mut Running<'_>, &mut Watcher) -> flat_metrics::Result<Measured<T>> + Send,
) -> PyResult<Measured<T>> {
    let raised = Raised::default();
    let mut watcher = Watcher { observe, raised: raised.clone() };
    let found = py.detach(|| estimate(&mut operator.start(&raised), &mut watcher));
    raised.or(found)
}

fn json<T: Serialize>(of: &T) -> PyResult<String> {
    serde_json::to_string(of).map_err(unwritable)
}

/// The trace by `estimator`: `hutchinson`, `hutch++` or `xtrace`.
#[pyfunction]
#[pyo3(signature = (operator, *, estimator, max_probes, min_probes, rel_tol, distribution, seed, observe))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub(crate) fn trace(
    py: Python<'_>,
    operator: &Bound<'_, Operator>,
    estimator: &str,
    max_probes: u64,
    min_probes: u64,
    rel_tol: Option<f64>,
    distribution: &str,
    seed: u64,
    observe: Option<Py<PyAny>>,
) -> PyResult<String> {
    let probe: ProbeDistribution = chosen("distribution", distribution)?;
    let config = TraceConfig { min_probes, max_probes, rel_tol, probe, ..TraceConfig::default() };
    let streams = Streams::new(seed);
    let operator = operator.get();
    let found = match estimator {
        "hutchinson" => {
            let it = Hutchinson::new(config).map_err(exception)?;
            run(py, operator, observe, move |op, watcher| it.run(op, &streams, watcher))?
        }
        "hutch++" => {
            let it = HutchPlusPlus::new(config).map_err(exception)?;
            run(py, operator, observe, move |op, watcher| it.run(op, &streams, watcher))?
        }
        "xtrace" => {
            let it = XTrace::new(config).map_err(exception)?;
            run(py, operator, observe, move |op, watcher| it.run(op, &streams, watcher))?
        }
        other => {
            let text = format!("`estimator` is {other}: give hutchinson, hutch++ or xtrace");
            return Err(PyValueError::new_err(text));
        }
    };
    let population = found.population_ci95();
    json(&Told { report: &found, population_ci95: population })
}

/// A report of a trace with the interval that joins both errors.
#[derive(Serialize)]
struct Told<'a, T> {
    #[serde(flatten)]
    report: &'a T,
    population_ci95: Option<[f64; 2]>,
}

/// A name that has been looked up.
pub(crate) fn chosen<T: std::str::FromStr<Err: std::fmt::Display>>(argument: &str, name: &str) -> PyResult<T> {
    name.parse().map_err(|e: T::Err| PyValueError::new_err(format!("`{argument}` is {name}: {e}")))
}

/// The largest and smallest eigenvalues, with their vectors: the upper ones first.
#[pyfunction]
#[pyo3(signature = (operator, *, top, bottom, max_matvecs, rel_tol, seed, observe))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub(crate) fn eig<'py>(
    py: Python<'py>,
    operator: &Bound<'py, Operator>,
    top: usize,
    bottom: usize,
    max_matvecs: u64,
    rel_tol: f64,
    seed: u64,
    observe: Option<Py<PyAny>>,
) -> PyResult<(String, Vec<Bound<'py, PyAny>>)> {
    let it = Lanczos::new(LanczosConfig { top, bottom, max_matvecs, rel_tol }).map_err(exception)?;
    let streams = Streams::new(seed);
    let found = run(py, operator.get(), observe, move |op, watcher| it.run(op, &streams, watcher))?;
    let pairs = found.top.iter().chain(&found.bottom);
    let vectors = pairs.map(|pair| array::to_python(py, &pair.vector)).collect::<PyResult<_>>()?;
    Ok((json(&found)?, vectors))
}

/// The density of all eigenvalues.
#[pyfunction]
#[pyo3(signature = (operator, *, probes, steps, width, points, seed, observe))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub(crate) fn density(
    py: Python<'_>,
    operator: &Bound<'_, Operator>,
    probes: u64,
    steps: usize,
    width: f64,
    points: usize,
    seed: u64,
    observe: Option<Py<PyAny>>,
) -> PyResult<String> {
    let it = SpectralDensity::new(DensityConfig { probes, steps, width, points }).map_err(exception)?;
    let streams = Streams::new(seed);
    json(&run(py, operator.get(), observe, move |op, watcher| it.run(op, &streams, watcher))?)
}

/// The diagonal and its standard errors, if there are any.
#[pyfunction]
#[pyo3(signature = (operator, *, max_probes, distribution, seed, observe))]
pub(crate) fn diagonal<'py>(
    py: Python<'py>,
    operator: &Bound<'py, Operator>,
    max_probes: u64,
    distribution: &str,
    seed: u64,
    observe: Option<Py<PyAny>>,
) -> PyResult<(String, Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)> {
    let config = TraceConfig::fixed(max_probes).with_probe(chosen("distribution", distribution)?);
    let it = Diagonal::new(config).map_err(exception)?;
    let streams = Streams::new(seed);
    let found = run(py, operator.get(), observe, move |op, watcher| it.run(op, &streams, watcher))?;
    let error = found.std_error.as_ref().map(|e| array::to_python(py, e)).transpose()?;
    Ok((json(&found)?, array::to_python(py, &found.diagonal)?, error))
}
