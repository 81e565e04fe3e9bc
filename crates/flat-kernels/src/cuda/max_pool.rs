//! Launches of max pooling; see `source/pool.cu`. Places are `u32`, each in its own plane.

use super::launch::{Launch, Real};
use crate::Windows;

fn sizes(s: Windows) -> [u64; 8] {
    [s.planes, s.h, s.w, s.oh, s.ow, s.kernel, s.stride, s.padding].map(|x| x as u64)
}

/// Maxima `y` of `x`, and their places.
pub fn max(real: Real, s: Windows, x: u64, y: u64, places: u64) -> Launch {
    Launch::over("pool_max", real, s.outputs(), &[&[x, y, places][..], &sizes(s)].concat())
}

/// `y`: the elements of `x` at the places.
pub fn gather(real: Real, s: Windows, x: u64, places: u64, y: u64) -> Launch {
    let sizes = [s.planes, s.h * s.w, s.oh * s.ow].map(|x| x as u64);
    Launch::over("pool_gather", real, s.outputs(), &[&[x, places, y][..], &sizes].concat())
}

/// `x`: the elements of `g` put back to their places and added up, zeros elsewhere.
pub fn scatter(real: Real, s: Windows, g: u64, places: u64, x: u64) -> Launch {
    Launch::over("pool_scatter", real, s.inputs(), &[&[g, places, x][..], &sizes(s)].concat())
}
