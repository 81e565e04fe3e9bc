//! Passes that carry derivatives along directions, with what they share transformed once.

use super::plan::Plan;
use super::transform::POINTS;
use crate::cpu::buffer::{Buffer, Runs};
use crate::cpu::word::{Single, Word};
use crate::{Float, Geometry};
use rayon::prelude::*;

/// Consecutive parts of a buffer.
fn parts<const N: usize>(mut buffer: &mut [f32], lengths: [usize; N]) -> [&mut [f32]; N] {
    lengths.map(|len| {
        let (part, rest) = std::mem::take(&mut buffer).split_at_mut(len);
        buffer = rest;
        part
    })
}

/// The k-th result is `F(x_k, w) + F(x_{k-1}, w_dot)`: every image is transformed once.
pub(super) fn taylor<W: Word, const M: usize, const R: usize>(
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
pub(super) fn forward_along<const M: usize, const R: usize>(
    g: &Geometry,
    [x, w]: [&[f32]; 2],
    dots: &[[&[f32]; 2]],
    biases: &[Option<&[f32]>],
) -> Vec<Vec<f32>> {
    let plan = Plan::along::<M>(g);
    let (inputs, outputs) = (&plan.inputs, &plan.outputs);
    let (images, len, weights) = (g.n * inputs.image(), g.n * outputs.image(), POINTS * g.channels * outputs.padded);
    let mut y: Vec<Buffer<f32>> = (0..=dots.len()).map(|_| Buffer::new(len)).collect();
    let to: Vec<Runs<'_, f32>> = y.iter_mut().map(Buffer::runs).collect();
    let shift = |k: usize| biases.get(k).copied().flatten();
    f32::with_scratch((1 + dots.len()) * weights, |all| {
        plan.weights::<Single, R>(w, false, &mut all[..weights]);
        for ([_, w_dot], ws_dot) in dots.iter().zip(all[weights..].chunks_mut(weights)) {
            plan.weights::<Single, R>(w_dot, false, ws_dot);
        }
        let (ws, ws_dot) = all.split_at(weights);
        let chunk = plan.chunk(inputs);
        plan.each((0..images.div_ceil(chunk)).into_par_iter(), |i| {
            let from = i * chunk..images.min((i + 1) * chunk);
            let into = i * plan.chunk(outputs)..len.min((i + 1) * plan.chunk(outputs));
            // SAFETY: chunks are apart.
            let out = |k: usize| unsafe { to[k].run(into.start, into.len()) };
            plan.with_points(plan.len(inputs), |xs, ys, xs_dot| {
                plan.transform::<Single, M>(inputs, false, &x[from.clone()], xs);
                plan.multiply::<Single>((inputs, xs), ws, (outputs, ys), false);
                plan.restore::<Single, M>(outputs, false, ys, out(0), shift(0));
                for (k, ([x_dot, _], ws_dot)) in dots.iter().zip(ws_dot.chunks(weights)).enumerate() {
                    plan.transform::<Single, M>(inputs, false, &x_dot[from.clone()], xs_dot);
                    plan.multiply::<Single>((inputs, xs_dot), ws, (outputs, ys), false);
                    plan.multiply::<Single>((inputs, xs), ws_dot, (outputs, ys), true);
                    plan.restore::<Single, M>(outputs, false, ys, out(k + 1), shift(k + 1));
                }
            });
        });
    });
    // SAFETY: as in `forward`.
    y.into_iter().map(|y| unsafe { y.finish() }).collect()
}

/// `X(gy, w)`, then for directions `[x_k, w_k, gy_k]` of the operands the derivatives of both gradients: `X(gy_k, w) + X(gy, w_k)`
/// and `W(x, gy_k) + W(x_k, gy)`. What does not move is transformed once.
pub(super) fn gradients_along<const M: usize, const R: usize>(
    g: &Geometry,
    [x, w, gy]: [&[f32]; 3],
    dots: &[[&[f32]; 3]],
) -> (Vec<f32>, Vec<[Vec<f32>; 2]>) {
    let plan = Plan::along::<M>(g);
    let (inputs, outputs) = (&plan.inputs, &plan.outputs);
    let (images, from_outputs) = (g.n * inputs.image(), g.n * outputs.image());
    let (weights, sums) = (POINTS * g.out_channels * inputs.padded, POINTS * outputs.padded * inputs.padded);
    let mut gx: Vec<Buffer<f32>> = (0..=dots.len()).map(|_| Buffer::new(images)).collect();
    let to: Vec<Runs<'_, f32>> = gx.iter_mut().map(Buffer::runs).collect();
    let mut dw = vec![vec![0.0; g.out_channels * g.channels * R * R]; dots.len()];
    // a number for each part where there is no direction
    let (chunk, own_sums) = (plan.chunk(inputs), (dots.len() * sums).max(1));
    f32::with_scratch((1 + dots.len()) * weights + plan.parts() * own_sums, |all| {
        let (all_weights, all_sums) = all.split_at_mut((1 + dots.len()) * weights);
        plan.weights::<Single, R>(w, true, &mut all_weights[..weights]);
        for ([_, w_dot, _], ws_dot) in dots.iter().zip(all_weights[weights..].chunks_mut(weights)) {
            plan.weights::<Single, R>(w_dot, true, ws_dot);
        }
        let (ws, ws_dot) = all_weights.split_at(weights);
        let parts = all_sums.par_chunks_mut(own_sums).enumerate();
        plan.each(parts, |(part, own)| {
            let first = part * plan.summed();
            let last = images.div_ceil(chunk).min(first + plan.summed());
            plan.with_points(plan.len(inputs) + plan.len(outputs), |xs, ys, rest| {
                let (made, ys_dot) = rest.split_at_mut(plan.len(inputs));
                for i in first..last {
                    let of_x = i * chunk..images.min((i + 1) * chunk);
                    let of_y = i * plan.chunk(outputs)..from_outputs.min((i + 1) * plan.chunk(outputs));
                    // SAFETY: chunks are apart.
                    let out = |k: usize| unsafe { to[k].run(of_x.start, of_x.len()) };
                    plan.transform::<Single, M>(outputs, true, &gy[of_y.clone()], ys);
                    plan.multiply::<Single>((outputs, ys), ws, (inputs, made), false);
                    plan.restore::<Single, M>(inputs, true, made, out(0), None);
                    plan.transform::<Single, M>(inputs, false, &x[of_x.clone()], xs);
                    let points = ws_dot.chunks(weights).zip(own.chunks_mut(sums));
                    for (k, ([x_dot, _, gy_dot], (ws_dot, sums))) in dots.iter().zip(points).enumerate() {
                        plan.transform::<Single, M>(outputs, true, &gy_dot[of_y.clone()], ys_dot);
                        plan.multiply::<Single>((outputs, ys_dot), ws, (inputs, made), false);
                        plan.multiply::<Single>((outputs, ys), ws_dot, (inputs, made), true);
                        plan.restore::<Single, M>(inputs, true, made, out(k + 1), None);
                        plan.correlate::<Single>(ys_dot, xs, sums, i == first);
                        plan.transform::<Single, M>(inputs, false, &x_dot[of_x.clone()], made);
                        plan.correlate::<Single>(ys, made, sums, false);
                    }
                }
            });
        });
        for (k, dw) in dw.iter_mut().enumerate() {
            let parts = all_sums.chunks(own_sums).map(|own| &own[k * sums..(k + 1) * sums]);
            plan.collect::<Single, R>(parts, dw);
        }
    });
    // SAFETY: as in `forward`.
    let mut gx = gx.into_iter().map(|x| unsafe { x.finish() });
    (gx.next().unwrap_or_default(), gx.zip(dw).map(|(gx, dw)| [gx, dw]).collect())
}
