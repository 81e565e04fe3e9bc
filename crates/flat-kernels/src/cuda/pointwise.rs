//! Launches of relu, and of shifts and sums by channel; see `source/pointwise.cu`.

use super::launch::{Launch, Real};
use crate::Split;

/// `y = max(x, 0)`.
pub fn relu(real: Real, n: usize, x: u64, y: u64) -> Launch {
    Launch::over("relu", real, n, &[x, y, n as u64])
}

/// `y = max(a + b, 0)`.
pub fn add_relu(real: Real, n: usize, a: u64, b: u64, y: u64) -> Launch {
    Launch::over("add_relu", real, n, &[a, b, y, n as u64])
}

/// `out`: `g` where relu gave a positive `y`, else 0.
pub fn relu_mask(real: Real, n: usize, g: u64, y: u64, out: u64) -> Launch {
    Launch::over("relu_mask", real, n, &[g, y, out, n as u64])
}

/// `y = x + shift`, a shift a channel, then relu where asked.
pub fn channel_shift(real: Real, s: Split, x: u64, shift: u64, relu: bool, y: u64) -> Launch {
    let n = s.elements();
    let args = [x, shift, y, n as u64, s.channels as u64, s.inner as u64, u64::from(relu)];
    Launch::over("channel_shift", real, n, &args)
}

/// The gradients of [`channel_shift`] with relu, which gave `y`: `dx`, and `dshift` a channel.
pub fn shift_gradient(real: Real, s: Split, g: u64, y: u64, dx: u64, dshift: u64) -> Launch {
    let n = s.elements();
    let mut launch = Launch::over("shift_gradient", real, n, &[]);
    let blocks = launch.grid[0];
    launch.args = vec![g, y, dx, dshift, u64::from(blocks), n as u64, s.channels as u64, s.inner as u64];
    launch.grid[0] += s.channels as u32;
    launch
}

/// The mean of each of so many planes of `area` elements.
pub fn plane_mean(real: Real, planes: usize, area: usize, x: u64, y: u64) -> Launch {
    Launch::over("plane_mean", real, planes, &[x, y, planes as u64, area as u64])
}

/// An equal share of a number a plane for each of its elements.
pub fn plane_share(real: Real, planes: usize, area: usize, g: u64, x: u64) -> Launch {
    let n = planes * area;
    Launch::over("plane_share", real, n, &[g, x, n as u64, area as u64])
}

/// Runs that a channel is summed in: one where a block has little to do or the channels fill a device.
fn runs(s: Split) -> usize {
    256usize.div_ceil(s.channels.max(1)).min(s.count().div_ceil(8192)).clamp(1, 65_535)
}

/// Doubles of room that the sums of all channels take; none where each is one run.
pub fn partial(s: Split) -> usize {
    if runs(s) == 1 { 0 } else { runs(s) * s.channels }
}

/// `out`: the sum of every channel; `partial` is room for [`partial`] doubles.
pub fn channel_sum(real: Real, s: Split, x: u64, partial: u64, out: u64) -> Vec<Launch> {
    let (channels, parts) = (s.channels as u64, runs(s));
    let grid = [s.channels as u32, parts as u32];
    let sizes = [s.count() as u64, channels, s.inner as u64];
    if parts == 1 {
        return vec![Launch::new("channel_sum", real, grid, &[&[x, out][..], &sizes].concat())];
    }
    vec![
        Launch::new("channel_sums", real, grid, &[&[x, partial][..], &sizes].concat()),
        Launch::over("channel_total", real, s.channels, &[partial, out, channels, parts as u64]),
    ]
}
