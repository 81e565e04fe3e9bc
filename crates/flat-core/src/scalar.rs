//! A number of a step, on the host or still on the device.

#[cfg(feature = "cuda")]
mod later;
mod vectors;

use crate::{Error, ParamVec, Result};
use candle_core::{DType, Device, Tensor};
#[cfg(feature = "cuda")]
use flat_kernels::cuda::scalar::Op;
#[cfg(feature = "cuda")]
use later::Later;

/// A number of a step: a loss, a norm, a factor.
///
/// On the CPU it is an f64. On another device it is an f64 tensor of no dimension, computed with there; the host, which
/// runs ahead of the device, does not wait for it until [`Self::value`] asks. On CUDA it is a formula until a kernel or the
/// host needs it: all that a step computes with its numbers takes a launch or two.
#[derive(Debug, Clone)]
pub struct Scalar(Repr);

#[derive(Debug, Clone)]
enum Repr {
    Host(f64),
    Device(Tensor),
    #[cfg(feature = "cuda")]
    Later(Later),
}

impl From<f64> for Scalar {
    fn from(x: f64) -> Self {
        Self(Repr::Host(x))
    }
}

/// What a number of either kind is computed by: on the host, as tensors, as a formula.
macro_rules! by_kind {
    (|$($x:ident),+| host $host:expr, device $device:expr, later $later:expr $(,)?) => {
        match ($(&$x.0),+,) {
            ($(Repr::Host($x)),+,) => Ok(Self(Repr::Host($host))),
            #[cfg(feature = "cuda")]
            ($($x),+,) if [$($x),+].into_iter().any(|x| matches!(x, Repr::Later(_))) => {
                $(let $x = later::of($x);)+
                Ok(Self(Repr::Later(Later::new($later))))
            }
            ($($x),+,) => {
                let [$($x),+] = as_tensors([$($x),+])?;
                Ok(Self(Repr::Device($device)))
            }
        }
    };
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
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() && matches!(x.dtype(), DType::F64 | DType::F32 | DType::U8) {
            return Ok(Self(Repr::Later(Later::new(Op::Read(x.detach())))));
        }
        Ok(Self(Repr::Device(x.detach().reshape(())?.to_dtype(DType::F64)?)))
    }

    /// Whether the number is still on the device.
    pub fn is_on_device(&self) -> bool {
        self.host().is_none()
    }

    /// The number, where the host has it.
    pub fn host(&self) -> Option<f64> {
        match &self.0 {
            Repr::Host(x) => Some(*x),
            _ => None,
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
            kept => Ok(as_tensor(kept, &Device::Cpu)?.to_scalar()?),
        }
    }

    /// The number as a tensor on `device`.
    ///
    /// # Errors
    /// candle's.
    pub fn tensor(&self, device: &Device) -> Result<Tensor> {
        as_tensor(&self.0, device)
    }

    /// `self * factor`.
    ///
    /// # Errors
    /// candle's.
    pub fn times(&self, factor: f64) -> Result<Self> {
        let this = self;
        by_kind!(|this| host this * factor, device this.affine(factor, 0.0)?, later Op::Mul(this, Later::known(factor)))
    }

    /// Its square root.
    ///
    /// # Errors
    /// candle's.
    pub fn sqrt(&self) -> Result<Self> {
        let this = self;
        by_kind!(|this| host this.sqrt(), device this.sqrt()?, later Op::Sqrt(this))
    }

    /// `self / other`, and 0 where `other` is 0.
    ///
    /// # Errors
    /// candle's.
    pub fn over(&self, other: &Self) -> Result<Self> {
        let this = self;
        match (&self.0, &other.0) {
            (Repr::Host(x), Repr::Device(y)) => Ok(Self(Repr::Device(or_zero(&y.ne(0.0)?, &(y.recip()? * *x)?)?))),
            (Repr::Device(x), Repr::Host(y)) => {
                Ok(Self(Repr::Device(x.affine(if *y == 0.0 { 0.0 } else { 1.0 / y }, 0.0)?)))
            }
            _ => by_kind!(
                |this, other|
                host if *other == 0.0 { 0.0 } else { this / other },
                device or_zero(&other.ne(0.0)?, &(this / &other)?)?,
                later Op::Over(this, other),
            ),
        }
    }

    /// `1 / self` where that is at least `least`, otherwise 0.
    ///
    /// # Errors
    /// candle's.
    pub fn inverse(&self, least: f64) -> Result<Self> {
        let this = self;
        by_kind!(
            |this|
            host if *this >= least { 1.0 / this } else { 0.0 },
            device or_zero(&this.ge(least)?, &this.recip()?)?,
            later Op::Inverse(this, least),
        )
    }

    /// `self + other`.
    ///
    /// # Errors
    /// candle's.
    pub fn plus(&self, other: &Self) -> Result<Self> {
        let this = self;
        match (&self.0, &other.0) {
            (Repr::Host(x), Repr::Device(t)) | (Repr::Device(t), Repr::Host(x)) => {
                Ok(Self(Repr::Device(t.affine(1.0, *x)?)))
            }
            _ => by_kind!(|this, other| host this + other, device (this + other)?, later Op::Add(this, other)),
        }
    }

    /// The factor that makes a norm of `self` at most `most`, which is 1 where it is shorter. Beside it stands 1 where it is
    /// longer, else 0.
    ///
    /// # Errors
    /// candle's.
    pub fn shortened_to(&self, most: f64) -> Result<[Self; 2]> {
        let this = self;
        let over: Result<Self> = by_kind!(
            |this|
            host f64::from(u8::from(*this > most)),
            device this.gt(most)?.to_dtype(DType::F64)?,
            later Op::Greater(this, Later::known(most)),
        );
        let (over, factor) = (over?, self.inverse(0.0)?.times(most)?);
        let one = Self::from(1.0);
        let factor: Result<Self> = by_kind!(
            |over, factor, one|
            host if *over == 0.0 { *one } else { *factor },
            device over.ne(0.0)?.where_cond(&factor, &one)?,
            later Op::Choose(over, factor, one),
        );
        Ok([factor?, over])
    }

    /// Whether all numbers are finite: 1 or 0.
    ///
    /// # Errors
    /// candle's.
    pub fn all_finite(numbers: &[&Self]) -> Result<Self> {
        let mut zeros = Self::from(0.0);
        // x times 0 is 0 for finite x alone
        for x in numbers {
            zeros = zeros.plus(&x.times(0.0)?)?;
        }
        by_kind!(
            |zeros|
            host f64::from(u8::from(*zeros == 0.0)),
            device zeros.eq(0.0)?.to_dtype(DType::F64)?,
            later Op::Finite(zeros),
        )
    }

    /// Whether one of the numbers is not 0: 1 or 0.
    ///
    /// # Errors
    /// candle's.
    pub fn any(numbers: &[Self]) -> Result<Self> {
        let mut any = Self::from(0.0);
        for x in numbers {
            let set: Result<Self> = by_kind!(
                |x|
                host f64::from(u8::from(*x != 0.0)),
                device x.ne(0.0)?.to_dtype(DType::F64)?,
                later Op::NonZero(x),
            );
            any = any.plus(&set?)?;
        }
        let set: Result<Self> = by_kind!(
            |any|
            host f64::from(u8::from(*any != 0.0)),
            device any.ne(0.0)?.to_dtype(DType::F64)?,
            later Op::NonZero(any),
        );
        set
    }

    /// The numbers side by side, f64, and whether the flag is not 0, a u8 of no dimension; on `device`, without waiting for it.
    ///
    /// # Errors
    /// candle's.
    pub fn together(numbers: &[&Self], flag: &Self, device: &Device) -> Result<(Tensor, Tensor)> {
        #[cfg(feature = "cuda")]
        if device.is_cuda() {
            let numbers: Vec<Later> = numbers.iter().map(|x| later::of(&x.0)).collect();
            let (row, flag) = later::evaluate(device, &numbers, Some(&later::of(&flag.0)))?;
            return Ok((row, flag.ok_or_else(later::unevaluated)?.reshape(())?));
        }
        let row = numbers.iter().map(|x| x.tensor(device)).collect::<Result<Vec<_>>>()?;
        Ok((Tensor::stack(&row, 0)?, flag.tensor(device)?.ne(0.0)?))
    }

    /// Calls `f` with a factor and a vector whose product is `self` times `dir`; on CUDA with a number of the device that the
    /// vector is still to be multiplied by.
    pub(crate) fn times_vector<R>(
        &self,
        dir: &ParamVec,
        f: impl FnOnce(f64, &ParamVec, Option<&Tensor>) -> Result<R>,
    ) -> Result<R> {
        match &self.0 {
            Repr::Host(by) => f(*by, dir, None),
            #[cfg(feature = "cuda")]
            Repr::Later(by) => f(1.0, dir, Some(&by.tensor()?)),
            Repr::Device(_) => f(1.0, &dir.scaled_by(self)?, None),
        }
    }
}

/// A number as a tensor, on `device` where the host has it.
fn as_tensor(x: &Repr, device: &Device) -> Result<Tensor> {
    match x {
        Repr::Host(x) => Ok(Tensor::new(*x, device)?),
        Repr::Device(x) => Ok(x.clone()),
        #[cfg(feature = "cuda")]
        Repr::Later(x) => x.tensor(),
    }
}

/// Numbers as tensors of the device that one of them is on.
fn as_tensors<const N: usize>(numbers: [&Repr; N]) -> Result<[Tensor; N]> {
    let device = numbers.iter().find_map(|x| match x {
        Repr::Device(x) => Some(x.device().clone()),
        _ => None,
    });
    let device = device.unwrap_or(Device::Cpu);
    let tensors = numbers.into_iter().map(|x| as_tensor(x, &device)).collect::<Result<Vec<_>>>()?;
    Ok(std::array::from_fn(|i| tensors[i].clone()))
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
