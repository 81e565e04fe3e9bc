//! A tensor as a view of a storage: where its elements lie, and their copy in order of rows.

use candle_core::{DType, Device, Tensor};

/// Most dimensions of a tensor.
const MAX_SIDES: usize = 8;

/// A tensor's place within a storage, in elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

impl View {
    /// Elements of the tensor.
    ///
    /// # Errors
    /// A view that reaches beyond a storage of `stored` elements, or that repeats elements of it.
    pub(super) fn count(&self, stored: u64) -> Result<u64, String> {
        let shape = &self.shape;
        if shape.len() > MAX_SIDES || shape.len() != self.strides.len() {
            return Err(format!("it has {} sides and {} strides", shape.len(), self.strides.len()));
        }
        let count = shape.iter().try_fold(1u64, |n, &side| n.checked_mul(side));
        let Some(count) = count.filter(|n| *n <= stored) else {
            return Err(format!("its shape {shape:?} has more elements than the {stored} of its storage"));
        };
        if count == 0 {
            return Ok(0);
        }
        let mut sides = shape.iter().zip(&self.strides);
        let last = sides.try_fold(self.offset, |at, (side, stride)| at.checked_add((side - 1).checked_mul(*stride)?));
        match last {
            Some(last) if last < stored => Ok(count),
            _ => Err(format!("its shape {shape:?} reaches beyond the {stored} elements of its storage")),
        }
    }

    /// Whether the elements lie one behind the other.
    fn in_rows(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(side, stride)| {
            let fits = *side <= 1 || *stride == expected;
            expected *= side;
            fits
        })
    }

    /// The tensor, of a storage for which [`Self::count`] gave no error.
    pub(super) fn tensor(&self, storage: &[u8], dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let size = dtype.size_in_bytes();
        let shape: Vec<usize> = self.shape.iter().map(|&side| side as usize).collect();
        let count: usize = shape.iter().product();
        let start = if count == 0 { 0 } else { self.offset as usize * size };
        if self.in_rows() || count == 0 {
            return Tensor::from_raw_buffer(&storage[start..start + count * size], dtype, &shape, device);
        }
        let mut bytes = Vec::with_capacity(count * size);
        let mut place = vec![0usize; shape.len()];
        for _ in 0..count {
            let offset: usize = place.iter().zip(&self.strides).map(|(i, stride)| i * *stride as usize).sum();
            let at = start + offset * size;
            bytes.extend_from_slice(&storage[at..at + size]);
            for (i, side) in place.iter_mut().zip(&shape).rev() {
                *i += 1;
                if *i < *side {
                    break;
                }
                *i = 0;
            }
        }
        Tensor::from_raw_buffer(&bytes, dtype, &shape, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(offset: u64, shape: &[u64], strides: &[u64]) -> View {
        View { offset, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    #[test]
    fn a_view_that_reaches_beyond_its_storage_or_repeats_it_is_refused() {
        assert_eq!(view(2, &[2, 3], &[3, 1]).count(8), Ok(6));
        assert_eq!(view(0, &[0, 5], &[5, 1]).count(0), Ok(0));
        for wrong in [
            view(3, &[2, 3], &[3, 1]),
            view(0, &[3, 3], &[0, 1]),
            view(0, &[2, 2], &[7, 1]),
            view(u64::MAX, &[1], &[1]),
            view(0, &[u64::MAX, u64::MAX], &[1, 1]),
            view(0, &[2, 2], &[u64::MAX, 1]),
            view(0, &[2], &[]),
            view(0, &[1; 9], &[1; 9]),
        ] {
            assert!(wrong.count(8).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_transposed_view_is_copied_in_order_of_its_rows() -> candle_core::Result<()> {
        let storage: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let columns = view(2, &[2, 3], &[1, 2]).tensor(&storage, DType::F32, &Device::Cpu)?;
        assert_eq!(columns.to_vec2::<f32>()?, [[2.0, 4.0, 6.0], [3.0, 5.0, 7.0]]);
        let rows = view(2, &[2, 3], &[3, 1]).tensor(&storage, DType::F32, &Device::Cpu)?;
        assert_eq!(rows.to_vec2::<f32>()?, [[2.0, 3.0, 4.0], [5.0, 6.0, 7.0]]);
        Ok(())
    }
}
