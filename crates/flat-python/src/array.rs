//! Vectors that cross between NumPy arrays and the flat vectors of the estimators: one copy each way.

use candle_core::{DType, Device, Shape, Tensor};
use flat_core::{Layout, ParamVec, Space};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::sync::Arc;

/// The space of the named parameters, on the host.
///
/// # Errors
/// `ValueError` for an element type other than `float32` and `float64`, for two parameters of one name, and for none.
pub(crate) fn space(parameters: Vec<(String, Vec<usize>)>, dtype: &str) -> PyResult<Space> {
    let dtype = match dtype {
        "float32" => DType::F32,
        "float64" => DType::F64,
        other => {
            let text = format!("`dtype` is {other}: give float32 or float64, in which vectors are held");
            return Err(PyValueError::new_err(text));
        }
    };
    let named = parameters.into_iter().map(|(name, shape)| (name, Shape::from(shape)));
    let layout = Layout::new(named).map_err(|e| PyValueError::new_err(e.to_string()))?;
    Ok(Space { layout: Arc::new(layout), dtype, device: Device::Cpu })
}

/// A NumPy array of the vector's numbers, which the receiver owns.
///
/// # Errors
/// candle's, as `RuntimeError`.
pub(crate) fn to_python<'py>(py: Python<'py>, v: &ParamVec) -> PyResult<Bound<'py, PyAny>> {
    let failed = |e: candle_core::Error| pyo3::exceptions::PyRuntimeError::new_err(e.to_string());
    Ok(match v.dtype() {
        DType::F32 => PyArray1::from_vec(py, v.as_tensor().to_vec1::<f32>().map_err(failed)?).into_any(),
        _ => PyArray1::from_vec(py, v.as_tensor().to_vec1::<f64>().map_err(failed)?).into_any(),
    })
}

/// The vector of a contiguous NumPy array of the space's element type.
///
/// # Errors
/// `TypeError` for anything else; `ValueError` for another length.
pub(crate) fn from_python(space: &Space, array: &Bound<'_, PyAny>) -> PyResult<ParamVec> {
    let d = space.layout.len();
    let failed = |e: &dyn std::fmt::Display| PyValueError::new_err(e.to_string());
    let flat = match space.dtype {
        DType::F32 => Tensor::from_vec(elements::<f32>(array, d)?, d, &Device::Cpu),
        _ => Tensor::from_vec(elements::<f64>(array, d)?, d, &Device::Cpu),
    };
    ParamVec::from_tensor(space.layout.clone(), flat.map_err(|e| failed(&e))?).map_err(|e| failed(&e))
}

fn elements<T: numpy::Element + Copy>(array: &Bound<'_, PyAny>, d: usize) -> PyResult<Vec<T>> {
    let array: PyReadonlyArray1<'_, T> = array.extract().map_err(|_| {
        PyTypeError::new_err("the callable must return a one-dimensional array of the operator's element type")
    })?;
    let elements = array.as_slice().map_err(|_| PyTypeError::new_err("the returned array must be contiguous"))?;
    match elements.len() == d {
        true => Ok(elements.to_vec()),
        false => {
            let text = format!("the callable returned {} numbers for a vector of {d}", elements.len());
            Err(PyValueError::new_err(text))
        }
    }
}
