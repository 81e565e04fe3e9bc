//! Convolution of stride 1 by Winograd's algorithm, with a fraction of the direct sum's multiplications, in f32.
//!
//! The image is cut into tiles of m x m outputs. Every tile of 6 x 6 inputs becomes 36 numbers a channel, each of the 36 is
//! a matrix product over the channels of its own, and the results become the outputs: F(4x4, 3x3) multiplies a quarter as
//! often as the direct sum, F(2x2, 5x5) about a third. The gradients are the exact adjoints of these linear maps, so the
//! three passes are each other's derivatives up to rounding. Against f64 the relative error is 1e-6 to 1e-5.
//!
//! Inside, sixteen channels lie next to each other, so that the transforms work on whole registers; images are turned
//! around on the way in and out. Chunks of images are worked on: each by a thread alone, as many images as fit a core's cache, or, where
//! the weights are large or chunks are few, one after the other by all threads. Sums run over parts of the chunks in their
//! order. Where one chunk has all images, the weights are many, and a block of channels is worked on at a time. All of that is the
//! same whatever the number of threads.

mod along;
mod plan;
mod products;
#[cfg(test)]
mod tests;
mod tiles;
mod transform;

use super::block::{PANEL, ROWS};
use super::buffer::Buffer;
use super::norm::Again;
use super::word::{Single, Word};
use crate::{Float, Geometry, Pass};
use along::{forward_along, gradients_along, taylor};
use plan::Plan;
use rayon::prelude::*;
use transform::POINTS;

/// Numbers that transformed weights may take for passes to be taken together, each with scratch of its own: 16 MB.
const JOINT: usize = 4 << 20;

/// The kernels, by the size of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Winograd {
    /// F(4x4, 3x3).
    Three,
    /// F(2x2, 5x5).
    Five,
}

/// Calls a function of this module for a size of tiles and windows.
macro_rules! sized {
    ($size:expr, $function:ident::<$word:ty>($($operand:expr),*)) => {
        match $size {
            Winograd::Three => $function::<$word, 4, 3>($($operand),*),
            Winograd::Five => $function::<$word, 2, 5>($($operand),*),
        }
    };
}

impl Winograd {
    /// The kernels for a convolution, where they are the faster ones.
    pub fn of(g: &Geometry) -> Option<Self> {
        match (g.kh, g.kw, g.stride) {
            (3, 3, 1) if faster::<4>(g) => Some(Self::Three),
            (5, 5, 1) if faster::<2>(g) => Some(Self::Five),
            _ => None,
        }
    }

    /// A pass over the first and the second operand of [`Pass`], its transformed operands rounded to these words.
    pub(super) fn convolve<W: Word>(self, pass: Pass, g: &Geometry, a: &[f32], b: &[f32]) -> Vec<f32> {
        match pass {
            Pass::Forward => sized!(self, forward::<W>(g, a, b, None)),
            Pass::GradInput => sized!(self, grad_input::<W>(g, a, b)),
            Pass::GradWeight => sized!(self, grad_weight::<W>(g, (a, None), b)),
        }
    }

    /// See [`super::conv::forward`].
    pub fn forward(self, g: &Geometry, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        sized!(self, forward::<Single>(g, x, w, bias))
    }

    /// See [`super::conv::grad_input`].
    pub fn grad_input(self, g: &Geometry, gy: &[f32], w: &[f32]) -> Vec<f32> {
        sized!(self, grad_input::<Single>(g, gy, w))
    }

    /// See [`super::conv::grad_weight`].
    pub fn grad_weight(self, g: &Geometry, x: &[f32], gy: &[f32]) -> Vec<f32> {
        sized!(self, grad_weight::<Single>(g, (x, None), gy))
    }

    /// [`Self::grad_weight`] for the images that `again` makes of `x`.
    pub fn grad_weight_again(self, g: &Geometry, again: &Again, x: &[f32], gy: &[f32]) -> Vec<f32> {
        sized!(self, grad_weight::<Single>(g, (x, Some(again)), gy))
    }

    /// Both gradients of `<gy, F(x, w)>` for `[x, w, gy]`, with one transform of `gy`.
    pub fn gradients(self, g: &Geometry, operands: [&[f32]; 3]) -> [Vec<f32>; 2] {
        self.gradients_of::<Single>(g, operands)
    }

    /// [`Self::gradients`] for the images that `again` makes of `x`.
    pub fn gradients_again(self, g: &Geometry, again: &Again, operands: [&[f32]; 3]) -> [Vec<f32>; 2] {
        sized!(self, gradients::<Single>(g, operands, Some(again)))
    }

    /// The same, with transformed operands rounded to these words.
    pub(super) fn gradients_of<W: Word>(self, g: &Geometry, operands: [&[f32]; 3]) -> [Vec<f32>; 2] {
        sized!(self, gradients::<W>(g, operands, None))
    }

    /// The Taylor coefficients, from number `from` on, of `F(x(t), w + t w_dot) + bias + t bias_dot`, for those of `x`. The last of
    /// `x` may be left out as zero.
    pub fn taylor(
        self,
        g: &Geometry,
        x: &[Option<&[f32]>],
        w: [&[f32]; 2],
        biases: [Option<&[f32]>; 2],
        from: usize,
    ) -> Vec<Vec<f32>> {
        sized!(self, taylor::<Single>(g, x, w, biases, from))
    }

    /// `F(x, w) + bias`, then its derivatives along directions `[x_k, w_k]` of the operands; a bias for each, where there are any.
    pub fn forward_along(
        self,
        g: &Geometry,
        of: [&[f32]; 2],
        dots: &[[&[f32]; 2]],
        biases: &[Option<&[f32]>],
    ) -> Vec<Vec<f32>> {
        match self {
            Self::Three => forward_along::<4, 3>(g, of, dots, biases),
            Self::Five => forward_along::<2, 5>(g, of, dots, biases),
        }
    }

    /// The gradient for `x` of `<gy, F(x, w)>` for `[x, w, gy]`, and along directions of these the derivatives of the gradients for
    /// `x` and `w`.
    pub fn gradients_along(
        self,
        g: &Geometry,
        of: [&[f32]; 3],
        dots: &[[&[f32]; 3]],
    ) -> (Vec<f32>, Vec<[Vec<f32>; 2]>) {
        match self {
            Self::Three => gradients_along::<4, 3>(g, of, dots),
            Self::Five => gradients_along::<2, 5>(g, of, dots),
        }
    }
}

/// Whether passes that share their transforms are computed together. Wide layers are not: their images are small and
/// their weights large, so that joining saves little time and takes much memory.
pub fn may_join(g: &Geometry) -> bool {
    POINTS * g.channels * g.out_channels <= JOINT
}

/// Whether tiles of `M x M` outputs pay. Measured: channels must half fill the panels, the tiles the image, and there must
/// be enough of them to pay for the weights' transform.
fn faster<const M: usize>(g: &Geometry) -> bool {
    let tiles = g.oh.div_ceil(M) * g.ow.div_ceil(M);
    let direct = g.kh * g.kw * g.oh * g.ow;
    g.channels >= PANEL / 2 && g.out_channels >= PANEL / 2 && 2 * POINTS * tiles <= direct && g.n * tiles >= 2 * ROWS
}

/// `F(x, w) + bias`.
fn forward<W: Word, const M: usize, const R: usize>(
    g: &Geometry,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let plan = Plan::new::<M>(g);
    let (inputs, outputs) = (&plan.inputs, &plan.outputs);
    let mut y = Buffer::new(g.n * outputs.image());
    if plan.is_one_chunk() {
        plan.with_points(plan.block(outputs, inputs), |xs, ys, ws| {
            plan.transform::<W, M>(inputs, false, x, xs);
            plan.multiply_blocks::<W, R>((inputs, xs), (w, false, ws), (outputs, ys));
            plan.restore::<W, M>(outputs, false, ys, y.all(), bias);
        });
        // SAFETY: the chunk has all images; below, the chunks cover them, as in the other passes.
        return unsafe { y.finish() };
    }
    f32::with_scratch(POINTS * g.channels * outputs.padded, |ws| {
        plan.weights::<W, R>(w, false, ws);
        let ws = &*ws;
        let chunks = x.par_chunks(plan.chunk(inputs)).zip(y.all().par_chunks_mut(plan.chunk(outputs)));
        plan.each(chunks, |(x, y)| {
            plan.with_points(0, |xs, ys, _| {
                plan.transform::<W, M>(inputs, false, x, xs);
                plan.multiply::<W>((inputs, xs), ws, (outputs, ys), false);
                plan.restore::<W, M>(outputs, false, ys, y, bias);
            });
        });
    });
    // SAFETY: as above.
    unsafe { y.finish() }
}

/// The gradient for `x` of `<gy, F(x, w)>`.
fn grad_input<W: Word, const M: usize, const R: usize>(g: &Geometry, gy: &[f32], w: &[f32]) -> Vec<f32> {
    let plan = Plan::new::<M>(g);
    let (inputs, outputs) = (&plan.inputs, &plan.outputs);
    let mut gx = Buffer::new(g.n * inputs.image());
    if plan.is_one_chunk() {
        plan.with_points(plan.block(inputs, outputs), |xs, ys, ws| {
            plan.transform::<W, M>(outputs, true, gy, ys);
            plan.multiply_blocks::<W, R>((outputs, ys), (w, true, ws), (inputs, xs));
            plan.restore::<W, M>(inputs, true, xs, gx.all(), None);
        });
        // SAFETY: as in `forward`.
        return unsafe { gx.finish() };
    }
    f32::with_scratch(POINTS * g.out_channels * inputs.padded, |ws| {
        plan.weights::<W, R>(w, true, ws);
        let ws = &*ws;
        let chunks = gy.par_chunks(plan.chunk(outputs)).zip(gx.all().par_chunks_mut(plan.chunk(inputs)));
        plan.each(chunks, |(gy, gx)| {
            plan.with_points(0, |xs, ys, _| {
                plan.transform::<W, M>(outputs, true, gy, ys);
                plan.multiply::<W>((outputs, ys), ws, (inputs, xs), false);
                plan.restore::<W, M>(inputs, true, xs, gx, None);
            });
        });
    });
    // SAFETY: as in `forward`.
    unsafe { gx.finish() }
}

/// The gradient for `w` of `<gy, F(x, w)>`, with `x` made again where it is said how.
fn grad_weight<W: Word, const M: usize, const R: usize>(
    g: &Geometry,
    (x, again): (&[f32], Option<&Again>),
    gy: &[f32],
) -> Vec<f32> {
    let plan = Plan::new::<M>(g);
    let (inputs, outputs) = (&plan.inputs, &plan.outputs);
    let mut dw = vec![0.0; g.out_channels * g.channels * R * R];
    if plan.is_one_chunk() {
        plan.with_points(plan.block(outputs, inputs), |xs, ys, sums| {
            plan.transform_made::<W, M>(inputs, false, (x, again), xs);
            plan.transform::<W, M>(outputs, true, gy, ys);
            plan.correlate_blocks::<W, R>([ys, xs, sums], &mut dw);
        });
        return dw;
    }
    let sums = POINTS * outputs.padded * inputs.padded;
    let part = |side| plan.summed() * plan.chunk(side);
    f32::with_scratch(plan.parts() * sums, |all| {
        let parts = x.par_chunks(part(inputs)).zip(gy.par_chunks(part(outputs))).zip(all.par_chunks_mut(sums));
        plan.each(parts, |((x, gy), sums)| {
            plan.with_points(0, |xs, ys, _| {
                for (i, (x, gy)) in x.chunks(plan.chunk(inputs)).zip(gy.chunks(plan.chunk(outputs))).enumerate() {
                    plan.transform_made::<W, M>(inputs, false, (x, again), xs);
                    plan.transform::<W, M>(outputs, true, gy, ys);
                    plan.correlate::<W>(ys, xs, sums, i == 0);
                }
            });
        });
        plan.collect::<W, R>(all.chunks(sums), &mut dw);
    });
    dw
}

/// The gradients for `x` and `w` of `<gy, F(x, w)>`, with `x` made again where it is said how.
fn gradients<W: Word, const M: usize, const R: usize>(
    g: &Geometry,
    [x, w, gy]: [&[f32]; 3],
    again: Option<&Again>,
) -> [Vec<f32>; 2] {
    let plan = Plan::new::<M>(g);
    let (inputs, outputs) = (&plan.inputs, &plan.outputs);
    let (mut gx, mut dw) = (Buffer::new(g.n * inputs.image()), vec![0.0; g.out_channels * g.channels * R * R]);
    let (weights, sums) = (POINTS * g.out_channels * inputs.padded, POINTS * outputs.padded * inputs.padded);
    let part = |side| plan.summed() * plan.chunk(side);
    f32::with_scratch(weights + plan.parts() * sums, |scratch| {
        let (ws, all) = scratch.split_at_mut(weights);
        plan.weights::<W, R>(w, true, ws);
        let ws = &*ws;
        let images = x.par_chunks(part(inputs)).zip(gx.all().par_chunks_mut(part(inputs)));
        let parts = images.zip(gy.par_chunks(part(outputs))).zip(all.par_chunks_mut(sums));
        plan.each(parts, |(((x, gx), gy), sums)| {
            plan.with_points(0, |xs, ys, _| {
                let chunks = x.chunks(plan.chunk(inputs)).zip(gx.chunks_mut(plan.chunk(inputs)));
                for (i, ((x, gx), gy)) in chunks.zip(gy.chunks(plan.chunk(outputs))).enumerate() {
                    plan.transform::<W, M>(outputs, true, gy, ys);
                    plan.multiply::<W>((outputs, ys), ws, (inputs, xs), false);
                    plan.restore::<W, M>(inputs, true, xs, gx, None);
                    plan.transform_made::<W, M>(inputs, false, (x, again), xs);
                    plan.correlate::<W>(ys, xs, sums, i == 0);
                }
            });
        });
        plan.collect::<W, R>(all.chunks(sums), &mut dw);
    });
    // SAFETY: as in `forward`.
    [unsafe { gx.finish() }, dw]
}
