//! Points and directions in parameter space.
#![allow(clippy::disallowed_methods)] // these return numbers to the host: whoever calls them is asked why

mod arithmetic;
mod draw;
mod lend;
mod recurrence;

pub use lend::{Lent, Shown};

use crate::{Error, Layout, Result, Space};
use candle_core::{DType, Device, Tensor};
use flat_kernels::{Float, dispatch, host};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A vector over all trainable parameters, in one flat buffer that nothing else shares.
///
/// Reductions accumulate in f64 and return a host number; on CPU every operation is one parallel pass whose result does
/// not depend on the number of threads. The buffer of a vector that goes serves the next one of its layout, unless a
/// tensor was handed out that may still look at it.
#[derive(Debug)]
pub struct ParamVec {
    layout: Arc<Layout>,
    flat: Tensor,
    /// Whether a tensor outside may share the buffer.
    seen: AtomicBool,
    /// `<self, self>`, where it is known.
    square: Option<f64>,
    /// The same on a device, where the host did not ask for it yet.
    remote: Option<Tensor>,
}

impl ParamVec {
    /// The zero vector.
    ///
    /// # Errors
    /// candle's.
    pub fn zeros(space: &Space) -> Result<Self> {
        if !space.device.is_cpu() {
            let flat = Tensor::zeros(space.layout.len(), space.dtype, &space.device)?;
            return Ok(Self::own(space.layout.clone(), flat));
        }
        dispatch!("a vector", space.dtype, T => Self::filled(space, |_, out: &mut [T]| out.fill(T::from_f64(0.0))))
    }

    /// A vector with arbitrary contents (a recycled buffer), to be the state that a recurrence writes without a look at it.
    ///
    /// # Errors
    /// candle's.
    pub fn scratch(space: &Space) -> Result<Self> {
        #[cfg(feature = "cuda")]
        if space.device.is_cuda() {
            let (len, device) = (space.layout.len(), &space.device);
            let flat = dispatch!("a vector", space.dtype, T => flat_kernels::cuda::parameters::uninitialised::<T>(len, device))?;
            return Ok(Self::own(space.layout.clone(), flat));
        }
        let spare = if space.device.is_cpu() { space.layout.spare.take(space.dtype, &space.device) } else { None };
        let flat = match spare {
            Some(flat) => flat,
            None => Tensor::zeros(space.layout.len(), space.dtype, &space.device)?,
        };
        Ok(Self::own(space.layout.clone(), flat))
    }

    /// Takes a tensor that nothing else shares.
    pub(crate) fn own(layout: Arc<Layout>, flat: Tensor) -> Self {
        Self { layout, flat, seen: AtomicBool::new(false), square: None, remote: None }
    }

    /// Wraps a one-dimensional tensor that nobody else will write to.
    ///
    /// # Errors
    /// A tensor whose length is not the layout's.
    pub fn from_tensor(layout: Arc<Layout>, flat: Tensor) -> Result<Self> {
        if flat.dims() != [layout.len()] {
            return Err(Error::LayoutMismatch(format!("{:?} elements for d = {}", flat.dims(), layout.len())));
        }
        let mut wrapped = Self::own(layout, flat.contiguous()?);
        *wrapped.seen.get_mut() = true;
        Ok(wrapped)
    }

    /// Names, shapes and offsets.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The space this vector lives in.
    pub fn space(&self) -> Space {
        Space { layout: self.layout.clone(), dtype: self.dtype(), device: self.flat.device().clone() }
    }

    /// `F32` or `F64`.
    pub fn dtype(&self) -> DType {
        self.flat.dtype()
    }

    /// The flat tensor, to read from.
    pub fn as_tensor(&self) -> &Tensor {
        self.seen.store(true, Ordering::Relaxed);
        &self.flat
    }

    /// The flat tensor, for those who do not keep it.
    pub(crate) fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// A view of the `i`-th parameter's part, in its own shape.
    ///
    /// # Errors
    /// candle's.
    pub fn entry(&self, i: usize) -> Result<Tensor> {
        self.seen.store(true, Ordering::Relaxed);
        self.part(i)
    }

    /// [`Self::entry`], for those who do not keep it.
    pub(crate) fn part(&self, i: usize) -> Result<Tensor> {
        let e = &self.layout.entries()[i];
        Ok(self.flat.narrow(0, e.offset, e.len)?.reshape(&e.shape)?)
    }

    /// All elements on the host.
    ///
    /// # Errors
    /// candle's.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        Ok(self.flat.to_dtype(DType::F64)?.to_vec1()?)
    }

    /// The square of the norm, found while the elements were written.
    pub(crate) fn know_square(&mut self, square: f64) {
        self.square = Some(square);
    }

    /// [`Self::know_square`] with a number that is still on the device.
    #[cfg(feature = "cuda")]
    pub(crate) fn know_remote_square(&mut self, square: Tensor) {
        self.remote = Some(square);
    }

    /// `<self, self>` as a number of the device, without waiting for it.
    #[cfg(feature = "cuda")]
    pub(crate) fn remote_square(&self) -> Result<Tensor> {
        match (&self.remote, self.square) {
            (Some(square), _) => Ok(square.clone()),
            (None, Some(square)) => Ok(Tensor::new(&[square], self.flat.device())?),
            (None, None) => Ok(
                dispatch!("a vector", self.dtype(), T => flat_kernels::cuda::parameters::dot::<T>(&self.flat, &self.flat))?,
            ),
        }
    }

    pub(crate) fn forget_square(&mut self) {
        (self.square, self.remote) = (None, None);
    }

    pub(crate) fn set_flat(&mut self, flat: Tensor) {
        self.flat = flat;
        self.forget_square();
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn on_cuda(&self) -> bool {
        self.flat.device().is_cuda()
    }

    pub(crate) fn on_cpu(&self) -> bool {
        self.flat.device().is_cpu()
    }

    fn check(&self, other: &Self) -> Result<()> {
        self.fits(&other.layout, other.dtype(), other.flat.device())
    }

    /// Refuses a vector of another space.
    pub(crate) fn check_space(&self, space: &Space) -> Result<()> {
        self.fits(&space.layout, space.dtype, &space.device)
    }

    fn fits(&self, layout: &Arc<Layout>, dtype: DType, device: &Device) -> Result<()> {
        if self.dtype() != dtype || !self.flat.device().same_device(device) {
            let (here, there) = (self.flat.device().location(), device.location());
            let text = format!("a vector of {:?} on {here:?} against {dtype:?} on {there:?}", self.dtype());
            return Err(Error::LayoutMismatch(text));
        }
        if Arc::ptr_eq(&self.layout, layout) { Ok(()) } else { self.layout.same_as(layout) }
    }

    /// Refuses a source that wraps the very tensor that is to be written: it could be neither locked nor read.
    pub(crate) fn check_unaliased(&self, other: &Self) -> Result<()> {
        let at = |x: &Self| std::ptr::from_ref(&*x.flat.storage_and_layout().0).addr();
        if at(self) == at(other) {
            return Err(Error::LayoutMismatch("two vectors wrap one tensor; duplicate it first".into()));
        }
        Ok(())
    }
}

impl Drop for ParamVec {
    fn drop(&mut self) {
        // another device has a pool of its own, and an allocation that is read before it is written can be found
        if self.flat.device().is_cpu() && !*self.seen.get_mut() {
            self.layout.spare.give(self.flat.clone());
        }
    }
}

/// Calls `f` with the elements of vectors on the host.
pub(crate) fn read<T: Float, const M: usize, R>(vectors: [&ParamVec; M], f: impl FnOnce([&[T]; M]) -> R) -> Result<R> {
    Ok(host::with_slices("a vector", vectors.map(|x| &x.flat), f)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, Streams};
    use candle_core::Shape;

    pub(super) fn space(d: usize, dtype: DType) -> Result<Space> {
        let layout = Layout::new([("a".into(), Shape::from(d - 1)), ("b".into(), Shape::from(1))])?;
        Ok(Space { layout: Arc::new(layout), dtype, device: Device::Cpu })
    }

    #[test]
    fn vectors_of_other_layouts_are_refused() -> Result<()> {
        let a = ParamVec::zeros(&space(4, DType::F32)?)?;
        let b = ParamVec::zeros(&space(5, DType::F32)?)?;
        assert!(a.dot(&b).is_err());
        Ok(())
    }

    #[test]
    fn a_buffer_is_reused_only_when_no_tensor_looks_at_it() -> Result<()> {
        let space = space(10, DType::F64)?;
        let s = Streams::new(7);
        let x = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 0))?;
        let (view, before) = (x.entry(0)?, x.to_f64()?);
        drop(x);
        let y = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 1))?;
        let (whole, after) = (y.as_tensor().clone(), y.to_f64()?);
        drop(y);
        let wrapped = Tensor::new(&[1.0f64; 10], &Device::Cpu)?;
        drop(ParamVec::from_tensor(space.layout.clone(), wrapped.clone())?);
        for _ in 0..3 {
            ParamVec::gaussian(&space, 9.0, &s.at(Purpose::Test, 2))?;
        }
        assert_eq!(view.to_vec1::<f64>()?, before[..9]);
        assert_eq!(whole.to_vec1::<f64>()?, after);
        assert_eq!(wrapped.to_vec1::<f64>()?, [1.0; 10]);
        assert_eq!(ParamVec::zeros(&space)?.to_f64()?, [0.0; 10], "zeros whatever was there before");
        Ok(())
    }

    #[test]
    fn two_vectors_over_one_tensor_are_refused_where_one_is_written() -> Result<()> {
        let space = space(3, DType::F64)?;
        let t = Tensor::new(&[1.0f64, 2.0, 3.0], &Device::Cpu)?;
        let mut a = ParamVec::from_tensor(space.layout.clone(), t.clone())?;
        let b = ParamVec::from_tensor(space.layout.clone(), t)?;
        assert!(a.add_scaled(1.0, &b).is_err());
        assert_eq!(a.dot(&b)?, 14.0);
        Ok(())
    }
}
