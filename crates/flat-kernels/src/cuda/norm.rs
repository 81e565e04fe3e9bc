//! Launches of normalisation by channel; see `source/norm.cu`.

use super::launch::{Launch, Real};
use crate::Split;

/// Runs that a channel is summed in: enough blocks to fill a device, unless they had too little to do.
fn runs(s: Split) -> usize {
    1024usize.div_ceil(s.channels.max(1)).min(s.count().div_ceil(2048)).clamp(1, 65_535)
}

/// Doubles that the partial sums take.
pub fn partial(s: Split) -> usize {
    2 * runs(s) * s.channels
}

/// Operands of a layer, by their addresses: `x`, gain, bias and the statistics (3 rows of doubles: mean, variance,
/// `1 / sqrt(variance + eps)`).
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// `(outer, channels, inner)`.
    pub x: u64,
    /// `(channels)`.
    pub gain: u64,
    /// `(channels)`.
    pub bias: u64,
    /// `(3, channels)`, double.
    pub stats: u64,
}

/// Finds the statistics of a batch; `partial` is room for [`partial`] doubles. For a tensor that is not empty.
pub fn statistics(real: Real, s: Split, layer: Layer, partial: u64, eps: f64) -> [Launch; 2] {
    let (channels, inner, parts) = (s.channels as u64, s.inner as u64, runs(s) as u64);
    [
        Launch::new(
            "norm_sums",
            real,
            [s.channels as u32, runs(s) as u32],
            &[layer.x, partial, s.outer as u64, channels, inner, parts],
        ),
        Launch::over(
            "norm_stats",
            real,
            s.channels,
            &[layer.x, partial, layer.stats, s.count() as u64, channels, inner, parts, eps.to_bits()],
        ),
    ]
}

/// `y = gain (x - mean) r + bias`, `+ skip` unless that address is 0, then relu where asked.
pub fn apply(real: Real, s: Split, layer: Layer, skip: u64, relu: bool, y: u64) -> Launch {
    let Layer { x, gain, bias, stats } = layer;
    let n = s.elements();
    let args = [x, gain, bias, skip, stats, y, n as u64, s.channels as u64, s.inner as u64, u64::from(relu)];
    Launch::over("norm_apply", real, n, &args)
}

/// How the backward pass knows where relu was active.
#[derive(Debug, Clone, Copy)]
pub enum Mask {
    /// There is no relu.
    All,
    /// Where the output, computed again from `x`, is positive.
    Again,
    /// Where the output at this address is positive.
    Output(u64),
}

/// Addresses that the backward pass writes to.
#[derive(Debug, Clone, Copy)]
pub struct Gradients {
    /// Like `x`.
    pub x: u64,
    /// `(channels)`.
    pub gain: u64,
    /// `(channels)`.
    pub bias: u64,
    /// Like `x`, or 0 for none.
    pub skip: u64,
}

/// Gradients of all operands for a gradient `g` of the output. `partial` is room for [`partial`] doubles, `total` for
/// `2 channels`; `batch` says whether the statistics are those of `x`.
#[allow(clippy::too_many_arguments)] // addresses
pub fn backward(
    real: Real,
    s: Split,
    layer: Layer,
    mask: Mask,
    g: u64,
    [partial, total]: [u64; 2],
    batch: bool,
    to: Gradients,
) -> [Launch; 3] {
    let Layer { x, gain, bias, stats } = layer;
    let (mask, y) = match mask {
        Mask::All => (0, 0),
        Mask::Again => (1, 0),
        Mask::Output(y) => (2, y),
    };
    let (n, outer, channels, inner, parts) =
        (s.elements(), s.outer as u64, s.channels as u64, s.inner as u64, runs(s) as u64);
    [
        Launch::new(
            "norm_backward_sums",
            real,
            [s.channels as u32, runs(s) as u32],
            &[x, y, g, gain, bias, stats, partial, outer, channels, inner, parts, mask],
        ),
        Launch::over(
            "norm_backward_total",
            real,
            s.channels,
            &[partial, total, to.gain, to.bias, s.count() as u64, channels, parts],
        ),
        Launch::over(
            "norm_backward_apply",
            real,
            n,
            &[x, y, g, gain, bias, stats, total, to.x, to.skip, n as u64, channels, inner, mask, u64::from(batch)],
        ),
    ]
}

/// Running statistics of a layer, by their addresses.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    /// `(channels)`.
    pub mean: u64,
    /// `(channels)`.
    pub var: u64,
    /// One number of 64 bits: batches seen.
    pub seen: u64,
}

/// Moves the running statistics by `momentum` towards the batch's, of which the variance is multiplied by `unbiased` first.
pub fn running(real: Real, channels: usize, stats: u64, to: Running, unbiased: f64, momentum: f64) -> Launch {
    let Running { mean, var, seen } = to;
    let args = [stats, mean, var, seen, channels as u64, unbiased.to_bits(), momentum.to_bits()];
    Launch::over("norm_running", real, channels, &args)
}
