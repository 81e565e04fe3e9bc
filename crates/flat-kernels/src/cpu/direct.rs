//! Convolution by the direct sum, in f32: windows of images whose channels lie next to each other, sixteen to a cache line.
//!
//! A window is then a few runs of whole registers, whatever the stride. Windows of a few images at a time make a matrix with a
//! row a pixel of the output, which meets the weights in one product. For strides beyond 1, where Winograd's algorithm is
//! not, and where there are too few tiles for it. Work is cut by sizes alone: same bits for any number of threads.

mod copy;
#[cfg(test)]
mod tests;

use super::block::{Block, PANEL, Products, ROWS};
use super::buffer::{Buffer, Dst};
use super::channel_last::Strip;
use super::transpose::transpose;
use super::word::Single;
use crate::{Float, Geometry, Pass};
use copy::{Gather, Scatter};
use pulp::Arch;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Rows that a matrix of windows should at least have, so that the weights are worth reading.
const LEAST_ROWS: usize = 128;
/// Depth of the products that are summed in registers before they go to memory.
const DEPTH: usize = 512;
/// Parts of the batch whose weight gradients are summed apart.
const PARTS: usize = 16;
/// Numbers that the weight gradients of all parts may take together.
const PARTIALS: usize = 1 << 23;

/// The kernels of one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direct {
    g: Geometry,
    /// Channels of the output, padded to whole panels.
    outputs: usize,
    /// Numbers of a window, and their distance from window to window: an odd number of cache lines, so that the windows'
    /// numbers of one channel fall into different sets of the cache.
    depth: usize,
    row: usize,
    /// Images whose windows make a matrix.
    images: usize,
    strip: Strip,
}

impl Direct {
    /// The kernels, where they are the faster ones: channels must half fill the panels, and the image not be its own matrix of
    /// windows.
    pub fn of(g: &Geometry) -> Option<Self> {
        let pointwise = (g.kh, g.kw, g.stride, g.padding) == (1, 1, 1, 0);
        let enough = g.channels >= PANEL / 2 && g.out_channels >= PANEL / 2;
        let some = g.n * g.h * g.w * g.oh * g.ow > 0;
        if pointwise || !enough || !some {
            return None;
        }
        let depth = g.kh * g.kw * g.channels.next_multiple_of(PANEL);
        Some(Self {
            g: *g,
            outputs: g.out_channels.next_multiple_of(PANEL),
            depth,
            row: ((depth / PANEL) | 1) * PANEL,
            images: LEAST_ROWS.div_ceil(g.oh * g.ow).min(g.n),
            strip: Strip { rows: g.h + 2 * g.padding, cols: g.w + 2 * g.padding, border: g.padding },
        })
    }

    /// A pass over the first and the second operand of [`Pass`].
    pub fn convolve(&self, pass: Pass, a: &[f32], b: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        match pass {
            Pass::Forward => self.forward(a, b, bias),
            Pass::GradInput => self.grad_input(a, b),
            Pass::GradWeight => self.grad_weight(a, b),
        }
    }

    /// See [`super::conv::forward`].
    fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let (g, rows) = (&self.g, self.rows());
        let mut y = Buffer::new(g.n * self.y_image());
        f32::with_scratch(self.depth * self.outputs, |ws| {
            self.weights(w, ws);
            let ws = &*ws;
            let chunks = x.par_chunks(self.images * self.x_image());
            chunks.zip(y.all().par_chunks_mut(self.images * self.y_image())).for_each(|(x, y)| {
                f32::with_scratch(rows * (self.row + self.outputs), |scratch| {
                    let (windows, sums) = scratch.split_at_mut(rows * self.row);
                    self.gather(x, windows);
                    for from in (0..self.depth).step_by(DEPTH) {
                        let block = Block {
                            k: DEPTH.min(self.depth - from),
                            a: Dst(windows[from..].as_mut_ptr()),
                            a_row: self.row,
                            a_step: 1,
                            b: Dst(ws[from * PANEL..].as_ptr().cast_mut()),
                            b_step: PANEL,
                            b_panel: self.depth * PANEL,
                            c: Dst(sums.as_mut_ptr()),
                            c_row: self.outputs,
                            accumulate: from > 0,
                        };
                        // SAFETY: the scratch has whole blocks of rows of both, the weights a panel of `depth` steps each.
                        unsafe { one(block, rows / ROWS, self.outputs / PANEL) };
                    }
                    self.write(sums, y, bias);
                });
            });
        });
        // SAFETY: the chunks have all images, and each was written whole.
        unsafe { y.finish() }
    }

    /// See [`super::conv::grad_input`].
    fn grad_input(&self, gy: &[f32], w: &[f32]) -> Vec<f32> {
        let (g, rows) = (&self.g, self.rows());
        let mut gx = Buffer::new(g.n * self.x_image());
        f32::with_scratch(self.depth * g.out_channels, |ws| {
            self.turned_weights(w, ws);
            let ws = &*ws;
            let chunks = gy.par_chunks(self.images * self.y_image());
            chunks.zip(gx.all().par_chunks_mut(self.images * self.x_image())).for_each(|(gy, gx)| {
                f32::with_scratch(rows * (self.row + self.outputs), |scratch| {
                    let (windows, grads) = scratch.split_at_mut(rows * self.row);
                    self.read(gy, grads);
                    let block = Block {
                        k: g.out_channels,
                        a: Dst(grads.as_mut_ptr()),
                        a_row: self.outputs,
                        a_step: 1,
                        b: Dst(ws.as_ptr().cast_mut()),
                        b_step: PANEL,
                        b_panel: g.out_channels * PANEL,
                        c: Dst(windows.as_mut_ptr()),
                        c_row: self.row,
                        accumulate: false,
                    };
                    // SAFETY: as in `forward`.
                    unsafe { one(block, rows / ROWS, self.depth / PANEL) };
                    self.scatter(windows, gx);
                });
            });
        });
        // SAFETY: as in `forward`.
        unsafe { gx.finish() }
    }

    /// See [`super::conv::grad_weight`].
    fn grad_weight(&self, x: &[f32], gy: &[f32]) -> Vec<f32> {
        let (g, rows, len) = (&self.g, self.rows(), self.outputs * self.depth);
        let parts = PARTS.min(PARTIALS / len).max(2);
        let part = g.n.div_ceil(parts).next_multiple_of(self.images);
        f32::with_scratch(g.n.div_ceil(part) * len, |all| {
            let pairs = x.par_chunks(part * self.x_image()).zip(gy.par_chunks(part * self.y_image()));
            pairs.zip(all.par_chunks_mut(len)).for_each(|((x, gy), sums)| {
                f32::with_scratch(rows * (self.row + self.outputs), |scratch| {
                    let (windows, grads) = scratch.split_at_mut(rows * self.row);
                    let chunks = x.chunks(self.images * self.x_image()).zip(gy.chunks(self.images * self.y_image()));
                    for (i, (x, gy)) in chunks.enumerate() {
                        self.gather(x, windows);
                        self.read(gy, grads);
                        let block = Block {
                            k: gy.len() / g.out_channels,
                            a: Dst(grads.as_mut_ptr()),
                            a_row: 1,
                            a_step: self.outputs,
                            b: Dst(windows.as_mut_ptr()),
                            b_step: self.row,
                            b_panel: PANEL,
                            c: Dst(sums.as_mut_ptr()),
                            c_row: self.depth,
                            accumulate: i > 0,
                        };
                        // SAFETY: as in `forward`; the sums have a row for every padded channel.
                        unsafe { one(block, g.out_channels.div_ceil(ROWS), self.depth / PANEL) };
                    }
                });
            });
            self.collect(all)
        })
    }

    fn x_image(&self) -> usize {
        self.g.channels * self.g.h * self.g.w
    }

    fn y_image(&self) -> usize {
        self.g.out_channels * self.pixels()
    }

    /// Pixels of an output plane.
    fn pixels(&self) -> usize {
        self.g.oh * self.g.ow
    }

    fn taps(&self) -> usize {
        self.g.kh * self.g.kw
    }

    /// Rows of a matrix of windows, padded.
    fn rows(&self) -> usize {
        (self.images * self.pixels()).next_multiple_of(ROWS)
    }

    /// Calls `f(channel, element of the window, number of the row)` for every number of a window that is not padding.
    fn numbers(&self, mut f: impl FnMut(usize, usize, usize)) {
        for c in 0..self.g.channels {
            for tap in 0..self.taps() {
                f(c, tap, (c / PANEL * self.taps() + tap) * PANEL + c % PANEL);
            }
        }
    }

    /// The weights `(panel of outputs, number of the window, 16 outputs)`.
    fn weights(&self, w: &[f32], ws: &mut [f32]) {
        let (taps, len) = (self.taps(), self.g.channels * self.taps());
        ws.par_chunks_mut(self.depth * PANEL).zip(w.par_chunks(PANEL * len)).for_each(|(ws, w)| {
            ws.fill(0.0);
            for (o, w) in w.chunks_exact(len).enumerate() {
                self.numbers(|c, tap, at| ws[at * PANEL + o] = w[c * taps + tap]);
            }
        });
    }

    /// The weights `(sixteen numbers of the window, output, 16)`.
    fn turned_weights(&self, w: &[f32], ws: &mut [f32]) {
        let (taps, outputs) = (self.taps(), self.g.out_channels);
        ws.par_chunks_mut(taps * outputs * PANEL).enumerate().for_each(|(panel, ws)| {
            ws.fill(0.0);
            let channels = panel * PANEL..self.g.channels.min((panel + 1) * PANEL);
            for (o, w) in w.chunks_exact(self.g.channels * taps).enumerate() {
                for (lane, c) in channels.clone().enumerate() {
                    (0..taps).for_each(|tap| ws[(tap * outputs + o) * PANEL + lane] = w[c * taps + tap]);
                }
            }
        });
    }

    /// The windows of a chunk's images.
    fn gather(&self, x: &[f32], windows: &mut [f32]) {
        let (plane, pixels) = (self.g.h * self.g.w, self.pixels());
        f32::with_scratch(self.strip.len(), |strip| {
            for (x, windows) in x.chunks_exact(self.x_image()).zip(windows.chunks_mut(pixels * self.row)) {
                for (panel, planes) in x.chunks(PANEL * plane).enumerate() {
                    self.strip.read(planes, (self.g.h, self.g.w), strip, |_| {});
                    Arch::new().dispatch(Gather {
                        g: &self.g,
                        cols: self.strip.cols,
                        strip,
                        windows,
                        row: self.row,
                        panel,
                    });
                }
            }
        });
    }

    /// The adjoint of [`Self::gather`]: every number of the windows added to the pixel that it came from.
    fn scatter(&self, windows: &[f32], gx: &mut [MaybeUninit<f32>]) {
        let (plane, pixels) = (self.g.h * self.g.w, self.pixels());
        f32::with_scratch(self.strip.len(), |strip| {
            for (gx, windows) in gx.chunks_exact_mut(self.x_image()).zip(windows.chunks(pixels * self.row)) {
                for (panel, planes) in gx.chunks_mut(PANEL * plane).enumerate() {
                    strip.fill(0.0);
                    Arch::new().dispatch(Scatter {
                        g: &self.g,
                        cols: self.strip.cols,
                        strip,
                        windows,
                        row: self.row,
                        panel,
                    });
                    self.strip.write(strip, planes, (self.g.h, self.g.w), None);
                }
            }
        });
    }

    /// Output gradients with a row a pixel, zeros for the channels that pad it.
    fn read(&self, gy: &[f32], grads: &mut [f32]) {
        let pixels = self.pixels();
        if self.outputs > self.g.out_channels {
            grads.fill(0.0);
        }
        for (gy, grads) in gy.chunks_exact(self.y_image()).zip(grads.chunks_mut(pixels * self.outputs)) {
            // SAFETY: an image has `pixels` numbers for each of its channels, the matrix a row of `outputs` for each pixel.
            unsafe {
                transpose(gy.as_ptr(), pixels, (self.g.out_channels, pixels), grads.as_mut_ptr(), self.outputs);
            }
        }
    }

    /// Sums with a row a pixel to the images of a chunk, all of them, plus the bias.
    fn write(&self, sums: &[f32], y: &mut [MaybeUninit<f32>], bias: Option<&[f32]>) {
        let pixels = self.pixels();
        for (y, sums) in y.chunks_exact_mut(self.y_image()).zip(sums.chunks(pixels * self.outputs)) {
            // SAFETY: as in `read`.
            unsafe {
                transpose(sums.as_ptr(), self.outputs, (pixels, self.g.out_channels), y.as_mut_ptr().cast(), pixels);
            }
            for (plane, bias) in y.chunks_exact_mut(pixels).zip(bias.into_iter().flatten()) {
                // SAFETY: all were written above.
                plane.iter_mut().for_each(|y| *unsafe { y.assume_init_mut() } += bias);
            }
        }
    }

    /// The sum over the parts, in their order, as a gradient for the weights.
    fn collect(&self, all: &[f32]) -> Vec<f32> {
        let (taps, depth) = (self.taps(), self.depth);
        let mut dw = vec![0.0; self.g.out_channels * self.g.channels * taps];
        dw.par_chunks_mut(self.g.channels * taps).enumerate().for_each(|(o, dw)| {
            f32::with_scratch(depth, |total| {
                total.fill(0.0);
                for part in all.chunks_exact(self.outputs * depth) {
                    total.iter_mut().zip(&part[o * depth..]).for_each(|(total, x)| *total += x);
                }
                self.numbers(|c, tap, at| dw[c * taps + tap] = total[at]);
            });
        });
        dw
    }
}

/// One product, by this thread.
///
/// # Safety
/// As [`Products::run`].
unsafe fn one(block: Block, rows: usize, panels: usize) {
    let (a_rows, c_rows) = (ROWS * block.a_row, ROWS * block.c_row);
    let products = Products { block, count: 1, a: 0, b: 0, c: 0, rows, a_rows, c_rows, panels };
    // SAFETY: the caller's promise.
    unsafe { products.run::<Single>(usize::MAX) }
}
