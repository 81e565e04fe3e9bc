//! Restoring the variables bit for bit at the end of a scope, also after an error or a panic.

use crate::{ParamVec, Params, Result, Scalar};

/// Lets the variables hold other values within a scope and restores the original ones bit for bit at its end. The end
/// may be a return, an error or a panic.
///
/// Nothing is ever subtracted: what comes back is a copy of what was there.
#[derive(Debug)]
pub struct Restore<'a> {
    params: &'a Params,
    original: &'a ParamVec,
    armed: bool,
}

impl<'a> Restore<'a> {
    /// Sets the variables to `other`; `original` must be a copy of what they hold.
    ///
    /// # Errors
    /// A vector of another layout; candle's. The original values are back then.
    pub fn replace(params: &'a Params, original: &'a ParamVec, other: &ParamVec) -> Result<Self> {
        let guard = Self { params, original, armed: true };
        guard.set(other)?; // where this fails half-way, the guard puts back what was written
        Ok(guard)
    }

    /// Sets the variables to `original + by dir`, or to `original + by (dir mask)`, as [`Params::write_sum`].
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub fn displace(
        params: &'a Params,
        original: &'a ParamVec,
        by: impl Into<Scalar>,
        dir: &ParamVec,
        mask: Option<&ParamVec>,
    ) -> Result<Self> {
        let guard = Self { params, original, armed: true };
        params.write_sum(original, by, dir, mask)?;
        Ok(guard)
    }

    /// Guards variables that hold other values already.
    pub fn later(params: &'a Params, original: &'a ParamVec) -> Self {
        Self { params, original, armed: true }
    }

    /// Sets the variables to other values again.
    ///
    /// # Errors
    /// A vector of another layout; candle's.
    pub fn set(&self, other: &ParamVec) -> Result<()> {
        self.params.write(other)
    }

    /// Puts the original values back and says whether that worked.
    ///
    /// # Errors
    /// candle's.
    pub fn finish(mut self) -> Result<()> {
        self.armed = false;
        self.params.write(self.original)
    }
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        if self.armed {
            // An error is on its way already, or a panic: there is no one to tell of a second one.
            let _ = self.params.write(self.original);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor, Var};

    #[test]
    fn the_values_come_back_after_success_and_panic() -> Result<()> {
        let var = Var::from_tensor(&Tensor::new(&[0.1f32, 0.2], &Device::Cpu)?)?;
        let params = Params::new([("w".to_string(), var.clone())])?;
        let theta = params.read()?;
        let other = theta.scaled(3.0)?;
        let guard = Restore::replace(&params, &theta, &other)?;
        assert_eq!(params.read()?.to_f64()?, other.to_f64()?);
        guard.finish()?;
        assert_eq!(params.read()?.to_f64()?, theta.to_f64()?);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = Restore::replace(&params, &theta, &other);
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(params.read()?.to_f64()?, theta.to_f64()?);
        Ok(())
    }
}
