//! The numbers of a vector as a buffer of Python's: both sides use one memory.
#![allow(unsafe_code)] // a buffer of Python's is a pointer

use candle_core::Tensor;
use flat_core::{Lent, ParamVec, Shown};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

/// The numbers of a vector during a call, as a writable buffer of bytes. Where Python keeps the buffer, its memory stays:
/// what is in it then is of no meaning.
#[pyclass(frozen, module = "flatness._core")]
pub(crate) struct Elements {
    address: usize,
    bytes: usize,
    kept: OnceLock<Tensor>,
}

#[pymethods]
impl Elements {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let it = slf.get();
        let (start, bytes) = (it.address as *mut c_void, it.bytes as ffi::Py_ssize_t);
        // SAFETY: Python gives a place for the view, which holds a reference to `slf`. The memory outlives that:
        // `exchange` lives as long as the vectors during the call, and `kept` holds them where a reference stays.
        match unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, bytes, 0, flags) } {
            0 => Ok(()),
            _ => Err(PyErr::fetch(slf.py())),
        }
    }
}

impl Elements {
    fn new<T>(numbers: &[T]) -> Self {
        Self { address: numbers.as_ptr().addr(), bytes: size_of_val(numbers), kept: OnceLock::new() }
    }
}

/// Calls `call` with the numbers of `v` and with those of a vector that it is to write, which is returned.
///
/// # Errors
/// Vectors that are not on the host; those of `call`.
pub(crate) fn exchange<R>(
    py: Python<'_>,
    v: &ParamVec,
    call: impl FnOnce(&Bound<'_, Elements>, &Bound<'_, Elements>) -> PyResult<R>,
) -> PyResult<(ParamVec, R)> {
    let failed = |e: flat_core::Error| PyValueError::new_err(e.to_string());
    let mut out = ParamVec::scratch(&v.space()).map_err(failed)?;
    let shown = v.show(|it| match it {
        Shown::F32(x) => Elements::new(x),
        Shown::F64(x) => Elements::new(x),
    });
    let lent = out.lend(|it| match it {
        Lent::F32(x) => Elements::new(x),
        Lent::F64(x) => Elements::new(x),
    });
    let (shown, lent) = (Bound::new(py, shown.map_err(failed)?)?, Bound::new(py, lent.map_err(failed)?)?);
    let said = call(&shown, &lent);
    // SAFETY: the object is alive, and this thread holds the interpreter's lock
    let is_held = |it: &Bound<'_, Elements>| unsafe { ffi::Py_REFCNT(it.as_ptr()) } > 1;
    if is_held(&shown) {
        shown.get().kept.get_or_init(|| v.as_tensor().clone());
    }
    if is_held(&lent) {
        // whoever holds it may still write to it
        let held = out;
        out = held.duplicate().map_err(failed)?;
        lent.get().kept.get_or_init(|| held.as_tensor().clone());
    }
    Ok((out, said?))
}
