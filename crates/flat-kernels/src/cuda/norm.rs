//! Launches of normalisation by channel; see `source/norm.cu`. A pass of a layer is at most two.

use super::launch::{Launch, Real};
use crate::Split;

/// Elements of a channel that one block sums and then goes over again.
const WHOLE: usize = 8192;

/// Runs that a channel is summed in: enough blocks to fill a device, unless they had too little to do; 0 where the channel
/// belongs to one block.
pub(super) fn runs(s: Split) -> usize {
    if s.count() <= WHOLE {
        return 0;
    }
    1024usize.div_ceil(s.channels.max(1)).min(s.count().div_ceil(2048)).clamp(1, 65_535)
}

/// Doubles that the partial sums take; none where there are none.
pub fn partial(s: Split) -> usize {
    2 * runs(s) * s.channels
}

/// Operands of a layer, by their addresses: `x`, gain, bias and the statistics (3 rows of doubles: mean, variance,
/// `1 / sqrt(variance + eps)`).
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// `(outer, channels, inner)`.
    pub x: u64,
    /// `(channels)`, or 0 for ones.
    pub gain: u64,
    /// `(channels)`, or 0 for zeros.
    pub bias: u64,
    /// `(3, channels)`, double.
    pub stats: u64,
}

/// Sizes as the kernels take them: elements of a channel, channels, pixels.
pub(super) fn sizes(s: Split) -> [u64; 3] {
    [s.count(), s.channels, s.inner].map(|n| n as u64)
}

/// `y = gain (x - mean) r + bias` with the statistics of the batch, which are left in the layer's; `+ skip` unless that
/// address is 0, then relu where asked. `partial` is room for [`partial`] doubles. For a tensor that is not empty.
#[allow(clippy::too_many_arguments)] // addresses
pub fn forward(
    real: Real,
    s: Split,
    layer: Layer,
    partial: u64,
    eps: f64,
    skip: u64,
    relu: bool,
    y: u64,
) -> Vec<Launch> {
    let Layer { x, gain, bias, stats } = layer;
    let (sizes, end) = (sizes(s), [eps.to_bits(), u64::from(relu)]);
    let operands = [x, gain, bias, skip, stats, y];
    let channels = s.channels as u32;
    match runs(s) as u32 {
        0 => vec![Launch::new("norm_whole", real, [channels, 1], &[&operands[..], &sizes, &end].concat())],
        runs => vec![
            Launch::new("norm_sums", real, [channels, runs], &[&[x, partial][..], &sizes].concat()),
            Launch::new("norm_runs", real, [channels, runs], &[&[partial][..], &operands, &sizes, &end].concat()),
        ],
    }
}

/// The same by statistics that are constants.
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

impl Mask {
    /// As the kernels take it, with whether the statistics are those of `x`; and the output's address.
    pub(super) fn flags(self, batch: bool) -> (u64, u64) {
        let (mask, y) = match self {
            Self::All => (0, 0),
            Self::Again => (1, 0),
            Self::Output(y) => (2, y),
        };
        (mask | (4 * u64::from(batch)), y)
    }
}

/// Addresses that the backward pass writes to.
#[derive(Debug, Clone, Copy)]
pub struct Gradients {
    /// Like `x`.
    pub x: u64,
    /// `(channels)`, or 0 for none.
    pub gain: u64,
    /// `(channels)`, or 0 for none.
    pub bias: u64,
    /// Like `x`, or 0 for none.
    pub skip: u64,
}

/// Gradients of all operands for a gradient `g` of the output. `partial` is room for [`partial`] doubles; `batch` says
/// whether the statistics are those of `x`. For a tensor that is not empty.
#[allow(clippy::too_many_arguments)] // addresses
pub fn backward(
    real: Real,
    s: Split,
    layer: Layer,
    mask: Mask,
    g: u64,
    partial: u64,
    batch: bool,
    to: Gradients,
) -> Vec<Launch> {
    let Layer { x, gain, bias, stats } = layer;
    let (flags, y) = mask.flags(batch);
    let (sizes, flags) = (sizes(s), [flags]);
    let (operands, to) = ([x, y, g, gain, bias, stats], [to.gain, to.bias, to.x, to.skip]);
    let channels = s.channels as u32;
    match runs(s) as u32 {
        0 => vec![Launch::new(
            "norm_backward_whole",
            real,
            [channels, 1],
            &[&operands[..], &to, &sizes, &flags].concat(),
        )],
        runs => vec![
            Launch::new(
                "norm_backward_sums",
                real,
                [channels, runs],
                &[&operands[..], &[partial], &sizes, &flags].concat(),
            ),
            Launch::new(
                "norm_backward_runs",
                real,
                [channels, runs],
                &[&[partial][..], &operands, &to, &sizes, &flags].concat(),
            ),
        ],
    }
}

/// Running statistics of a layer, by their addresses, and what moves them.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    /// `(3, channels)`, double: the batch's, as [`forward`] leaves them.
    pub stats: u64,
    /// `(channels)`.
    pub mean: u64,
    /// `(channels)`.
    pub var: u64,
    /// One number of 64 bits: batches seen.
    pub seen: u64,
    /// How many there are.
    pub channels: usize,
    /// What makes the batch's variance an unbiased one.
    pub unbiased: f64,
}

impl Running {
    /// The layers' numbers as [`running`] reads them.
    pub fn table(layers: &[Self]) -> Vec<u64> {
        let row = |l: &Self| [l.stats, l.mean, l.var, l.seen, l.channels as u64, l.unbiased.to_bits()];
        layers.iter().flat_map(row).collect()
    }
}

/// Moves the running statistics of all layers of the table at `table` by `momentum` towards the batch's.
pub fn running(real: Real, layers: usize, table: u64, momentum: f64) -> Launch {
    Launch::new("norm_running", real, [layers as u32, 1], &[table, momentum.to_bits()])
}
