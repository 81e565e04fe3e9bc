//! Launches of max pooling; see `kernels/pool.cu`.

use crate::launch::{Launch, Real};

/// Planes of `h x w` that are pooled into `oh x ow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Images times channels.
    pub planes: usize,
    /// Rows of the input.
    pub h: usize,
    /// Columns of the input.
    pub w: usize,
    /// Rows of the output.
    pub oh: usize,
    /// Columns of the output.
    pub ow: usize,
    /// Side of a window.
    pub kernel: usize,
    /// Distance of windows.
    pub stride: usize,
    /// Border at each side.
    pub padding: usize,
}

impl Windows {
    fn sizes(self) -> [u64; 8] {
        [self.planes, self.h, self.w, self.oh, self.ow, self.kernel, self.stride, self.padding].map(|x| x as u64)
    }

    /// Elements of the input; at most 2^31.
    pub fn inputs(self) -> usize {
        self.planes * self.h * self.w
    }

    /// Elements of the output.
    pub fn outputs(self) -> usize {
        self.planes * self.oh * self.ow
    }

    /// Maxima `y` of `x`, and their places in their planes (`u32`).
    pub fn max(self, real: Real, x: u64, y: u64, places: u64) -> Launch {
        let args = [&[x, y, places][..], &self.sizes()].concat();
        Launch::over("pool_max", real, self.outputs(), &args)
    }

    /// `y`: the elements of `x` at the places.
    pub fn gather(self, real: Real, x: u64, places: u64, y: u64) -> Launch {
        let sizes = [self.planes, self.h * self.w, self.oh * self.ow].map(|x| x as u64);
        Launch::over("pool_gather", real, self.outputs(), &[&[x, places, y][..], &sizes].concat())
    }

    /// `x`: the elements of `g` put back to their places and added up, zeros elsewhere.
    pub fn scatter(self, real: Real, g: u64, places: u64, x: u64) -> Launch {
        let args = [&[g, places, x][..], &self.sizes()].concat();
        Launch::over("pool_scatter", real, self.inputs(), &args)
    }
}
