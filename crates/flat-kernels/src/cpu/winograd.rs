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
//! order. All of that is the same whatever the number of threads.

mod plan;
mod tiles;
mod transform;

use super::block::{PANEL, ROWS};
use super::buffer::Buffer;
use super::norm::Again;
use super::word::{Single, Word};
use crate::{Float, Geometry, Pass};
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
    // SAFETY: the chunks cover all images, as in the other passes.
    unsafe { y.finish() }
}

/// The gradient for `x` of `<gy, F(x, w)>`.
fn grad_input<W: Word, const M: usize, const R: usize>(g: &Geometry, gy: &[f32], w: &[f32]) -> Vec<f32> {
    let plan = Plan::new::<M>(g);
    let (inputs, outputs) = (&plan.inputs, &plan.outputs);
    let mut gx = Buffer::new(g.n * inputs.image());
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
        plan.collect::<W, R>(all, &mut dw);
    });
    dw
}

/// Consecutive parts of a buffer.
fn parts<const N: usize>(mut buffer: &mut [f32], lengths: [usize; N]) -> [&mut [f32]; N] {
    lengths.map(|len| {
        let (part, rest) = std::mem::take(&mut buffer).split_at_mut(len);
        buffer = rest;
        part
    })
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
        plan.collect::<W, R>(all, &mut dw);
    });
    // SAFETY: as in `forward`.
    [unsafe { gx.finish() }, dw]
}

/// The k-th result is `F(x_k, w) + F(x_{k-1}, w_dot)`: every image is transformed once.
fn taylor<W: Word, const M: usize, const R: usize>(
    g: &Geometry,
    x: &[Option<&[f32]>],
    [w, w_dot]: [&[f32]; 2],
    biases: [Option<&[f32]>; 2],
    from: usize,
) -> Vec<Vec<f32>> {
    let plan = Plan::together::<M>(g);
    let (inputs, outputs) = (&plan.inputs, &plan.outputs);
    let len = g.n * outputs.image();
    let mut y: Vec<Buffer<f32>> = x.iter().skip(from).map(|_| Buffer::new(len)).collect();
    let weights = POINTS * g.channels * outputs.padded;
    plan.with_points(plan.len(inputs) + 2 * weights, |xs, ys, rest| {
        let [before, ws, ws_dot] = parts(rest, [plan.len(inputs), weights, weights]);
        let [mut xs, mut before] = [xs, before];
        plan.weights::<W, R>(w, false, ws);
        plan.weights::<W, R>(w_dot, false, ws_dot);
        let (images, chunk, out) = (g.n * inputs.image(), plan.chunk(inputs), plan.chunk(outputs));
        for (i, at) in (0..images).step_by(chunk).enumerate() {
            for (k, x) in x.iter().enumerate() {
                let wanted = k.checked_sub(from);
                if wanted.is_some() && k > 0 {
                    plan.multiply::<W>((inputs, before), ws_dot, (outputs, ys), false);
                }
                if let Some(x) = x {
                    plan.transform::<W, M>(inputs, false, &x[at..images.min(at + chunk)], xs);
                    if wanted.is_some() {
                        plan.multiply::<W>((inputs, xs), ws, (outputs, ys), k > 0);
                    }
                }
                if let Some(y) = wanted.and_then(|k| y.get_mut(k)) {
                    let end = len.min((i + 1) * out);
                    plan.restore::<W, M>(
                        outputs,
                        false,
                        ys,
                        &mut y.all()[i * out..end],
                        biases.get(k).copied().flatten(),
                    );
                }
                std::mem::swap(&mut xs, &mut before);
            }
        }
    });
    // SAFETY: as in `forward`.
    y.into_iter().map(|y| unsafe { y.finish() }).collect()
}

/// `F(x, w) + bias`, then `F(x_k, w) + F(x, w_k) + bias_k` for directions `[x_k, w_k]` of the operands: `x` and `w` are transformed
/// once.
fn forward_along<const M: usize, const R: usize>(
    g: &Geometry,
    [x, w]: [&[f32]; 2],
    dots: &[[&[f32]; 2]],
    biases: &[Option<&[f32]>],
) -> Vec<Vec<f32>> {
    let plan = Plan::together::<M>(g);
    let (inputs, outputs) = (&plan.inputs, &plan.outputs);
    let (images, len, weights) = (g.n * inputs.image(), g.n * outputs.image(), POINTS * g.channels * outputs.padded);
    let mut y: Vec<Buffer<f32>> = (0..=dots.len()).map(|_| Buffer::new(len)).collect();
    let shift = |k: usize| biases.get(k).copied().flatten();
    plan.with_points(plan.len(inputs) + (1 + dots.len()) * weights, |xs, ys, rest| {
        let [xs_dot, ws, ws_dot] = parts(rest, [plan.len(inputs), weights, dots.len() * weights]);
        plan.weights::<Single, R>(w, false, ws);
        for ([_, w_dot], ws_dot) in dots.iter().zip(ws_dot.chunks_mut(weights)) {
            plan.weights::<Single, R>(w_dot, false, ws_dot);
        }
        for (i, at) in (0..images).step_by(plan.chunk(inputs)).enumerate() {
            let from = at..images.min(at + plan.chunk(inputs));
            let into = i * plan.chunk(outputs)..len.min((i + 1) * plan.chunk(outputs));
            plan.transform::<Single, M>(inputs, false, &x[from.clone()], xs);
            plan.multiply::<Single>((inputs, xs), ws, (outputs, ys), false);
            plan.restore::<Single, M>(outputs, false, ys, &mut y[0].all()[into.clone()], shift(0));
            for (k, ([x_dot, _], ws_dot)) in dots.iter().zip(ws_dot.chunks_mut(weights)).enumerate() {
                plan.transform::<Single, M>(inputs, false, &x_dot[from.clone()], xs_dot);
                plan.multiply::<Single>((inputs, xs_dot), ws, (outputs, ys), false);
                plan.multiply::<Single>((inputs, xs), ws_dot, (outputs, ys), true);
                plan.restore::<Single, M>(outputs, false, ys, &mut y[k + 1].all()[into.clone()], shift(k + 1));
            }
        }
    });
    // SAFETY: as in `forward`.
    y.into_iter().map(|y| unsafe { y.finish() }).collect()
}

/// `X(gy, w)`, then for directions `[x_k, w_k, gy_k]` of the operands the derivatives of both gradients: `X(gy_k, w) + X(gy, w_k)`
/// and `W(x, gy_k) + W(x_k, gy)`. What does not move is transformed once.
fn gradients_along<const M: usize, const R: usize>(
    g: &Geometry,
    [x, w, gy]: [&[f32]; 3],
    dots: &[[&[f32]; 3]],
) -> (Vec<f32>, Vec<[Vec<f32>; 2]>) {
    let plan = Plan::together::<M>(g);
    let (inputs, outputs) = (&plan.inputs, &plan.outputs);
    let (images, from_outputs) = (g.n * inputs.image(), g.n * outputs.image());
    let (weights, sums) = (POINTS * g.out_channels * inputs.padded, POINTS * outputs.padded * inputs.padded);
    let mut gx: Vec<Buffer<f32>> = (0..=dots.len()).map(|_| Buffer::new(images)).collect();
    let mut dw = vec![vec![0.0; g.out_channels * g.channels * R * R]; dots.len()];
    let rest = plan.len(inputs) + plan.len(outputs) + weights + dots.len() * (weights + sums);
    plan.with_points(rest, |xs, ys, rest| {
        let lengths = [plan.len(inputs), plan.len(outputs), weights, dots.len() * weights, dots.len() * sums];
        let [part, ys_dot, ws, ws_dot, all_sums] = parts(rest, lengths);
        plan.weights::<Single, R>(w, true, ws);
        for ([_, w_dot, _], ws_dot) in dots.iter().zip(ws_dot.chunks_mut(weights)) {
            plan.weights::<Single, R>(w_dot, true, ws_dot);
        }
        for (i, at) in (0..images).step_by(plan.chunk(inputs)).enumerate() {
            let of_x = at..images.min(at + plan.chunk(inputs));
            let of_y = i * plan.chunk(outputs)..from_outputs.min((i + 1) * plan.chunk(outputs));
            plan.transform::<Single, M>(outputs, true, &gy[of_y.clone()], ys);
            plan.multiply::<Single>((outputs, ys), ws, (inputs, part), false);
            plan.restore::<Single, M>(inputs, true, part, &mut gx[0].all()[of_x.clone()], None);
            plan.transform::<Single, M>(inputs, false, &x[of_x.clone()], xs);
            let points = ws_dot.chunks_mut(weights).zip(all_sums.chunks_mut(sums));
            for (k, ([x_dot, _, gy_dot], (ws_dot, sums))) in dots.iter().zip(points).enumerate() {
                plan.transform::<Single, M>(outputs, true, &gy_dot[of_y.clone()], ys_dot);
                plan.multiply::<Single>((outputs, ys_dot), ws, (inputs, part), false);
                plan.multiply::<Single>((outputs, ys), ws_dot, (inputs, part), true);
                plan.restore::<Single, M>(inputs, true, part, &mut gx[k + 1].all()[of_x.clone()], None);
                plan.correlate::<Single>(ys_dot, xs, sums, i == 0);
                plan.transform::<Single, M>(inputs, false, &x_dot[of_x.clone()], part);
                plan.correlate::<Single>(ys, part, sums, false);
            }
        }
        for (sums, dw) in all_sums.chunks_mut(sums).zip(&mut dw) {
            plan.collect::<Single, R>(sums, dw);
        }
    });
    // SAFETY: as in `forward`.
    let mut gx = gx.into_iter().map(|x| unsafe { x.finish() });
    (gx.next().unwrap_or_default(), gx.zip(dw).map(|(gx, dw)| [gx, dw]).collect())
}
