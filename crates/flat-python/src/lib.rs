//! Python bindings of `flat-metrics`: estimators of any symmetric matrix whose products a Python callable gives.
//!
//! The module `flatness._core` is the part in Rust of the package `flatness`, whose Python files make torch models,
//! SciPy's operators and bare callables into what this module takes. Arithmetic runs without the interpreter's lock;
//! an exception of a callable comes back as itself.

#![deny(unsafe_code)]

mod array;
mod elements;
mod estimators;
mod failure;
mod objective;
mod operator;
mod surface;
mod watcher;

use pyo3::prelude::*;

/// The compiled part of `flatness`.
#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::estimators::{density, diagonal, eig, trace};
    #[pymodule_export]
    use crate::objective::Loss;
    #[pymodule_export]
    use crate::operator::Operator;
    #[pymodule_export]
    use crate::surface::{landscape, sharpness};
}
