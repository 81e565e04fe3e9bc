//! A number that may not have been read from the device yet.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use flat_core::ParamVec;

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
    /// The one element of a tensor: read where that is free, on the CPU; left on any other device.
    ///
    /// # Errors
    /// [`Error::NotScalar`] for another number of elements; candle's.
    pub fn of(x: &Tensor) -> Result<Self> {
        let left = Self::left(x)?;
        if !x.device().is_cpu() {
            return Ok(left);
        }
        Ok(left.value()?.into()) // host read: on the CPU
    }

    /// The one element of a tensor, left where it is. On the CPU this makes a step go the way that it goes on other
    /// devices, which is how that way is tested without one.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn left(x: &Tensor) -> Result<Self> {
        if x.elem_count() != 1 {
            return Err(Error::NotScalar { shape: x.dims().to_vec() });
        }
        Ok(Self(Repr::Device(x.detach().reshape(())?.to_dtype(DType::F64)?)))
    }

    /// Whether the number is still on the device.
    pub fn is_pending(&self) -> bool {
        self.pending().is_some()
    }

    /// The tensor, where the number is still on the device.
    pub fn pending(&self) -> Option<&Tensor> {
        match &self.0 {
            Repr::Host(_) => None,
            Repr::Device(x) => Some(x),
        }
    }

    /// The number, where the host has it.
    pub fn known(&self) -> Option<f64> {
        match &self.0 {
            Repr::Host(x) => Some(*x),
            Repr::Device(_) => None,
        }
    }

    /// The number. Waits for the device where it is still there: a round trip, to be kept out of steps.
    ///
    /// # Errors
    /// candle's.
    pub fn value(&self) -> Result<f64> {
        match &self.0 {
            Repr::Host(x) => Ok(*x),
            Repr::Device(x) => Ok(x.to_scalar()?), // host read: the one place
        }
    }

    /// The number as a tensor on `device`.
    pub(crate) fn tensor(&self, device: &Device) -> Result<Tensor> {
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

/// Euclidean norm; where `pending`, left on the device.
pub(crate) fn norm(x: &ParamVec, pending: bool) -> Result<Scalar> {
    if pending {
        return Scalar::left(&x.dot_tensor(x)?.sqrt()?);
    }
    Ok(x.norm()?.into()) // host read: on the CPU
}

/// `by x` for a factor that is on the device.
pub(crate) fn scaled(x: &ParamVec, by: &Tensor) -> Result<ParamVec> {
    let flat = x.as_tensor().broadcast_mul(&by.to_dtype(x.dtype())?)?;
    Ok(ParamVec::from_tensor(x.layout().clone(), flat)?)
}

/// `x - (<u, x> / ||u||^2) u`, and `x` where `u` is zero, without a read.
pub(crate) fn rejected(x: &ParamVec, u: &ParamVec) -> Result<ParamVec> {
    let square = u.dot_tensor(u)?;
    let along = or_zero(&square.gt(0.0)?, &(u.dot_tensor(x)? / &square)?)?;
    Ok(x.plus(-1.0, &scaled(u, &along)?)?)
}

/// The number where the flag is set, otherwise 0 (even for a number that is not finite).
pub(crate) fn or_zero(flag: &Tensor, x: &Tensor) -> Result<Tensor> {
    Ok(flag.where_cond(x, &x.zeros_like()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_core::{Layout, Purpose, Space, Streams};
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
            assert!((norm(&x, true)?.value()? - x.norm()?).abs() < 1e-11);
            let by = Tensor::new(0.3f64, &Device::Cpu)?;
            assert!(scaled(&x, &by)?.plus(-1.0, &x.scaled(0.3)?)?.norm()? <= tolerance * x.norm()?);
            // one rounding of the coefficient and one of each element
            assert!(rejected(&x, &u)?.plus(-1.0, &x.reject(&u)?)?.norm()? <= tolerance * x.norm()?);
            assert!(rejected(&x, &u)?.dot(&u)?.abs() < 5000.0 * tolerance);
            let zero = u.scaled(0.0)?;
            assert_eq!(rejected(&x, &zero)?.to_f64()?, x.to_f64()?);
        }
        Ok(())
    }

    #[test]
    fn arithmetic_mixes_known_and_pending_numbers() -> Result<()> {
        let left = |x: f64| Scalar::left(&Tensor::new(x, &Device::Cpu)?);
        for (a, b) in [(2.0.into(), 0.5.into()), (left(2.0)?, 0.5.into()), (2.0.into(), left(0.5)?)] {
            let sum = Scalar::times(&a, 3.0)?.plus(&b)?;
            assert_eq!((sum.value()?, sum.is_pending()), (6.5, a.is_pending() || b.is_pending()));
        }
        assert_eq!(Scalar::of(&Tensor::new(&[[2.5f32]], &Device::Cpu)?)?.known(), Some(2.5));
        assert!(matches!(Scalar::of(&Tensor::new(&[1f32, 2.0], &Device::Cpu)?), Err(Error::NotScalar { .. })));
        Ok(())
    }
}
