//! Vectors that cross between NumPy arrays and the flat vectors of the estimators: one copy each way.

use candle_core::{CpuStorage, DType, Device, Shape, Storage, Tensor, WithDType};
use flat_core::{Layout, ParamVec, Space};
use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
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

/// A new NumPy array of the vector's numbers, which the receiver owns.
///
/// # Errors
/// A vector that is not on the host; NumPy's own.
pub(crate) fn to_python<'py>(py: Python<'py>, v: &ParamVec) -> PyResult<Bound<'py, PyAny>> {
    let name = if v.dtype() == DType::F32 { "float32" } else { "float64" };
    let array = py.import("numpy")?.call_method1("empty", (v.layout().len(), name))?;
    let (storage, layout) = v.as_tensor().storage_and_layout();
    let part = layout.contiguous_offsets();
    match (&*storage, part) {
        (Storage::Cpu(CpuStorage::F32(x)), Some((from, to))) => {
            PyBuffer::<f32>::get(&array)?.copy_from_slice(py, &x[from..to])?;
        }
        (Storage::Cpu(CpuStorage::F64(x)), Some((from, to))) => {
            PyBuffer::<f64>::get(&array)?.copy_from_slice(py, &x[from..to])?;
        }
        _ => return Err(PyRuntimeError::new_err("a vector that is not contiguous on the host")),
    }
    Ok(array)
}

/// The vector of a contiguous array of the space's element type, or of any other buffer of such numbers.
///
/// # Errors
/// `TypeError` for anything else; `ValueError` for another length.
pub(crate) fn from_python(space: &Space, array: &Bound<'_, PyAny>) -> PyResult<ParamVec> {
    let d = space.layout.len();
    let flat = match space.dtype {
        DType::F32 => tensor::<f32>(array, d)?,
        _ => tensor::<f64>(array, d)?,
    };
    ParamVec::from_tensor(space.layout.clone(), flat).map_err(|e| PyValueError::new_err(e.to_string()))
}

fn tensor<T: Element + WithDType>(array: &Bound<'_, PyAny>, d: usize) -> PyResult<Tensor> {
    let buffer = PyBuffer::<T>::get(array).map_err(|e| {
        PyTypeError::new_err(format!("the callable must return an array of the operator's element type: {e}"))
    })?;
    if buffer.item_count() != d {
        let text = format!("the callable returned {} numbers for a vector of {d}", buffer.item_count());
        return Err(PyValueError::new_err(text));
    }
    let elements = buffer.to_vec(array.py())?;
    Tensor::from_vec(elements, d, &Device::Cpu).map_err(|e| PyValueError::new_err(e.to_string()))
}
