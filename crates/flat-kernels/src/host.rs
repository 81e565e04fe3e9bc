//! Access to the elements of candle tensors on the host.

use crate::Float;
use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, bail};
use std::array::from_fn;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;

fn whole(op: &str, layout: &Layout) -> Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("{op}: the operands must be contiguous"),
    }
}

/// The elements of a contiguous operand.
///
/// # Errors
/// Another element type; an operand that is not contiguous.
pub fn contiguous<'a, T: Float>(op: &str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match T::slice(storage) {
        Some(data) => Ok(&data[whole(op, layout)?]),
        None => bail!("{op}: the operands must have one element type"),
    }
}

/// The elements of a contiguous tensor whose storage and layout were borrowed.
///
/// # Errors
/// As [`contiguous`]; a tensor on another device.
pub fn elements<'a, T: Float>(op: &str, storage: &'a Storage, layout: &Layout) -> Result<&'a [T]> {
    match storage {
        Storage::Cpu(storage) => contiguous(op, storage, layout),
        _ => bail!("{op}: the operands must be on one device"),
    }
}

/// Calls `f` with the elements of contiguous tensors.
///
/// # Errors
/// As [`elements`].
pub fn with_slices<T: Float, const N: usize, R>(
    op: &str,
    tensors: [&Tensor; N],
    f: impl FnOnce([&[T]; N]) -> R,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[T]; N] = from_fn(|_| &[][..]);
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        *slice = elements(op, storage, layout)?;
    }
    Ok(f(slices))
}

/// [`with_slices`] for any number of tensors.
///
/// # Errors
/// As [`elements`].
pub fn with_all_slices<T: Float, R>(op: &str, tensors: &[&Tensor], f: impl FnOnce(&[&[T]]) -> R) -> Result<R> {
    let guards: Vec<_> = tensors.iter().map(|t| t.storage_and_layout()).collect();
    let slices = guards.iter().map(|(s, l)| elements(op, s, l)).collect::<Result<Vec<&[T]>>>()?;
    Ok(f(&slices))
}

/// Calls `f` with the elements of a contiguous tensor, to be written in place.
///
/// # Errors
/// As [`elements`]; those of `f`.
pub fn with_slice_mut<T: Float, R>(tensor: &Tensor, f: impl FnOnce(&mut [T]) -> Result<R>) -> Result<R> {
    let loan = SliceLoan { f: Cell::new(Some(f)), result: Cell::new(None), of: PhantomData };
    tensor.inplace_op1(&loan)?;
    match loan.result.take() {
        Some(result) => result,
        None => bail!("expected a tensor on the host"),
    }
}

/// The one way to a tensor's elements that candle opens is an operation in place.
struct SliceLoan<T, F, R> {
    f: Cell<Option<F>>,
    result: Cell<Option<Result<R>>>,
    of: PhantomData<fn(T)>,
}

impl<T: Float, R, F: FnOnce(&mut [T]) -> Result<R>> InplaceOp1 for SliceLoan<T, F, R> {
    fn name(&self) -> &'static str {
        "slice-loan"
    }
    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        match T::slice_mut(storage) {
            Some(data) => {
                let slice = &mut data[whole(self.name(), layout)?];
                self.result.set(self.f.take().map(|f| f(slice)));
                Ok(())
            }
            None => bail!("expected another element type in a vector"),
        }
    }
}

/// [`with_slice_mut`] for several tensors at once; call with `k` = 0 and empty slices.
///
/// # Errors
/// As there.
pub fn with_slices_mut<T: Float, const N: usize>(
    tensors: [&Tensor; N],
    k: usize,
    held: [&mut [T]; N],
    f: &mut dyn FnMut([&mut [T]; N]) -> Result<()>,
) -> Result<()> {
    if k == N {
        return f(held);
    }
    with_slice_mut(tensors[k], |slice: &mut [T]| {
        let mut held = held;
        held[k] = slice;
        with_slices_mut(tensors, k + 1, held, f)
    })
}
