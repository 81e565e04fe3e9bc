//! Adaptive average pooling as a matrix.

use candle_core::{Result, Tensor};

/// The matrix `(side^2, h w)` of the means over windows that cover an image of `(h, w)` by `side x side`, of the device
/// and the element type of `like`. The i-th window of n goes from `floor(i n' / n)` up to `ceil((i + 1) n' / n)`
/// without it, as in PyTorch.
pub(crate) fn adaptive_means((h, w): (usize, usize), side: usize, like: &Tensor) -> Result<Tensor> {
    let window = |i: usize, len: usize| i * len / side..((i + 1) * len).div_ceil(side);
    let mut all = vec![0.0f64; side * side * h * w];
    for (place, row) in all.chunks_exact_mut(h * w).enumerate() {
        let (rows, columns) = (window(place / side, h), window(place % side, w));
        let share = 1.0 / (rows.len() * columns.len()) as f64;
        for y in rows {
            row[y * w + columns.start..y * w + columns.end].fill(share);
        }
    }
    Tensor::from_vec(all, (side * side, h * w), like.device())?.to_dtype(like.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn windows_that_overlap_are_those_of_pytorch() -> Result<()> {
        // torch.nn.functional.adaptive_avg_pool2d((torch.arange(20.) ** 2).reshape(1, 1, 5, 4), 3)
        let expected = [10.5, 16.5, 24.5, 83.0 + 1.0 / 6.0, 101.0 + 1.0 / 6.0, 121.0 + 1.0 / 6.0, 214.5, 244.5, 276.5];
        let image = Tensor::arange(0.0f64, 20.0, &Device::Cpu)?.sqr()?.reshape((20, 1))?;
        let got = adaptive_means((5, 4), 3, &image)?.matmul(&image)?.flatten_all()?.to_vec1::<f64>()?;
        for (got, expected) in got.iter().zip(expected) {
            // rounding of sums of six numbers
            assert!((got - expected).abs() < 1e-12 * expected, "{got} for {expected}");
        }
        Ok(())
    }
}
