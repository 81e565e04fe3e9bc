//! Points and directions in parameter space.

use crate::kernel::{self, Axpby, Combine3, Scale};
use crate::{Layout, Result, Space, Stream};
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use std::sync::Arc;

/// A vector over all trainable parameters, in one flat buffer that nothing else shares.
///
/// Reductions accumulate in f64 and return a host number; on CPU every operation is one parallel pass whose result does
/// not depend on the number of threads.
#[derive(Debug)]
pub struct ParamVec {
    layout: Arc<Layout>,
    flat: Tensor,
}

impl ParamVec {
    /// The zero vector.
    ///
    /// # Errors
    /// candle's.
    pub fn zeros(space: &Space) -> Result<Self> {
        let flat = Tensor::zeros(space.layout.len(), space.dtype, &space.device)?;
        Ok(Self { layout: space.layout.clone(), flat })
    }

    /// Wraps a one-dimensional tensor that nobody else will write to.
    ///
    /// # Errors
    /// A tensor whose length is not the layout's.
    pub fn from_tensor(layout: Arc<Layout>, flat: Tensor) -> Result<Self> {
        if flat.dims() != [layout.len()] {
            return Err(crate::Error::LayoutMismatch(format!("{:?} elements for d = {}", flat.dims(), layout.len())));
        }
        Ok(Self { layout, flat: flat.contiguous()? })
    }

    /// A vector of the given numbers, rounded to the space's element type.
    ///
    /// # Errors
    /// A wrong number of elements; candle's.
    pub fn from_f64(space: &Space, x: Vec<f64>) -> Result<Self> {
        let n = x.len();
        let flat = match space.dtype {
            DType::F32 => Tensor::from_vec(x.into_iter().map(|v| v as f32).collect::<Vec<f32>>(), n, &space.device)?,
            _ => Tensor::from_vec(x, n, &space.device)?.to_dtype(space.dtype)?,
        };
        Self::from_tensor(space.layout.clone(), flat)
    }

    /// Uniform on the unit sphere of all parameters together: N(0, I_d) divided by its norm.
    ///
    /// # Errors
    /// candle's.
    pub fn sphere(space: &Space, stream: &Stream) -> Result<Self> {
        let mut x = stream.normals(space.layout.len());
        let norm = kernel::dot(&x, &x).sqrt();
        if norm > 0.0 {
            x.iter_mut().for_each(|v| *v /= norm);
        }
        Self::from_f64(space, x)
    }

    /// N(0, sigma^2 I_d).
    ///
    /// # Errors
    /// candle's.
    pub fn gaussian(space: &Space, sigma: f64, stream: &Stream) -> Result<Self> {
        let mut x = stream.normals(space.layout.len());
        x.iter_mut().for_each(|v| *v *= sigma);
        Self::from_f64(space, x)
    }

    /// Independent signs, -1 or +1.
    ///
    /// # Errors
    /// candle's.
    pub fn rademacher(space: &Space, stream: &Stream) -> Result<Self> {
        Self::from_f64(space, stream.signs(space.layout.len()))
    }

    /// Names, shapes and offsets.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The space this vector lives in.
    pub fn space(&self) -> Space {
        Space { layout: self.layout.clone(), dtype: self.flat.dtype(), device: self.flat.device().clone() }
    }

    /// The flat tensor, to read from.
    pub fn as_tensor(&self) -> &Tensor {
        &self.flat
    }

    /// A view of the `i`-th parameter's part, in its own shape.
    ///
    /// # Errors
    /// candle's.
    pub fn entry(&self, i: usize) -> Result<Tensor> {
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
        Ok(Self { layout: self.layout.clone(), flat: self.flat.copy()? })
    }

    /// `<self, other>`, accumulated in f64.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn dot(&self, other: &Self) -> Result<f64> {
        self.check(other)?;
        if self.on_cpu() {
            let ((s1, l1), (s2, l2)) = (self.flat.storage_and_layout(), other.flat.storage_and_layout());
            let (o1, o2, n) = (l1.start_offset(), l2.start_offset(), self.layout.len());
            match (&*s1, &*s2) {
                (Storage::Cpu(CpuStorage::F32(x)), Storage::Cpu(CpuStorage::F32(y))) => {
                    return Ok(kernel::dot(&x[o1..o1 + n], &y[o2..o2 + n]));
                }
                (Storage::Cpu(CpuStorage::F64(x)), Storage::Cpu(CpuStorage::F64(y))) => {
                    return Ok(kernel::dot(&x[o1..o1 + n], &y[o2..o2 + n]));
                }
                _ => {}
            }
        }
        let (x, y) = (self.flat.to_dtype(DType::F64)?, other.flat.to_dtype(DType::F64)?);
        Ok((x * y)?.sum_all()?.to_scalar()?)
    }

    /// Euclidean norm.
    ///
    /// # Errors
    /// candle's.
    pub fn norm(&self) -> Result<f64> {
        Ok(self.dot(self)?.sqrt())
    }

    /// `self <- a self + b x`, in place.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn axpby(&mut self, a: f64, b: f64, x: &Self) -> Result<()> {
        self.combine(Axpby { a, b, squared: false }, x)
    }

    /// `self <- a self + b x^2` element by element, in place.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn axpby_squared(&mut self, a: f64, b: f64, x: &Self) -> Result<()> {
        self.combine(Axpby { a, b, squared: true }, x)
    }

    /// `self <- self + alpha x y` element by element, in place.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn add_product(&mut self, alpha: f64, x: &Self, y: &Self) -> Result<()> {
        self.check(x)?;
        self.check(y)?;
        if self.on_cpu() {
            self.flat.inplace_op3(&x.flat, &y.flat, &Combine3::Product { alpha })?;
        } else {
            self.flat = (&self.flat + (&x.flat * &y.flat)?.affine(alpha, 0.0)?)?;
        }
        Ok(())
    }

    /// `self <- self + alpha x / (sqrt(y) / root + eps)` element by element, in place: Adam's update.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn add_ratio(&mut self, alpha: f64, x: &Self, y: &Self, root: f64, eps: f64) -> Result<()> {
        self.check(x)?;
        self.check(y)?;
        if self.on_cpu() {
            self.flat.inplace_op3(&x.flat, &y.flat, &Combine3::Ratio { alpha, root, eps })?;
        } else {
            let denominator = y.flat.sqrt()?.affine(1.0 / root, eps)?;
            self.flat = (&self.flat + (&x.flat / denominator)?.affine(alpha, 0.0)?)?;
        }
        Ok(())
    }

    /// `self <- self + alpha x`, in place.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn add_scaled(&mut self, alpha: f64, x: &Self) -> Result<()> {
        self.axpby(1.0, alpha, x)
    }

    /// `self <- alpha self`, in place.
    ///
    /// # Errors
    /// candle's.
    pub fn scale(&mut self, alpha: f64) -> Result<()> {
        if self.on_cpu() {
            self.flat.inplace_op1(&Scale(alpha))?;
        } else {
            self.flat = self.flat.affine(alpha, 0.0)?;
        }
        Ok(())
    }

    /// `self + alpha x`, as a new vector.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn plus(&self, alpha: f64, x: &Self) -> Result<Self> {
        let mut out = self.duplicate()?;
        out.add_scaled(alpha, x)?;
        Ok(out)
    }

    /// `alpha self`, as a new vector.
    ///
    /// # Errors
    /// candle's.
    pub fn scaled(&self, alpha: f64) -> Result<Self> {
        let mut out = self.duplicate()?;
        out.scale(alpha)?;
        Ok(out)
    }

    /// The part orthogonal to `u`: `self - (<u, self> / ||u||^2) u`; `self` where `u` is zero.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn reject(&self, u: &Self) -> Result<Self> {
        let uu = u.dot(u)?;
        if uu == 0.0 {
            return self.duplicate();
        }
        self.plus(-u.dot(self)? / uu, u)
    }

    /// Element-wise product.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn hadamard(&self, other: &Self) -> Result<Self> {
        self.check(other)?;
        Ok(Self { layout: self.layout.clone(), flat: (&self.flat * &other.flat)? })
    }

    /// Sum of the element-wise products over each parameter apart: `out[i]` is `<self, other>` over entry `i`, so that
    /// the sum over all entries is [`Self::dot`].
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn dot_per_entry(&self, other: &Self) -> Result<Vec<f64>> {
        self.check(other)?;
        let (x, y) = (self.to_f64()?, other.to_f64()?);
        Ok(self
            .layout
            .entries()
            .iter()
            .map(|e| kernel::dot(&x[e.offset..e.offset + e.len], &y[e.offset..e.offset + e.len]))
            .collect())
    }

    fn combine(&mut self, op: Axpby, x: &Self) -> Result<()> {
        self.check(x)?;
        if self.on_cpu() {
            self.flat.inplace_op2(&x.flat, &op)?;
        } else {
            let x = if op.squared { x.flat.sqr()? } else { x.flat.clone() };
            self.flat = (self.flat.affine(op.a, 0.0)? + x.affine(op.b, 0.0)?)?;
        }
        Ok(())
    }

    fn on_cpu(&self) -> bool {
        matches!(self.flat.device(), Device::Cpu)
    }

    fn check(&self, other: &Self) -> Result<()> {
        if Arc::ptr_eq(&self.layout, &other.layout) { Ok(()) } else { self.layout.same_as(&other.layout) }
    }
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
}
