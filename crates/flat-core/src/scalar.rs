//! A number of a step, on the host or still on the device.

use crate::algebra::Sum;
use crate::{Error, ParamVec, Result};
use candle_core::{DType, Device, Tensor};

/// A number of a step: a loss, a norm, a factor.
///
/// On the CPU it is an f64. On another device it is an f64 tensor of no dimension, computed with there; the host, which
/// runs ahead of the device, does not wait for it until [`Self::value`] asks.
#[derive(Debug, Clone)]
pub struct Scalar(Repr);

#[derive(Debug, Clone)]
enum Repr {
    Host(f64),
    Device(Tensor),
}

impl From<f64> for Scalar {
    fn from(x: f64) -> Self {
        Self(Repr::Host(x))
    }
}

impl Scalar {
    /// The one element of a tensor: read where that is free, on the CPU; kept on any other device.
    ///
    /// # Errors
    /// [`Error::NotScalar`] for another number of elements; candle's.
    #[expect(clippy::disallowed_methods, reason = "on the CPU, where a read is free")]
    pub fn of(x: &Tensor) -> Result<Self> {
        let kept = Self::on_device(x)?;
        if !x.device().is_cpu() {
            return Ok(kept);
        }
        Ok(kept.value()?.into())
    }

    /// The one element of a tensor, kept where it is. On the CPU this makes a step go the way that it goes on other
    /// devices, which is how that way is tested without one.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn on_device(x: &Tensor) -> Result<Self> {
        if x.elem_count() != 1 {
            return Err(Error::NotScalar { shape: x.dims().to_vec() });
        }
        Ok(Self(Repr::Device(x.detach().reshape(())?.to_dtype(DType::F64)?)))
    }

    /// Whether the number is still on the device.
    pub fn is_on_device(&self) -> bool {
        self.device().is_some()
    }

    /// The tensor, where the number is still on the device.
    pub fn device(&self) -> Option<&Tensor> {
        match &self.0 {
            Repr::Host(_) => None,
            Repr::Device(x) => Some(x),
        }
    }

    /// The number, where the host has it.
    pub fn host(&self) -> Option<f64> {
        match &self.0 {
            Repr::Host(x) => Some(*x),
            Repr::Device(_) => None,
        }
    }

    /// The number. Waits for the device where it is still there: a round trip, to be kept out of steps.
    ///
    /// # Errors
    /// candle's.
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    pub fn value(&self) -> Result<f64> {
        match &self.0 {
            Repr::Host(x) => Ok(*x),
            Repr::Device(x) => Ok(x.to_scalar()?),
        }
    }

    /// The number as a tensor on `device`.
    ///
    /// # Errors
    /// candle's.
    pub fn tensor(&self, device: &Device) -> Result<Tensor> {
        match &self.0 {
            Repr::Host(x) => Ok(Tensor::new(*x, device)?),
            Repr::Device(x) => Ok(x.clone()),
        }
    }

    /// `self * factor`.
    ///
    /// # Errors
    /// candle's.
    pub fn times(&self, factor: f64) -> Result<Self> {
        Ok(Self(match &self.0 {
            Repr::Host(x) => Repr::Host(x * factor),
            Repr::Device(x) => Repr::Device(x.affine(factor, 0.0)?),
        }))
    }

    /// Its square root.
    ///
    /// # Errors
    /// candle's.
    pub fn sqrt(&self) -> Result<Self> {
        Ok(Self(match &self.0 {
            Repr::Host(x) => Repr::Host(x.sqrt()),
            Repr::Device(x) => Repr::Device(x.sqrt()?),
        }))
    }

    /// `self / other`, and 0 where `other` is 0.
    ///
    /// # Errors
    /// candle's.
    pub fn over(&self, other: &Self) -> Result<Self> {
        Ok(Self(match (&self.0, &other.0) {
            (Repr::Host(x), Repr::Host(y)) => Repr::Host(if *y == 0.0 { 0.0 } else { x / y }),
            (Repr::Host(x), Repr::Device(y)) => Repr::Device(or_zero(&y.ne(0.0)?, &(y.recip()? * *x)?)?),
            (Repr::Device(x), Repr::Host(y)) => Repr::Device(x.affine(if *y == 0.0 { 0.0 } else { 1.0 / y }, 0.0)?),
            (Repr::Device(x), Repr::Device(y)) => Repr::Device(or_zero(&y.ne(0.0)?, &(x / y)?)?),
        }))
    }

    /// `self + other`.
    ///
    /// # Errors
    /// candle's.
    pub fn plus(&self, other: &Self) -> Result<Self> {
        Ok(Self(match (&self.0, &other.0) {
            (Repr::Host(x), Repr::Host(y)) => Repr::Host(x + y),
            (Repr::Host(x), Repr::Device(t)) | (Repr::Device(t), Repr::Host(x)) => Repr::Device(t.affine(1.0, *x)?),
            (Repr::Device(x), Repr::Device(y)) => Repr::Device((x + y)?),
        }))
    }
}

impl ParamVec {
    /// Euclidean norm; kept on the device where `on_device`.
    ///
    /// # Errors
    /// candle's.
    #[expect(clippy::disallowed_methods, reason = "where the caller does not keep the number on the device")]
    pub fn norm_at(&self, on_device: bool) -> Result<Scalar> {
        if on_device { Scalar::on_device(&self.dot_tensor(self)?.sqrt()?) } else { Ok(self.norm()?.into()) }
    }

    /// `by self`, as a new vector.
    ///
    /// # Errors
    /// candle's.
    pub fn scaled_by(&self, by: &Scalar) -> Result<Self> {
        match &by.0 {
            Repr::Host(x) => self.scaled(*x),
            Repr::Device(x) => {
                let flat = self.as_tensor().broadcast_mul(&x.to_dtype(self.dtype())?)?;
                Self::from_tensor(self.layout().clone(), flat)
            }
        }
    }

    /// `self + by x`, as a new vector; on the host its norm is found on the way.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn plus_by(&self, by: &Scalar, x: &Self) -> Result<Self> {
        match by.host() {
            Some(by) => Ok(Self::recur([self, x], [], |_| Sum { a: by }, None, false)?.0),
            None => self.plus(1.0, &x.scaled_by(by)?),
        }
    }

    /// `<self, x>`; kept on the device where `on_device`.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    #[expect(clippy::disallowed_methods, reason = "where the caller does not keep the number on the device")]
    pub fn dot_at(&self, x: &Self, on_device: bool) -> Result<Scalar> {
        if on_device { Scalar::on_device(&self.dot_tensor(x)?) } else { Ok(self.dot(x)?.into()) }
    }

    /// The part orthogonal to `u`: `self - (<u, self> / ||u||^2) u`, and `self` where `u` is zero; in place on the host,
    /// without a read where `on_device`.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn rejected(mut self, u: &Self, on_device: bool) -> Result<Self> {
        if on_device {
            let square = u.dot_tensor(u)?;
            let along = Scalar::on_device(&or_zero(&square.gt(0.0)?, &(u.dot_tensor(&self)? / &square)?)?)?;
            return self.plus(-1.0, &u.scaled_by(&along)?);
        }
        self.add_scaled(-self.along(u)?, u)?;
        Ok(self)
    }

    /// The vector of length 1 in its direction; a zero vector as it is.
    ///
    /// # Errors
    /// candle's.
    pub fn direction(mut self, on_device: bool) -> Result<Self> {
        match self.norm_at(on_device)?.0 {
            Repr::Device(norm) => self.scaled_by(&Scalar(Repr::Device(or_zero(&norm.gt(0.0)?, &norm.recip()?)?))),
            Repr::Host(norm) => {
                if norm > 0.0 {
                    self.scale(1.0 / norm)?;
                }
                Ok(self)
            }
        }
    }
}

/// The number where the flag is set, otherwise 0 (even for a number that is not finite).
///
/// # Errors
/// candle's.
pub fn or_zero(flag: &Tensor, x: &Tensor) -> Result<Tensor> {
    Ok(flag.where_cond(x, &x.zeros_like()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layout, Purpose, Space, Streams};
    use std::sync::Arc;

    fn vectors(dtype: DType) -> Result<[ParamVec; 2]> {
        let layout = Layout::new([("a".into(), candle_core::Shape::from(5000))])?;
        let space = Space { layout: Arc::new(layout), dtype, device: Device::Cpu };
        let draw = |i| ParamVec::gaussian(&space, 1.0, &Streams::new(3).at(Purpose::Test, i));
        Ok([draw(0)?, draw(1)?])
    }

    #[test]
    fn numbers_left_on_the_device_are_those_of_the_host() -> Result<()> {
        for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-14)] {
            let [x, u] = vectors(dtype)?;
            // one root more or less of a sum in f64
            assert!((x.norm_at(true)?.value()? - x.norm()?).abs() < 1e-11);
            let by = Scalar::on_device(&Tensor::new(0.3f64, &Device::Cpu)?)?;
            assert!(x.scaled_by(&by)?.plus(-1.0, &x.scaled(0.3)?)?.norm()? <= tolerance * x.norm()?);
            // one rounding of the coefficient and one of each element
            assert!(x.duplicate()?.rejected(&u, true)?.plus(-1.0, &x.reject(&u)?)?.norm()? <= tolerance * x.norm()?);
            assert!(x.duplicate()?.rejected(&u, true)?.dot(&u)?.abs() < 5000.0 * tolerance);
            let zero = u.scaled(0.0)?;
            assert_eq!(x.duplicate()?.rejected(&zero, true)?.to_f64()?, x.to_f64()?);
            assert!((x.duplicate()?.direction(true)?.norm()? - 1.0).abs() < tolerance);
            assert_eq!(zero.duplicate()?.direction(true)?.to_f64()?, zero.to_f64()?);
        }
        Ok(())
    }

    #[test]
    fn arithmetic_mixes_numbers_of_host_and_device() -> Result<()> {
        let left = |x: f64| Scalar::on_device(&Tensor::new(x, &Device::Cpu)?);
        for (a, b) in [(2.0.into(), 0.5.into()), (left(2.0)?, 0.5.into()), (2.0.into(), left(0.5)?)] {
            let sum = Scalar::times(&a, 3.0)?.plus(&b)?;
            assert_eq!((sum.value()?, sum.is_on_device()), (6.5, a.is_on_device() || b.is_on_device()));
            assert_eq!(a.over(&b)?.value()?, 4.0);
            assert_eq!(a.over(&b.times(0.0)?)?.value()?, 0.0);
        }
        assert_eq!(Scalar::of(&Tensor::new(&[[2.5f32]], &Device::Cpu)?)?.host(), Some(2.5));
        assert!(matches!(Scalar::of(&Tensor::new(&[1f32, 2.0], &Device::Cpu)?), Err(Error::NotScalar { .. })));
        Ok(())
    }
}
