//! Relu, and shifts and sums by channel, on candle's storage.

use super::device::{New, read, run};
use super::launch::{Launch, POINTWISE};
use super::pointwise;
use crate::{Float, Split, dispatch};
use candle_core::{CudaStorage, Layout, Result, Shape, bail};

type Operand<'a> = (&'a CudaStorage, &'a Layout);

/// An operation whose result is like its first operand.
fn like<T: Float>(
    op: &str,
    (s, l): Operand<'_>,
    other: Option<Operand<'_>>,
    launch: impl Fn(usize, u64, u64, u64) -> Launch,
) -> Result<CudaStorage> {
    let n = l.shape().elem_count();
    let mut y = New::<T>::new(&s.device, n)?;
    let first = read::<T>(op, s, l)?;
    let second = other.map(|(s, l)| read::<T>(op, s, l)).transpose()?;
    let launch = launch(n, first.address, second.as_ref().map_or(0, |x| x.address), y.address());
    // SAFETY: the caller compared the operands' sizes; there is room for the result.
    unsafe { run(&s.device, &POINTWISE, &[launch]) }?;
    Ok(y.storage())
}

/// `max(x, 0)`.
///
/// # Errors
/// An operand that is not contiguous or not f32 or f64; the driver's.
pub fn relu(x: Operand<'_>) -> Result<CudaStorage> {
    dispatch!("relu", x.0.dtype(), T => like::<T>("relu", x, None, |n, x, _, y| pointwise::relu(T::REAL, n, x, y)))
}

fn same(op: &str, a: &Layout, b: &Layout) -> Result<()> {
    if a.shape() != b.shape() {
        bail!("{op}: shapes {:?} and {:?} differ", a.shape(), b.shape());
    }
    Ok(())
}

/// `max(a + b, 0)`.
///
/// # Errors
/// As of [`relu`]; shapes that differ.
pub fn add_relu(a: Operand<'_>, b: Operand<'_>) -> Result<CudaStorage> {
    same("add-relu", a.1, b.1)?;
    dispatch!("add-relu", a.0.dtype(), T => {
        like::<T>("add-relu", a, Some(b), |n, a, b, y| pointwise::add_relu(T::REAL, n, a, b, y))
    })
}

/// `g` where relu gave a positive `y`, else 0.
///
/// # Errors
/// As of [`add_relu`].
pub fn relu_mask(g: Operand<'_>, y: Operand<'_>) -> Result<CudaStorage> {
    same("relu-mask", g.1, y.1)?;
    dispatch!("relu-mask", g.0.dtype(), T => {
        like::<T>("relu-mask", g, Some(y), |n, g, y, out| pointwise::relu_mask(T::REAL, n, g, y, out))
    })
}

/// `x` plus a shift a channel.
///
/// # Errors
/// As of [`relu`]; a wrong number of shifts.
pub fn channel_shift(x: Operand<'_>, shift: Operand<'_>) -> Result<CudaStorage> {
    let split = Split::of(x.1.shape())?;
    if shift.1.shape().elem_count() != split.channels {
        bail!("channel-shift: {} shifts for {} channels", shift.1.shape().elem_count(), split.channels);
    }
    dispatch!("channel-shift", x.0.dtype(), T => {
        let launch = |_, x, by, y| pointwise::channel_shift(T::REAL, split, x, by, false, y);
        like::<T>("channel-shift", x, Some(shift), launch)
    })
}

/// The sum of every channel.
///
/// # Errors
/// As of [`relu`].
pub fn channel_sum((s, l): Operand<'_>) -> Result<(CudaStorage, Shape)> {
    let split = Split::of(l.shape())?;
    dispatch!("channel-sum", s.dtype(), T => {
        let x = read::<T>("channel-sum", s, l)?;
        let mut out = New::<T>::new(&s.device, split.channels)?;
        let mut partial = match pointwise::partial(split) {
            0 => None,
            n => Some(New::<f64>::new(&s.device, n)?),
        };
        let room = partial.as_mut().map_or(0, New::address);
        // SAFETY: the operand's elements were counted by its shape; room for a sum a channel and run.
        unsafe { run(&s.device, &POINTWISE, &pointwise::channel_sum(T::REAL, split, x.address, room, out.address())) }?;
        Ok((out.storage(), Shape::from(split.channels)))
    })
}

/// The mean of every plane: `(n, c, h, w)` to `(n, c)`.
///
/// # Errors
/// As of [`relu`]; anything but four dimensions.
pub fn plane_mean((s, l): Operand<'_>) -> Result<(CudaStorage, Shape)> {
    let (n, c, h, w) = l.shape().dims4()?;
    dispatch!("global-mean", s.dtype(), T => {
        let x = read::<T>("global-mean", s, l)?;
        let mut y = New::<T>::new(&s.device, n * c)?;
        // SAFETY: the operand's elements were counted by its shape; room for every plane.
        unsafe { run(&s.device, &POINTWISE, &[pointwise::plane_mean(T::REAL, n * c, h * w, x.address, y.address())]) }?;
        Ok((y.storage(), Shape::from((n, c))))
    })
}

/// An equal share of a number a plane for each of its `h x w` elements.
///
/// # Errors
/// As of [`relu`]; anything but two dimensions.
pub fn plane_share((s, l): Operand<'_>, (h, w): (usize, usize)) -> Result<(CudaStorage, Shape)> {
    let (n, c) = l.shape().dims2()?;
    dispatch!("global-mean", s.dtype(), T => {
        let g = read::<T>("global-mean", s, l)?;
        let mut x = New::<T>::new(&s.device, n * c * h * w)?;
        // SAFETY: as in `plane_mean`.
        unsafe { run(&s.device, &POINTWISE, &[pointwise::plane_share(T::REAL, n * c, h * w, g.address, x.address())]) }?;
        Ok((x.storage(), Shape::from((n, c, h, w))))
    })
}
