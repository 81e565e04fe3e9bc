//! Adaptive average pooling as a matrix.

use candle_core::{Result, Tensor};

/// The matrix `(side^2, h w)` of the means over windows that cover an image of `(h, w)` by `side x side`, of the device and the element
/// type of `like`. The i-th window of n goes from `floor(i n' / n)` up to `ceil((i + 1) n' / n)` without it, as in PyTorch.
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
