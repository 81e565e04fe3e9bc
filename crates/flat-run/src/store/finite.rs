//! Whether tensors hold finite numbers alone.

use candle_core::{DType, Result, Tensor};
use std::collections::BTreeMap;

/// The name of a tensor with a NaN or an infinity, if there is one. Numbers of no dimension are left out: a state may hold NaN for
/// what is not known yet. Waits for the device.
///
/// # Errors
/// candle's.
pub fn not_finite(tensors: &BTreeMap<String, Tensor>) -> Result<Option<&str>> {
    for (name, tensor) in tensors.iter().filter(|(_, t)| t.dtype().is_float() && t.rank() > 0) {
        // x times 0 is 0 for finite x alone, and sums of zeros do not overflow
        let zeros: f64 = tensor.flatten_all()?.affine(0.0, 0.0)?.sum_all()?.to_dtype(DType::F64)?.to_scalar()?;
        if zeros != 0.0 {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_nan_or_an_infinity_anywhere_is_found_by_its_name_and_the_largest_numbers_are_none() -> Result<()> {
        let of = |x: f32| -> Result<BTreeMap<String, Tensor>> {
            let most = Tensor::new(&[f32::MAX, f32::MAX, f32::MIN], &Device::Cpu)?;
            let unknown = Tensor::new(f64::NAN, &Device::Cpu)?;
            let other = Tensor::new(&[[0.0, x]], &Device::Cpu)?;
            Ok([("a", most), ("b", other), ("c", unknown)].map(|(name, t)| (name.to_string(), t)).into())
        };
        assert_eq!(not_finite(&of(-0.0)?)?, None);
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(not_finite(&of(x)?)?, Some("b"), "{x}");
        }
        Ok(())
    }
}
