//! Launches of max pooling; see `source/pool.cu`. Places are `u32`, each in its own plane.

use super::launch::{Launch, Real};
use crate::Windows;

fn sizes(s: Windows) -> [u64; 8] {
    [s.planes, s.h, s.w, s.oh, s.ow, s.kernel, s.stride, s.padding].map(|x| x as u64)
}

/// Maxima `y` of `x`, and their places.
pub fn max(real: Real, s: Windows, x: u64, y: u64, places: u64) -> Launch {
    Launch::over("pool_max", real, s.outputs(), &[&[x, y, places][..], &sizes(s), &[0, 1, 0]].concat())
}

/// `y = max(maximum of (x + shift), 0)` and the places of the maxima, with a shift for each of so many channels.
pub fn shifted(real: Real, s: Windows, x: u64, (shift, channels): (u64, usize), y: u64, places: u64) -> Launch {
    let end = [shift, channels as u64, 1];
    Launch::over("pool_max", real, s.outputs(), &[&[x, y, places][..], &sizes(s), &end].concat())
}

/// `y`: the elements of `x` at the places.
pub fn gather(real: Real, s: Windows, x: u64, places: u64, y: u64) -> Launch {
    let sizes = [s.planes, s.h * s.w, s.oh * s.ow].map(|x| x as u64);
    Launch::over("pool_gather", real, s.outputs(), &[&[x, places, y][..], &sizes].concat())
}

/// `x`: the elements of `g` put back to their places and added up, zeros elsewhere.
pub fn scatter(real: Real, s: Windows, g: u64, places: u64, x: u64) -> Launch {
    put_back(real, s, [g, places, x], 0, (0, 0))
}

/// The gradients of [`shifted`], which gave `y`: that of `x`, and that of the shift of each of so many channels.
pub fn shifted_gradient(real: Real, s: Windows, operands: [u64; 3], y: u64, (shift, channels): (u64, usize)) -> Launch {
    put_back(real, s, operands, y, (shift, channels))
}

fn put_back(real: Real, s: Windows, operands: [u64; 3], y: u64, (shift, channels): (u64, usize)) -> Launch {
    let mut launch = Launch::over("pool_scatter", real, s.inputs(), &[]);
    let blocks = launch.grid[0];
    launch.args = [&operands[..], &sizes(s), &[y, shift, channels.max(1) as u64, u64::from(blocks)]].concat();
    launch.grid[0] += channels as u32;
    launch
}
