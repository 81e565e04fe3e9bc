//! The elements of a vector, lent to those who write them in place.

use super::ParamVec;
use crate::{Error, Result};
use candle_core::DType;
use flat_kernels::host;

/// The elements of a vector in main memory.
#[derive(Debug)]
pub enum Lent<'a> {
    /// Of a vector of `F32`.
    F32(&'a mut [f32]),
    /// Of a vector of `F64`.
    F64(&'a mut [f64]),
}

/// The elements of a vector in main memory, to look at.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// Of a vector of `F32`.
    F32(&'a [f32]),
    /// Of a vector of `F64`.
    F64(&'a [f64]),
}

impl ParamVec {
    /// Shows the elements to `f`: no copy is made, and the buffer may still serve the next vector.
    ///
    /// # Errors
    /// A vector that is not in main memory; candle's.
    pub fn show<R>(&self, f: impl FnOnce(Shown<'_>) -> R) -> Result<R> {
        match self.dtype() {
            DType::F64 => super::read([self], |[x]: [&[f64]; 1]| f(Shown::F64(x))),
            _ => super::read([self], |[x]: [&[f32]; 1]| f(Shown::F32(x))),
        }
    }

    /// Lends the elements to `f`, which may change them: no copy is made.
    ///
    /// # Errors
    /// [`Error::LayoutMismatch`] for a vector that is not in main memory; candle's.
    pub fn lend<R>(&mut self, f: impl FnOnce(Lent<'_>) -> R) -> Result<R> {
        if !self.on_cpu() {
            return Err(Error::LayoutMismatch("a vector on a device has no elements in main memory to lend".into()));
        }
        self.forget_square();
        Ok(match self.dtype() {
            DType::F64 => host::with_slice_mut(self.flat(), |x: &mut [f64]| Ok(f(Lent::F64(x))))?,
            _ => host::with_slice_mut(self.flat(), |x: &mut [f32]| Ok(f(Lent::F32(x))))?,
        })
    }
}
