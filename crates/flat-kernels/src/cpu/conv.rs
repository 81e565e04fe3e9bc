//! The CPU kernels of convolution: windows gathered into a matrix (im2col), then one matrix product a task.
//!
//! A task takes a fixed number of examples, whatever the number of threads, and sums over tasks run in a fixed order:
//! results are the same bits for any number of threads. A 1x1 convolution of stride 1 multiplies the input itself.

use super::matrix::{product, rows, transposed};
use crate::{Float, Geometry};
use rayon::prelude::*;

/// Columns that the matrix of a task should at least have, so that the product is worth its packing.
const COLUMNS: usize = 256;
/// Examples whose weight gradients one task sums, as a part of the batch.
const GRAD_WEIGHT_TASKS: usize = 16;
/// Elements that all partial weight gradients may take together.
const PARTIALS: usize = 1 << 23;

impl Geometry {
    /// Pixels of an output plane.
    fn pixels(&self) -> usize {
        self.oh * self.ow
    }

    /// Elements of a window over all channels: the depth of the products.
    fn depth(&self) -> usize {
        self.channels * self.kh * self.kw
    }

    fn x_len(&self) -> usize {
        self.channels * self.h * self.w
    }

    fn y_len(&self) -> usize {
        self.out_channels * self.pixels()
    }

    /// The input is its own matrix of windows.
    fn pointwise(&self) -> bool {
        self.kh == 1 && self.kw == 1 && self.stride == 1 && self.padding == 0
    }

    /// Examples a task takes together.
    fn chunk(&self) -> usize {
        COLUMNS.div_ceil(self.pixels().max(1)).clamp(1, self.n.max(1))
    }

    /// For output column `j` and kernel column `dx`: the output columns whose input column exists, and the first one's.
    fn valid(&self, k: usize, out: usize, len: usize) -> (usize, usize) {
        let (s, p) = (self.stride, self.padding);
        // input position o * s + k - p in 0..len
        let first = p.saturating_sub(k).div_ceil(s);
        let last = (len + p).saturating_sub(k).div_ceil(s).min(out);
        (first.min(last), last)
    }

    /// Windows of one example: row `(c, dy, dx)` of `cols`, `stride` elements apart, holds that input element of every
    /// output pixel.
    fn gather<T: Float>(&self, x: &[T], cols: &mut [T], stride: usize) {
        let (s, p) = (self.stride, self.padding);
        let mut row = 0;
        for plane in x.chunks_exact(self.h * self.w) {
            for dy in 0..self.kh {
                let (y0, y1) = self.valid(dy, self.oh, self.h);
                for dx in 0..self.kw {
                    let (x0, x1) = self.valid(dx, self.ow, self.w);
                    let out = &mut cols[row * stride..row * stride + self.pixels()];
                    row += 1;
                    out[..y0 * self.ow].fill(T::default());
                    out[y1 * self.ow..].fill(T::default());
                    for oy in y0..y1 {
                        let out = &mut out[oy * self.ow..(oy + 1) * self.ow];
                        out[..x0].fill(T::default());
                        out[x1..].fill(T::default());
                        if x1 == x0 {
                            continue;
                        }
                        let from = (oy * s + dy - p) * self.w + x0 * s + dx - p;
                        let out = &mut out[x0..x1];
                        if s == 1 {
                            out.copy_from_slice(&plane[from..from + out.len()]);
                        } else {
                            out.iter_mut().zip(plane[from..].iter().step_by(s)).for_each(|(o, x)| *o = *x);
                        }
                    }
                }
            }
        }
    }

    /// The adjoint of [`Self::gather`]: adds every element of `cols` to the input element that it came from.
    fn scatter<T: Float>(&self, cols: &[T], stride: usize, x: &mut [T]) {
        let (s, p) = (self.stride, self.padding);
        let mut row = 0;
        for plane in x.chunks_exact_mut(self.h * self.w) {
            for dy in 0..self.kh {
                let (y0, y1) = self.valid(dy, self.oh, self.h);
                for dx in 0..self.kw {
                    let (x0, x1) = self.valid(dx, self.ow, self.w);
                    let from = &cols[row * stride..row * stride + self.pixels()];
                    row += 1;
                    for oy in y0..y1 {
                        if x1 == x0 {
                            continue;
                        }
                        let to = (oy * s + dy - p) * self.w + x0 * s + dx - p;
                        let from = &from[oy * self.ow + x0..oy * self.ow + x1];
                        if s == 1 {
                            plane[to..].iter_mut().zip(from).for_each(|(x, c)| *x += *c);
                        } else {
                            plane[to..].iter_mut().step_by(s).zip(from).for_each(|(x, c)| *x += *c);
                        }
                    }
                }
            }
        }
    }
}

/// `y (n, o, oh, ow)` of `x (n, c, h, w)` and `w (o, c, kh, kw)`, plus a bias a channel.
pub fn forward<T: Float>(g: &Geometry, x: &[T], w: &[T], bias: Option<&[T]>) -> Vec<T> {
    let mut y = vec![T::default(); g.n * g.y_len()];
    if y.is_empty() || x.is_empty() {
        return y;
    }
    let (depth, pixels, chunk) = (g.depth(), g.pixels(), g.chunk());
    let fill = |y: &mut [T]| {
        if let Some(bias) = bias {
            y.chunks_exact_mut(pixels).zip(bias.iter().cycle()).for_each(|(y, b)| y.fill(*b));
        }
    };
    let each = |x: &[T], y: &mut [T], cols: &mut [T]| {
        // one example: its windows, then the product straight into the output
        fill(y);
        let windows = if g.pointwise() {
            x
        } else {
            g.gather(x, cols, pixels);
            &*cols
        };
        // SAFETY: `y` is this task's own and holds out_channels rows of `pixels`.
        unsafe {
            product(
                (g.out_channels, pixels, depth),
                y.as_mut_ptr(),
                pixels,
                bias.is_some(),
                rows(w, depth),
                rows(windows, pixels),
            );
        }
    };
    y.par_chunks_mut(chunk * g.y_len()).zip(x.par_chunks(chunk * g.x_len())).for_each(|(y, x)| {
        let examples = x.len() / g.x_len();
        let columns = examples * pixels;
        if examples == 1 {
            let len = if g.pointwise() { 0 } else { depth * pixels };
            T::with_scratch(len, |cols| each(x, y, cols));
            return;
        }
        T::with_scratch((depth + g.out_channels) * columns, |scratch| {
            let (cols, out) = scratch.split_at_mut(depth * columns);
            for (i, x) in x.chunks_exact(g.x_len()).enumerate() {
                g.gather(x, &mut cols[i * pixels..], columns);
            }
            // SAFETY: `out` is this task's scratch and holds out_channels rows of `columns`.
            unsafe {
                product(
                    (g.out_channels, columns, depth),
                    out.as_mut_ptr(),
                    columns,
                    false,
                    rows(w, depth),
                    rows(cols, columns),
                );
            }
            for (i, y) in y.chunks_exact_mut(g.y_len()).enumerate() {
                for (o, y) in y.chunks_exact_mut(pixels).enumerate() {
                    let out = &out[o * columns + i * pixels..][..pixels];
                    match bias {
                        Some(bias) => y.iter_mut().zip(out).for_each(|(y, v)| *y = *v + bias[o]),
                        None => y.copy_from_slice(out),
                    }
                }
            }
        });
    });
    y
}

/// Gathers a chunk's output gradients, `(i, o, pixels)` to `(o, i, pixels)`.
fn by_channel<T: Float>(g: &Geometry, gy: &[T], out: &mut [T]) {
    let (pixels, columns) = (g.pixels(), gy.len() / g.out_channels);
    for (i, gy) in gy.chunks_exact(g.y_len()).enumerate() {
        for (o, gy) in gy.chunks_exact(pixels).enumerate() {
            out[o * columns + i * pixels..][..pixels].copy_from_slice(gy);
        }
    }
}

/// The gradient for `x` of `<gy, F(x, w)>`.
pub fn grad_input<T: Float>(g: &Geometry, gy: &[T], w: &[T]) -> Vec<T> {
    let mut gx = vec![T::default(); g.n * g.x_len()];
    if gx.is_empty() || gy.is_empty() {
        return gx;
    }
    let (depth, pixels, chunk) = (g.depth(), g.pixels(), g.chunk());
    gx.par_chunks_mut(chunk * g.x_len()).zip(gy.par_chunks(chunk * g.y_len())).for_each(|(gx, gy)| {
        let examples = gx.len() / g.x_len();
        let columns = examples * pixels;
        let gathered = if examples == 1 { 0 } else { g.out_channels * columns };
        let direct = examples == 1 && g.pointwise();
        T::with_scratch(gathered + if direct { 0 } else { depth * columns }, |scratch| {
            let (buffer, cols) = scratch.split_at_mut(gathered);
            let gy = if examples == 1 {
                gy
            } else {
                by_channel(g, gy, buffer);
                &*buffer
            };
            let dst = if direct { gx.as_mut_ptr() } else { cols.as_mut_ptr() };
            // SAFETY: the destination is this task's part of the output, or its scratch: `depth` rows of `columns`.
            unsafe {
                product((depth, columns, g.out_channels), dst, columns, false, transposed(w, depth), rows(gy, columns));
            }
            if !direct {
                for (i, gx) in gx.chunks_exact_mut(g.x_len()).enumerate() {
                    g.scatter(&cols[i * pixels..], columns, gx);
                }
            }
        });
    });
    gx
}

/// The gradient for `w` of `<gy, F(x, w)>`.
pub fn grad_weight<T: Float>(g: &Geometry, x: &[T], gy: &[T]) -> Vec<T> {
    let len = g.out_channels * g.depth();
    if len == 0 || x.is_empty() || gy.is_empty() {
        return vec![T::default(); len];
    }
    let (depth, pixels, chunk) = (g.depth(), g.pixels(), g.chunk());
    let tasks = GRAD_WEIGHT_TASKS.min(PARTIALS / len).max(2);
    let part = g.n.div_ceil(tasks).next_multiple_of(chunk);
    let mut partials = vec![T::default(); g.n.div_ceil(part) * len];
    let work = x.par_chunks(part * g.x_len()).zip(gy.par_chunks(part * g.y_len()));
    partials.par_chunks_mut(len).zip(work).for_each(|(dw, (x, gy))| {
        let chunks = x.chunks(chunk * g.x_len()).zip(gy.chunks(chunk * g.y_len()));
        for (i, (x, gy)) in chunks.enumerate() {
            let examples = x.len() / g.x_len();
            let columns = examples * pixels;
            let gathered = if examples == 1 { 0 } else { g.out_channels * columns };
            let direct = examples == 1 && g.pointwise();
            T::with_scratch(gathered + if direct { 0 } else { depth * columns }, |scratch| {
                let (buffer, cols) = scratch.split_at_mut(gathered);
                let gy = if examples == 1 {
                    gy
                } else {
                    by_channel(g, gy, buffer);
                    &*buffer
                };
                let windows = if direct {
                    x
                } else {
                    for (i, x) in x.chunks_exact(g.x_len()).enumerate() {
                        g.gather(x, &mut cols[i * pixels..], columns);
                    }
                    &*cols
                };
                // the transposed gradient, so that only the smaller operand is rearranged for the product
                // SAFETY: `dw` is this task's own partial gradient, `depth` rows of out_channels.
                unsafe {
                    product(
                        (depth, g.out_channels, columns),
                        dw.as_mut_ptr(),
                        g.out_channels,
                        i > 0,
                        rows(windows, columns),
                        transposed(gy, columns),
                    );
                }
            });
        }
    });
    sum_transposed(&partials, g.out_channels, depth)
}

/// The sum of consecutive matrices of `depth` rows, in their order, transposed.
fn sum_transposed<T: Float>(partials: &[T], out_channels: usize, depth: usize) -> Vec<T> {
    let mut total = vec![T::default(); out_channels * depth];
    total.par_chunks_mut(depth).with_min_len((1usize << 12).div_ceil(depth)).enumerate().for_each(|(o, row)| {
        for part in partials.chunks_exact(out_channels * depth) {
            row.iter_mut().zip(part[o..].iter().step_by(out_channels)).for_each(|(t, p)| *t += *p);
        }
    });
    total
}
