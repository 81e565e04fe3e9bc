//! Vectors times numbers that may still be on the device.

use super::{Repr, Scalar};
#[cfg(feature = "cuda")]
use crate::algebra::Copied;
use crate::algebra::Sum;
use crate::{ParamVec, Result};

impl ParamVec {
    /// Euclidean norm; kept on the device where `on_device`.
    ///
    /// # Errors
    /// candle's.
    #[expect(clippy::disallowed_methods, reason = "where the caller does not keep the number on the device")]
    pub fn norm_at(&self, on_device: bool) -> Result<Scalar> {
        if on_device { Scalar::on_device(&self.dot_tensor(self)?)?.sqrt() } else { Ok(self.norm()?.into()) }
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
            #[cfg(feature = "cuda")]
            Repr::Later(x) => self.map_scaled([self], Copied {}, Some((0, &x.tensor()?))),
        }
    }

    /// `self + by x`, as a new vector; on the host its norm is found on the way.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn plus_by(&self, by: &Scalar, x: &Self) -> Result<Self> {
        match &by.0 {
            Repr::Host(by) => Ok(Self::recur([self, x], [], |_| Sum { a: *by }, None, false)?.0),
            Repr::Device(_) => self.plus(1.0, &x.scaled_by(by)?),
            #[cfg(feature = "cuda")]
            Repr::Later(by) => self.map_scaled([self, x], Sum { a: 1.0 }, Some((1, &by.tensor()?))),
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

    /// `<u, self> / ||u||^2`, the coefficient of the projection on `u`, and 0 where `u` is zero; kept on the device
    /// where `on_device`.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn coefficient(&self, u: &Self, on_device: bool) -> Result<Scalar> {
        if !on_device {
            return Ok(self.along(u)?.into());
        }
        let [square, along] = [u.dot_at(u, true)?, u.dot_at(self, true)?];
        along.over(&square)
    }

    /// The part orthogonal to `u`: `self - (<u, self> / ||u||^2) u`, and `self` where `u` is zero; in place on the host,
    /// without a read where `on_device`.
    ///
    /// # Errors
    /// Vectors of different spaces; candle's.
    pub fn rejected(mut self, u: &Self, on_device: bool) -> Result<Self> {
        let by = self.coefficient(u, on_device)?.times(-1.0)?;
        match by.host() {
            Some(by) => self.add_scaled(by, u)?,
            None => return self.plus_by(&by, u),
        }
        Ok(self)
    }

    /// The vector of length 1 in its direction; a zero vector as it is.
    ///
    /// # Errors
    /// candle's.
    pub fn direction(mut self, on_device: bool) -> Result<Self> {
        let norm = self.norm_at(on_device)?;
        match norm.host() {
            // what is above 0 is at least the smallest number
            None => self.scaled_by(&norm.inverse(f64::from_bits(1))?),
            Some(norm) => {
                if norm > 0.0 {
                    self.scale(1.0 / norm)?;
                }
                Ok(self)
            }
        }
    }
}
