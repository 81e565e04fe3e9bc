//! Sums of vectors, products and projections.

use super::{ParamVec, read};
use crate::algebra::{AddScaled, Copied, Product, Scale, Scaled, Sum};
use crate::whole::Whole;
use crate::{Result, Space, Update};
use candle_core::{DType, Device, Tensor};
use flat_kernels::cpu::vector as kernel;
use flat_kernels::{dispatch, host};

impl ParamVec {
    /// A copy with a buffer of its own.
    ///
    /// # Errors
    /// candle's.
    pub fn duplicate(&self) -> Result<Self> {
        self.map([self], Copied {})
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

    /// `self <- self + alpha x`, in place.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn add_scaled(&mut self, alpha: f64, x: &Self) -> Result<()> {
        self.map_in_place([x], AddScaled { a: alpha })
    }

    /// `self <- alpha self`, in place.
    ///
    /// # Errors
    /// candle's.
    pub fn scale(&mut self, alpha: f64) -> Result<()> {
        self.map_in_place([], Scale { a: alpha })
    }

    /// `self + alpha x`, as a new vector.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn plus(&self, alpha: f64, x: &Self) -> Result<Self> {
        self.map([self, x], Sum { a: alpha })
    }

    /// `alpha self`, as a new vector.
    ///
    /// # Errors
    /// candle's.
    pub fn scaled(&self, alpha: f64) -> Result<Self> {
        self.map([self], Scaled { a: alpha })
    }

    /// The part orthogonal to `u`: `self - (<u, self> / ||u||^2) u`; `self` where `u` is zero.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn reject(&self, u: &Self) -> Result<Self> {
        self.plus(-self.along(u)?, u)
    }

    /// `<u, self> / ||u||^2`, the coefficient of the projection on `u`; 0 where `u` is zero.
    pub(crate) fn along(&self, u: &Self) -> Result<f64> {
        let square = u.square()?;
        if square == 0.0 { Ok(0.0) } else { Ok(u.dot(self)? / square) }
    }

    /// Element-wise product.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn hadamard(&self, other: &Self) -> Result<Self> {
        self.map([self, other], Product {})
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
    pub(crate) fn map_in_place<const M: usize>(&mut self, inputs: [&Self; M], op: impl Update<M, 0>) -> Result<()> {
        self.map_in_place_scaled(inputs, op, None)
    }

    /// [`Self::map_in_place`] with one of the inputs multiplied by a number that lies on the CUDA device.
    pub(crate) fn map_in_place_scaled<const M: usize>(
        &mut self,
        inputs: [&Self; M],
        op: impl Update<M, 0>,
        scaled: Option<(usize, &Tensor)>,
    ) -> Result<()> {
        for x in inputs {
            self.check(x)?;
            self.check_unaliased(x)?;
        }
        self.forget_square();
        #[cfg(feature = "cuda")]
        if self.on_cuda() {
            let (flat, inputs) = ([&self.flat], inputs.map(|x| &x.flat));
            let decided = flat_kernels::cuda::parameters::Decided { keep: None, scaled };
            dispatch!("a vector", self.dtype(), T => flat_kernels::cuda::parameters::update::<T, M, 0, _>(&flat, inputs, [], |_| &op, decided))?;
            return Ok(());
        }
        debug_assert!(scaled.is_none(), "a number left on CUDA alone");
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
    fn map<const M: usize>(&self, inputs: [&Self; M], op: impl Update<M, 0>) -> Result<Self> {
        self.map_scaled(inputs, op, None)
    }

    /// [`Self::map`] with one of the inputs multiplied by a number that lies on the CUDA device.
    pub(crate) fn map_scaled<const M: usize>(
        &self,
        inputs: [&Self; M],
        op: impl Update<M, 0>,
        scaled: Option<(usize, &Tensor)>,
    ) -> Result<Self> {
        let mut new = Self::scratch(&self.space())?;
        new.map_in_place_scaled(inputs, op, scaled)?;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::space;
    use super::*;
    use crate::{Purpose, Streams};

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
            let mut z = x.scaled(0.5)?;
            z.add_scaled(-2.0, &y)?;
            let mut q = x.duplicate()?;
            q.scale(0.9)?;
            q.add_scaled(0.1, &y.hadamard(&y)?)?;
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
    fn element_wise_products_match_the_host() -> Result<()> {
        for dtype in [DType::F32, DType::F64] {
            let space = space(20_001, dtype)?;
            let s = Streams::new(5);
            let x = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 0))?;
            let m = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 1))?;
            let v = ParamVec::from_f64(&space, s.at(Purpose::Test, 2).uniforms(20_001))?;
            let p = x.plus(-0.5, &m.hadamard(&v)?)?;
            let (hx, hm, hv) = (x.to_f64()?, m.to_f64()?, v.to_f64()?);
            // a few roundings of numbers up to about 50
            let tol = if dtype == DType::F32 { 2e-5 } else { 1e-13 };
            for (i, p) in p.to_f64()?.iter().enumerate() {
                assert!((p - (hx[i] - 0.5 * hm[i] * hv[i])).abs() <= tol);
            }
        }
        Ok(())
    }

    #[test]
    fn rejecting_in_place_is_rejecting() -> Result<()> {
        for dtype in [DType::F32, DType::F64] {
            let space = space(70_001, dtype)?;
            let s = Streams::new(8);
            let u = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 0))?;
            let v = ParamVec::gaussian(&space, 1.0, &s.at(Purpose::Test, 1))?;
            let r = v.reject(&u)?;
            let v = v.rejected(&u, false)?;
            assert_eq!(v.to_f64()?, r.to_f64()?);
        }
        Ok(())
    }
}
