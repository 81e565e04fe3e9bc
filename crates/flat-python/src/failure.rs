//! Failures on their way from a callable through an estimator back to Python.

use flat_metrics::Error;
use pyo3::exceptions::{PyFloatingPointError, PyKeyboardInterrupt, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// The exception that a callable raised while an estimator ran. The estimator is told of an error of its own kind, and
/// the exception, with its traceback, is what Python sees in the end.
#[derive(Clone, Default)]
pub(crate) struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    /// Keeps the first exception, and gives the error that ends the estimator.
    pub(crate) fn keep(&self, exception: PyErr) -> Error {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(exception);
        Error::BadObjective("the callable raised".into())
    }

    /// The result of an estimator, or the exception that ended it.
    ///
    /// # Errors
    /// The exception kept; `ValueError` for a setting out of range; `FloatingPointError` for a NaN or an infinity;
    /// `RuntimeError` for all else.
    pub(crate) fn or<T>(&self, result: flat_metrics::Result<T>) -> PyResult<T> {
        if let Some(exception) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(exception);
        }
        result.map_err(exception)
    }
}

/// The exception that says what the error says.
pub(crate) fn exception(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::BadConfig { .. } | Error::TooManyVectors { .. } | Error::TooLarge { .. } => PyValueError::new_err(text),
        Error::NonFinite { .. } => PyFloatingPointError::new_err(text),
        Error::Interrupted => PyKeyboardInterrupt::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}

/// The exception of what could not be written as JSON.
pub(crate) fn unwritable(error: serde_json::Error) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}
