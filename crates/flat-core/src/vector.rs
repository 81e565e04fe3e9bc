//! Points and directions in parameter space.

use crate::algebra::{AddProduct, AddRatio, AddScaled, Axpby, AxpbySquared, Copied, Product, Scale, Scaled, Sum};
use crate::whole::Whole;
use crate::{Error, Layout, Result, Space, Stream, Update, rng};
use candle_core::{DType, Device, Tensor};
use flat_kernels::cpu::vector as kernel;
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

/// Whether there are kernels for a vector on this device.
pub(crate) fn has_kernels(device: &Device) -> bool {
    device.is_cpu() || (cfg!(feature = "cuda") && device.is_cuda())
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

    /// A vector whose elements are yet to be written: zeros, or those of a vector that is gone.
    pub(crate) fn scratch(space: &Space) -> Result<Self> {
        let kept = has_kernels(&space.device);
        let spare = if kept { space.layout.spare.take(space.dtype, &space.device) } else { None };
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

    /// A vector of the given numbers, rounded to the space's element type.
    ///
    /// # Errors
    /// A wrong number of elements; candle's.
    pub fn from_f64(space: &Space, x: Vec<f64>) -> Result<Self> {
        if x.len() != space.layout.len() {
            return Err(Error::LayoutMismatch(format!("{} elements for d = {}", x.len(), space.layout.len())));
        }
        Self::quotient(space, &x, 1.0)
    }

    /// `x / by`, computed in f64 and then rounded.
    fn quotient(space: &Space, x: &[f64], by: f64) -> Result<Self> {
        dispatch!("a vector", space.dtype, T => Self::filled(space, |begin, out: &mut [T]| {
            for (out, x) in out.iter_mut().zip(&x[begin..]) {
                *out = T::from_f64(*x / by);
            }
        }))
    }

    /// Independent numbers, drawn in parallel from the sub-streams of `stream`.
    fn drawn(space: &Space, stream: &Stream, draw: impl Fn(&mut Stream) -> f64 + Sync) -> Result<Self> {
        const { assert!(kernel::CHUNK == rng::CHUNK) };
        dispatch!("a vector", space.dtype, T => Self::filled(space, |begin, out: &mut [T]| {
            let mut part = stream.part(begin / rng::CHUNK);
            out.iter_mut().for_each(|x| *x = T::from_f64(draw(&mut part)));
        }))
    }

    /// A vector whose chunks `f` fills on the host, given the place where the chunk begins.
    fn filled<T: Float>(space: &Space, f: impl Fn(usize, &mut [T]) + Sync) -> Result<Self> {
        let host = Space { device: Device::Cpu, ..space.clone() };
        let mut out = Self::scratch(&host)?;
        host::with_slice_mut(&out.flat, |out: &mut [T]| {
            kernel::fill(out, f);
            Ok(())
        })?;
        if !space.device.is_cpu() {
            out = Self::own(space.layout.clone(), out.flat.to_device(&space.device)?);
        }
        Ok(out)
    }

    /// Uniform on the unit sphere of all parameters together: N(0, I_d) divided by its norm.
    ///
    /// # Errors
    /// candle's.
    pub fn sphere(space: &Space, stream: &Stream) -> Result<Self> {
        let x = stream.normals(space.layout.len());
        let norm = kernel::dot(&x, &x).sqrt();
        Self::quotient(space, &x, if norm > 0.0 { norm } else { 1.0 })
    }

    /// N(0, sigma^2 I_d).
    ///
    /// # Errors
    /// candle's.
    pub fn gaussian(space: &Space, sigma: f64, stream: &Stream) -> Result<Self> {
        Self::drawn(space, stream, |part| part.normal() * sigma)
    }

    /// Independent signs, -1 or +1.
    ///
    /// # Errors
    /// candle's.
    pub fn rademacher(space: &Space, stream: &Stream) -> Result<Self> {
        Self::drawn(space, stream, Stream::sign)
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

    /// A copy with a buffer of its own.
    ///
    /// # Errors
    /// candle's.
    pub fn duplicate(&self) -> Result<Self> {
        self.made([self], Copied {})
    }

    /// `<self, other>`, accumulated in f64.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn dot(&self, other: &Self) -> Result<f64> {
        self.check(other)?;
        if self.on_cpu() {
            return dispatch!("a vector", self.dtype(), T => read([self, other], |[x, y]: [&[T]; 2]| kernel::dot(x, y)));
        }
        #[cfg(feature = "cuda")]
        if self.on_cuda() {
            let product = dispatch!("a vector", self.dtype(), T => flat_kernels::cuda::parameters::dot::<T>(&self.flat, &other.flat))?;
            return Ok(product.get(0)?.to_scalar()?);
        }
        let (x, y) = (self.flat.to_dtype(DType::F64)?, other.flat.to_dtype(DType::F64)?);
        Ok((x * y)?.sum_all()?.to_scalar()?)
    }

    /// `<self, other>` as an f64 scalar tensor on the vectors' device, which the host does not wait for. `<g, g>` of a
    /// gradient that was just collected costs nothing.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn dot_tensor(&self, other: &Self) -> Result<Tensor> {
        self.check(other)?;
        #[cfg(feature = "cuda")]
        if self.on_cuda() {
            let product = match std::ptr::eq(self, other) {
                true => self.remote_square()?,
                false => {
                    dispatch!("a vector", self.dtype(), T => flat_kernels::cuda::parameters::dot::<T>(&self.flat, &other.flat))?
                }
            };
            return Ok(product.get(0)?);
        }
        if self.on_cpu() {
            let product = if std::ptr::eq(self, other) { self.square()? } else { self.dot(other)? };
            return Ok(Tensor::new(product, &Device::Cpu)?);
        }
        let (x, y) = (self.flat.to_dtype(DType::F64)?, other.flat.to_dtype(DType::F64)?);
        Ok((x * y)?.sum_all()?)
    }

    /// Euclidean norm. Costs nothing for a gradient that [`crate::Params::gradient`] has just collected.
    ///
    /// # Errors
    /// candle's.
    pub fn norm(&self) -> Result<f64> {
        Ok(self.square()?.sqrt())
    }

    /// `<self, self>`, from where it is known.
    fn square(&self) -> Result<f64> {
        match (self.square, &self.remote) {
            (Some(square), _) => Ok(square),
            (None, Some(remote)) => Ok(remote.get(0)?.to_scalar()?),
            (None, None) => self.dot(self),
        }
    }

    /// `self <- a self + b x`, in place.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn axpby(&mut self, a: f64, b: f64, x: &Self) -> Result<()> {
        self.combine([x], Axpby { a, b })
    }

    /// `self <- a self + b x^2` element by element, in place.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn axpby_squared(&mut self, a: f64, b: f64, x: &Self) -> Result<()> {
        self.combine([x], AxpbySquared { a, b })
    }

    /// `self <- self + alpha x y` element by element, in place.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn add_product(&mut self, alpha: f64, x: &Self, y: &Self) -> Result<()> {
        self.combine([x, y], AddProduct { a: alpha })
    }

    /// `self <- self + alpha x / (sqrt(y) / root + eps)` element by element, in place: Adam's update.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn add_ratio(&mut self, alpha: f64, x: &Self, y: &Self, root: f64, eps: f64) -> Result<()> {
        self.combine([x, y], AddRatio { a: alpha, root, eps })
    }

    /// `self <- self + alpha x`, in place.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn add_scaled(&mut self, alpha: f64, x: &Self) -> Result<()> {
        self.combine([x], AddScaled { a: alpha })
    }

    /// `self <- alpha self`, in place.
    ///
    /// # Errors
    /// candle's.
    pub fn scale(&mut self, alpha: f64) -> Result<()> {
        self.combine([], Scale { a: alpha })
    }

    /// `self + alpha x`, as a new vector.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn plus(&self, alpha: f64, x: &Self) -> Result<Self> {
        self.made([self, x], Sum { a: alpha })
    }

    /// `alpha self`, as a new vector.
    ///
    /// # Errors
    /// candle's.
    pub fn scaled(&self, alpha: f64) -> Result<Self> {
        self.made([self], Scaled { a: alpha })
    }

    /// The part orthogonal to `u`: `self - (<u, self> / ||u||^2) u`; `self` where `u` is zero.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn reject(&self, u: &Self) -> Result<Self> {
        self.plus(-self.along(u)?, u)
    }

    /// `self <- self - (<u, self> / ||u||^2) u`, in place: [`Self::reject`] where self is no longer needed.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn reject_in_place(&mut self, u: &Self) -> Result<()> {
        self.add_scaled(-self.along(u)?, u)
    }

    /// `<u, self> / ||u||^2`, the coefficient of the projection on `u`; 0 where `u` is zero.
    fn along(&self, u: &Self) -> Result<f64> {
        let square = u.square()?;
        if square == 0.0 { Ok(0.0) } else { Ok(u.dot(self)? / square) }
    }

    /// Element-wise product.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn hadamard(&self, other: &Self) -> Result<Self> {
        self.made([self, other], Product {})
    }

    /// Sum of the element-wise products over each parameter apart: `out[i]` is `<self, other>` over entry `i`, so that
    /// the sum over all entries is [`Self::dot`].
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn dot_per_entry(&self, other: &Self) -> Result<Vec<f64>> {
        self.check(other)?;
        #[cfg(feature = "cuda")]
        if self.on_cuda() {
            let lengths = self.layout.entries().iter().map(|e| e.len);
            return Ok(
                dispatch!("a vector", self.dtype(), T => flat_kernels::cuda::parameters::dot_entries::<T>(&self.flat, &other.flat, lengths))?,
            );
        }
        if !self.on_cpu() {
            let host = |x: &Self| Self::from_f64(&Space { device: Device::Cpu, ..x.space() }, x.to_f64()?);
            return host(self)?.dot_per_entry(&host(other)?);
        }
        let ranges = self.layout.entries().iter().map(|e| e.offset..e.offset + e.len);
        dispatch!("a vector", self.dtype(), T => read([self, other], |[x, y]: [&[T]; 2]| {
            ranges.map(|r| kernel::dot(&x[r.clone()], &y[r])).collect()
        }))
    }

    /// Carries out an update of this vector in place. [`crate::Params::update`] does the same to the variables.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub(crate) fn combine<const M: usize>(&mut self, inputs: [&Self; M], op: impl Update<M, 0>) -> Result<()> {
        for x in inputs {
            self.check(x)?;
            self.apart(x)?;
        }
        self.forget_square();
        #[cfg(feature = "cuda")]
        if self.on_cuda() {
            let (flat, inputs) = ([&self.flat], inputs.map(|x| &x.flat));
            dispatch!("a vector", self.dtype(), T => flat_kernels::cuda::parameters::update::<T, M, 0, _>(&flat, inputs, [], |_| &op))?;
            return Ok(());
        }
        if !self.on_cpu() {
            let (new, []) =
                op.update(Whole::new(Ok(self.flat.clone())), inputs.map(|x| Whole::new(Ok(x.flat.clone()))), []);
            self.flat = new.tensor()?;
            return Ok(());
        }
        dispatch!("a vector", self.dtype(), T => read(inputs, |inputs: [&[T]; M]| {
            host::with_slice_mut(&self.flat, |flat: &mut [T]| {
                kernel::update(flat, inputs, [], &op);
                Ok(())
            })
        }))??;
        Ok(())
    }

    /// A new vector of this one's space, from an update that does not look at what was there.
    fn made<const M: usize>(&self, inputs: [&Self; M], op: impl Update<M, 0>) -> Result<Self> {
        let mut new = Self::scratch(&self.space())?;
        new.combine(inputs, op)?;
        Ok(new)
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
    pub(crate) fn apart(&self, other: &Self) -> Result<()> {
        let at = |x: &Self| std::ptr::from_ref(&*x.flat.storage_and_layout().0).addr();
        if at(self) == at(other) {
            return Err(Error::LayoutMismatch("two vectors wrap one tensor; duplicate it first".into()));
        }
        Ok(())
    }
}

impl Drop for ParamVec {
    fn drop(&mut self) {
        if has_kernels(self.flat.device()) && !*self.seen.get_mut() {
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

    fn space(d: usize, dtype: DType) -> Result<Space> {
        let layout = Layout::new([("a".into(), Shape::from(d - 1)), ("b".into(), Shape::from(1))])?;
        Ok(Space { layout: Arc::new(layout), dtype, device: Device::Cpu })
    }

    #[test]
    fn reject_is_orthogonal_and_keeps_the_rest() -> Result<()> {
        let space = space(1000, DType::F64)?;
        let s = Streams::new(1);
        let v = ParamVec::gaussian(&space, 2.0, &s.at(Purpose::Test, 0))?;
        let u = ParamVec::gaussian(&space, 3.0, &s.at(Purpose::Test, 1))?;
        let r = v.reject(&u)?;
        // rounding of a sum of 1000 products of size about 6
        assert!(r.dot(&u)?.abs() < 1e-10);
        let back = r.plus(u.dot(&v)? / u.dot(&u)?, &u)?;
        assert!(back.plus(-1.0, &v)?.norm()? < 1e-12 * v.norm()?);
        let zero = ParamVec::zeros(&space)?;
        assert_eq!(v.reject(&zero)?.to_f64()?, v.to_f64()?);
        Ok(())
    }

    #[test]
    fn in_place_arithmetic_matches_the_host() -> Result<()> {
        for dtype in [DType::F32, DType::F64] {
            let space = space(50_001, dtype)?;
            let s = Streams::new(2);
            let x = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 0))?;
            let y = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 1))?;
            let (hx, hy) = (x.to_f64()?, y.to_f64()?);
            let mut z = x.duplicate()?;
            z.axpby(0.5, -2.0, &y)?;
            let mut q = x.duplicate()?;
            q.axpby_squared(0.9, 0.1, &y)?;
            let tol = if dtype == DType::F32 { 1e-6 } else { 1e-15 };
            for (i, (z, q)) in z.to_f64()?.iter().zip(q.to_f64()?).enumerate() {
                assert!((z - (0.5 * hx[i] - 2.0 * hy[i])).abs() <= tol * 10.0);
                assert!((q - (0.9 * hx[i] + 0.1 * hy[i] * hy[i])).abs() <= tol * 20.0);
            }
            let host: f64 = hx.iter().zip(&hy).map(|(a, b)| a * b).sum();
            assert!((x.dot(&y)? - host).abs() < 1e-9);
            assert_eq!(x.dot_tensor(&y)?.to_scalar::<f64>()?, x.dot(&y)?);
            assert_eq!(x.dot_tensor(&x)?.to_scalar::<f64>()?, x.dot(&x)?);
            let parts = x.dot_per_entry(&y)?;
            assert!((parts.iter().sum::<f64>() - host).abs() < 1e-9);
            assert_eq!(x.to_f64()?, hx, "the source is untouched");
        }
        Ok(())
    }

    #[test]
    fn element_wise_products_and_ratios_match_the_host() -> Result<()> {
        for dtype in [DType::F32, DType::F64] {
            let space = space(20_001, dtype)?;
            let s = Streams::new(5);
            let x = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 0))?;
            let m = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 1))?;
            let v = ParamVec::from_f64(&space, s.at(Purpose::Test, 2).uniforms(20_001))?;
            let (mut p, mut r) = (x.duplicate()?, x.duplicate()?);
            p.add_product(-0.5, &m, &v)?;
            r.add_ratio(-0.1, &m, &v, 0.9, 0.01)?;
            let (hx, hm, hv) = (x.to_f64()?, m.to_f64()?, v.to_f64()?);
            // a few roundings of numbers up to about 50
            let tol = if dtype == DType::F32 { 2e-5 } else { 1e-13 };
            for (i, (p, r)) in p.to_f64()?.iter().zip(r.to_f64()?).enumerate() {
                assert!((p - (hx[i] - 0.5 * hm[i] * hv[i])).abs() <= tol);
                assert!((r - (hx[i] - 0.1 * hm[i] / (hv[i].sqrt() / 0.9 + 0.01))).abs() <= tol);
            }
        }
        Ok(())
    }

    #[test]
    fn sphere_is_uniform_in_the_mean() -> Result<()> {
        let space = space(20, DType::F64)?;
        let s = Streams::new(4);
        let (n, d) = (2000, 20.0);
        let mut second = vec![0.0; 20];
        for i in 0..n {
            let u = ParamVec::sphere(&space, &s.at(Purpose::Perturb, i))?;
            assert!((u.norm()? - 1.0).abs() < 1e-12);
            for (m, x) in second.iter_mut().zip(u.to_f64()?) {
                *m += x * x / n as f64;
            }
        }
        // E u_i^2 = 1/d with variance below 2/d^2: five standard errors
        for m in second {
            assert!((m - 1.0 / d).abs() < 5.0 * (2.0f64 / n as f64).sqrt() / d, "{m}");
        }
        Ok(())
    }

    #[test]
    fn vectors_of_other_layouts_are_refused() -> Result<()> {
        let a = ParamVec::zeros(&space(4, DType::F32)?)?;
        let b = ParamVec::zeros(&space(5, DType::F32)?)?;
        assert!(a.dot(&b).is_err());
        Ok(())
    }

    #[test]
    fn draws_are_those_of_the_stream_rounded_once() -> Result<()> {
        let n = 40_001;
        let stream = Streams::new(6).at(Purpose::Test, 0);
        let (normals, signs) = (stream.normals(n), stream.signs(n));
        let norm = kernel::dot(&normals, &normals).sqrt();
        for dtype in [DType::F32, DType::F64] {
            let space = space(n, dtype)?;
            let round = |x: f64| if dtype == DType::F32 { f64::from(x as f32) } else { x };
            let check = |v: ParamVec, expected: &dyn Fn(usize) -> f64| -> Result<()> {
                assert!(v.to_f64()?.into_iter().enumerate().all(|(i, x)| x == round(expected(i))));
                Ok(())
            };
            check(ParamVec::gaussian(&space, 0.3, &stream)?, &|i| normals[i] * 0.3)?;
            check(ParamVec::sphere(&space, &stream)?, &|i| normals[i] / norm)?;
            check(ParamVec::rademacher(&space, &stream)?, &|i| signs[i])?;
        }
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

    #[test]
    fn rejecting_in_place_is_rejecting() -> Result<()> {
        for dtype in [DType::F32, DType::F64] {
            let space = space(70_001, dtype)?;
            let s = Streams::new(8);
            let u = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 0))?;
            let mut v = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 1))?;
            let r = v.reject(&u)?;
            v.reject_in_place(&u)?;
            assert_eq!(v.to_f64()?, r.to_f64()?);
        }
        Ok(())
    }
}
