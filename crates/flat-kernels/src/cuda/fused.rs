//! A shift a channel with what comes after it, and the gradients of both, a launch each.

use super::device::{New, read, run, tensor};
use super::launch::{POINTWISE, POOL};
use super::layers::{cuda, device, plain};
use super::{max_pool, pointwise};
use crate::{Float, Split, Windows, dispatch};
use candle_core::{Result, Tensor, bail};

/// Elements of a channel that one block sums beside the gradient of its other elements.
const SUMMED_BESIDE: usize = 1 << 16;

/// Whether the gradients of these functions are one launch: not for more elements a channel than one block sums in the time.
pub fn fits(of: Split) -> bool {
    of.count() <= SUMMED_BESIDE
}

fn channels(op: &str, x: &Tensor, shift: &Tensor) -> Result<Split> {
    let split = Split::of(x.shape())?;
    if shift.elem_count() != split.channels {
        bail!("{op}: {} shifts for {} channels", shift.elem_count(), split.channels);
    }
    Ok(split)
}

/// `max(x + shift, 0)`, a shift a channel.
///
/// # Errors
/// Shapes that do not fit; the driver's.
pub fn shift_relu(x: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let (split, device) = (channels("shift-relu", x, shift)?, device("shift-relu", x)?);
    let operands = [plain(x)?, plain(shift)?];
    let guards = operands.each_ref().map(Tensor::storage_and_layout);
    dispatch!("shift-relu", x.dtype(), T => {
        let read = |i: usize| read::<T>("shift-relu", cuda("shift-relu", &guards[i].0)?, guards[i].1);
        let (a, by) = (read(0)?, read(1)?);
        let mut y = New::<T>::new(&device, split.elements())?;
        let launch = pointwise::channel_shift(T::REAL, split, a.address, by.address, true, y.address());
        // SAFETY: the operands' sizes were compared; room for every element.
        unsafe { run(&device, &POINTWISE, &[launch]) }?;
        Ok(tensor(y, x.shape()))
    })
}

/// The gradients of [`shift_relu`], which gave `y`: of `x`, and of the shifts.
///
/// # Errors
/// As there.
pub fn shift_relu_gradient(g: &Tensor, y: &Tensor) -> Result<[Tensor; 2]> {
    let (split, device) = (Split::of(y.shape())?, device("shift-relu", y)?);
    let operands = [plain(g)?, plain(y)?];
    if g.shape() != y.shape() {
        bail!("shift-relu: a gradient {:?} for {:?}", g.shape(), y.shape());
    }
    let guards = operands.each_ref().map(Tensor::storage_and_layout);
    dispatch!("shift-relu", y.dtype(), T => {
        let read = |i: usize| read::<T>("shift-relu", cuda("shift-relu", &guards[i].0)?, guards[i].1);
        let (a, b) = (read(0)?, read(1)?);
        let (mut dx, mut sums) = (New::<T>::new(&device, split.elements())?, New::<T>::new(&device, split.channels)?);
        let launch = pointwise::shift_gradient(T::REAL, split, a.address, b.address, dx.address(), sums.address());
        // SAFETY: as in `shift_relu`.
        unsafe { run(&device, &POINTWISE, &[launch]) }?;
        Ok([tensor(dx, y.shape()), tensor(sums, split.channels)])
    })
}

/// `max(maximum of x + shift, 0)` over windows of `(n, c, h, w)`, a shift a channel, and the places of the maxima.
///
/// # Errors
/// Shapes that do not fit; the driver's.
pub fn shift_pool_relu(of: Windows, x: &Tensor, shift: &Tensor) -> Result<[Tensor; 2]> {
    let (split, device) = (channels("shift-pool-relu", x, shift)?, device("shift-pool-relu", x)?);
    let operands = [plain(x)?, plain(shift)?];
    let guards = operands.each_ref().map(Tensor::storage_and_layout);
    dispatch!("shift-pool-relu", x.dtype(), T => {
        let read = |i: usize| read::<T>("shift-pool-relu", cuda("shift-pool-relu", &guards[i].0)?, guards[i].1);
        let (a, by) = (read(0)?, read(1)?);
        let (mut y, mut places) = (New::<T>::new(&device, of.outputs())?, New::<u32>::new(&device, of.outputs())?);
        let by = (by.address, split.channels);
        let launch = max_pool::shifted(T::REAL, of, a.address, by, y.address(), places.address());
        // SAFETY: the input's elements were counted by its shape; room for every output.
        unsafe { run(&device, &POOL, &[launch]) }?;
        let shape = (split.outer, split.channels, of.oh, of.ow);
        Ok([tensor(y, shape), tensor(places, shape)])
    })
}

/// The gradients of [`shift_pool_relu`], which gave `y` and the places: of `x`, and of the shifts.
///
/// # Errors
/// As there.
pub fn shift_pool_relu_gradient(of: Windows, g: &Tensor, y: &Tensor, places: &Tensor) -> Result<[Tensor; 2]> {
    let (split, device) = (Split::of(y.shape())?, device("shift-pool-relu", y)?);
    if g.shape() != y.shape() || places.shape() != y.shape() {
        bail!("shift-pool-relu: a gradient {:?} for {:?}", g.shape(), y.shape());
    }
    let operands = [plain(g)?, plain(y)?, plain(places)?];
    let guards = operands.each_ref().map(Tensor::storage_and_layout);
    dispatch!("shift-pool-relu", y.dtype(), T => {
        let at = |i: usize| cuda("shift-pool-relu", &guards[i].0);
        let (a, b) = (read::<T>("shift-pool-relu", at(0)?, guards[0].1)?, read::<T>("shift-pool-relu", at(1)?, guards[1].1)?);
        let p = read::<u32>("shift-pool-relu", at(2)?, guards[2].1)?;
        let (mut dx, mut sums) = (New::<T>::new(&device, of.inputs())?, New::<T>::new(&device, split.channels)?);
        let shift = (sums.address(), split.channels);
        let operands = [a.address, p.address, dx.address()];
        let launch = max_pool::shifted_gradient(T::REAL, of, operands, b.address, shift);
        // SAFETY: a gradient and a place for every output; room for every input and channel.
        unsafe { run(&device, &POOL, &[launch]) }?;
        Ok([tensor(dx, (split.outer, split.channels, of.h, of.w)), tensor(sums, split.channels)])
    })
}
