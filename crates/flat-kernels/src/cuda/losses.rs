//! The kernels of softmax and the losses on candle's storage.

use super::device::{New, Read, read, run, tensor};
use super::launch::SOFTMAX;
use super::layers::{cuda, device, plain};
use super::softmax::{self as rows, Kind};
use crate::{Float, dispatch};
use candle_core::{CudaStorage, DType, Layout, Result, Shape, Tensor, bail};

type Operand<'a> = (&'a CudaStorage, &'a Layout);

/// Probabilities of rows of logits.
///
/// # Errors
/// Operands that are not contiguous or not f32 or f64; the driver's.
pub fn softmax((s, l): Operand<'_>) -> Result<(CudaStorage, Shape)> {
    let (n, k) = l.shape().dims2()?;
    dispatch!("softmax", s.dtype(), T => {
        let z = read::<T>("softmax", s, l)?;
        let mut p = New::<T>::new(&s.device, n * k)?;
        // SAFETY: n rows of k on both sides.
        unsafe { run(&s.device, &SOFTMAX, &[rows::softmax(T::REAL, n, k, z.address, p.address())]) }?;
        Ok((p.storage(), l.shape().clone()))
    })
}

/// A loss a row of logits and targets.
///
/// # Errors
/// Operands that are not contiguous or not f32 or f64; the driver's.
pub fn cross_entropy((s1, l1): Operand<'_>, (s2, l2): Operand<'_>) -> Result<(CudaStorage, Shape)> {
    let (n, k) = l1.shape().dims2()?;
    if l1.shape() != l2.shape() {
        bail!("cross-entropy: logits {:?} for targets {:?}", l1.shape(), l2.shape());
    }
    dispatch!("cross-entropy", s1.dtype(), T => {
        let (z, t) = (read::<T>("cross-entropy", s1, l1)?, read::<T>("cross-entropy", s2, l2)?);
        let mut loss = New::<T>::new(&s1.device, n)?;
        let launch = rows::cross_entropy(T::REAL, n, k, z.address, t.address, loss.address());
        // SAFETY: n rows of k, n losses.
        unsafe { run(&s1.device, &SOFTMAX, &[launch]) }?;
        Ok((loss.storage(), Shape::from(n)))
    })
}

/// `(softmax(z) - t) g`, with a `g` a row; no gradient goes through it.
///
/// # Errors
/// Operands that are not contiguous or not f32 or f64; the driver's.
pub fn cross_entropy_gradient(z: &Tensor, t: &Tensor, g: &Tensor) -> Result<Tensor> {
    let ((n, k), device) = (z.dims2()?, device("cross-entropy", z)?);
    let operands = [plain(z)?, plain(t)?, plain(g)?];
    if operands[1].dims() != [n, k] || operands[2].dims() != [n] {
        bail!("cross-entropy: gradients {:?} of {:?}", g.shape(), z.shape());
    }
    let guards = operands.each_ref().map(Tensor::storage_and_layout);
    dispatch!("cross-entropy", z.dtype(), T => {
        let read = |i: usize| -> Result<Read<'_>> {
            let (s, l) = &guards[i];
            read::<T>("cross-entropy", cuda("cross-entropy", s)?, l)
        };
        let (z, t, g) = (read(0)?, read(1)?, read(2)?);
        let mut dz = New::<T>::new(&device, n * k)?;
        let launch = rows::cross_entropy_gradient(T::REAL, n, k, z.address, t.address, g.address, dz.address());
        // SAFETY: n rows of k, n gradients.
        unsafe { run(&device, &SOFTMAX, &[launch]) }?;
        Ok(tensor(dz, (n, k)))
    })
}

/// The mean loss of logits `(n, k)` and labels, the number of right answers, and the gradient of the mean loss. The first two
/// are f64 of no dimension.
///
/// # Errors
/// Operands that do not fit; the driver's.
pub fn mean_loss(z: &Tensor, labels: &Tensor, kind: Kind) -> Result<[Tensor; 3]> {
    let ((n, k), device) = (z.dims2()?, device("loss", z)?);
    if labels.dims() != [n] || n == 0 || k == 0 {
        bail!("loss: labels {:?} for logits {:?}", labels.shape(), z.shape());
    }
    let operands = [plain(z)?, plain(&labels.to_dtype(DType::U32)?)?];
    let guards = operands.each_ref().map(Tensor::storage_and_layout);
    dispatch!("loss", z.dtype(), T => {
        let z = read::<T>("loss", cuda("loss", &guards[0].0)?, guards[0].1)?;
        let labels = read::<u32>("loss", cuda("loss", &guards[1].0)?, guards[1].1)?;
        let (mut dz, mut out) = (New::<T>::new(&device, n * k)?, New::<f64>::new(&device, 2)?);
        let mut room = match rows::partial(n, k) {
            0 => None,
            len => Some(New::<f64>::new(&device, len)?),
        };
        let room = room.as_mut().map_or(0, New::address);
        let operands = [z.address, labels.address];
        let launches = rows::mean_loss(T::REAL, (n, k), kind, operands, dz.address(), room, out.address());
        // SAFETY: n rows of k, n labels, room for the sums; memory is freed in the stream's order.
        unsafe { run(&device, &SOFTMAX, &launches) }?;
        let out = tensor(out, 2);
        Ok([out.get(0)?, out.get(1)?, tensor(dz, (n, k))])
    })
}
