//! Rounding of operands and results of products, as [`Precision`] asks.

use crate::precision::Precision;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result};
use flat_kernels::Float;
use flat_kernels::host::contiguous;
use std::borrow::Cow;

/// The contiguous elements of an operand of a product.
pub(crate) fn operand<'a, T: Float>(op: &str, storage: &'a CpuStorage, layout: &Layout) -> Result<Cow<'a, [T]>> {
    let x = contiguous(op, storage, layout)?;
    Ok(match Precision::rounds(storage.dtype()) {
        true => Cow::Owned(x.iter().map(|x: &T| x.to_bf16()).collect()),
        false => Cow::Borrowed(x),
    })
}

/// The result of a product.
pub(crate) fn result<T: Float>(mut x: Vec<T>) -> Vec<T> {
    if Precision::current() == Precision::Bf16 {
        x.iter_mut().for_each(|x| *x = x.to_bf16());
    }
    x
}
