//! A normalisation layer and its gradients along directions of all its operands: derivatives of [`super::forward`] and of
//! [`super::backward`].
//!
//! All directions of a channel follow each other, so that what they share is read from a cache.

use super::{Backward, Gradients, Layer, Mask, Stats};
use crate::Float;
use crate::cpu::buffer::{Buffer, Runs, kernel, vectorized, write};
use crate::cpu::pointwise::masked;
use crate::cpu::reduce::{each_channel, sums};

/// A direction along which a layer's operands move.
#[derive(Clone, Copy)]
pub struct Direction<'a, T> {
    /// Like `x`.
    pub x: &'a [T],
    /// One a channel.
    pub gain: &'a [T],
    /// One a channel.
    pub bias: &'a [T],
    /// Like `x`, where the layer has a residual.
    pub skip: Option<&'a [T]>,
}

/// `mean(x_dot)` and `mean(x_dot n)` of a channel: what the tangent takes away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Along {
    mean: f64,
    normal: f64,
}

kernel! {
    TangentForward<'a, T> {
        layer: Layer<'a, T>,
        mask: Mask<'a, T>,
        dot: Direction<'a, T>,
        stats: Stats,
        channel: usize,
        out: Runs<'a, T>,
    } -> Along, |k| {
        let (mean, factor, bias) = k.layer.affine(k.channel, &k.stats);
        match k.mask {
            Mask::All => k.run(k.layer.x, |_, t, _| t),
            Mask::Again => k.run(k.layer.x, |x, t, _| masked(t, (x - mean) * factor + bias)),
            Mask::Output(y) => k.run(y, |_, t, y| masked(t, y)),
        }
    }
}

impl<T: Float> TangentForward<'_, T> {
    /// The pass with `h(x, t, y)`, the tangent behind relu.
    #[inline(always)]
    fn run(&self, y: &[T], h: impl Fn(T, T, T) -> T + Copy) -> Along {
        let Layer { split, x, batch, .. } = self.layer;
        let (dot, r) = (self.dot, self.stats.inv_std);
        let (mean, factor, _) = self.layer.affine(self.channel, &self.stats);
        let along = if batch {
            let [sum, along] = sums(split, self.channel, [x, dot.x], |[x, d]| [d, d * (x - mean)]);
            let count = split.count() as f64;
            Along { mean: sum / count, normal: r * along / count }
        } else {
            Along::default()
        };
        // gain r (x_dot - mean(x_dot) - n mean(x_dot n)) + gain_dot n + bias_dot
        let (gain_dot, bias_dot) = (dot.gain[self.channel].to_f64(), dot.bias[self.channel]);
        let gain = self.layer.gain[self.channel].to_f64();
        let shift = T::from_f64(along.mean);
        let slope = T::from_f64(r * (gain_dot - gain * r * along.normal));
        let tangent = |x: T, d: T| (d - shift) * factor + (x - mean) * slope + bias_dot;
        for at in split.starts(self.channel) {
            // SAFETY: runs of different channels and images are disjoint.
            let out = unsafe { self.out.run(at, split.inner) };
            let (x, d, y) = (&x[at..], &dot.x[at..], &y[at..]);
            match dot.skip {
                None => write(out, [x, d, y], |[x, d, y]| h(x, tangent(x, d), y)),
                Some(s) => write(out, [x, d, y, &s[at..]], |[x, d, y, s]| h(x, tangent(x, d) + s, y)),
            }
        }
        along
    }
}

/// The derivatives of [`super::forward`] along directions, with what each takes away, a channel after the other.
pub fn tangents<T: Float>(
    layer: Layer<'_, T>,
    mask: Mask<'_, T>,
    dots: &[Direction<'_, T>],
    stats: &[Stats],
) -> Vec<(Vec<T>, Vec<Along>)> {
    let mut out: Vec<Buffer<T>> = dots.iter().map(|_| Buffer::new(layer.x.len())).collect();
    let runs: Vec<Runs<'_, T>> = out.iter_mut().map(Buffer::runs).collect();
    let channels = each_channel(layer.split, |channel| {
        let tangent = |(dot, out)| vectorized(TangentForward { layer, mask, dot, stats: stats[channel], channel, out });
        dots.iter().copied().zip(runs.iter().copied()).map(tangent).collect::<Vec<Along>>()
    });
    let of = |(k, out): (usize, Buffer<T>)| {
        // SAFETY: every run of every channel was written.
        (unsafe { out.finish() }, channels.iter().map(|along| along[k]).collect())
    };
    out.into_iter().enumerate().map(of).collect()
}

/// How a layer's gradient moves: its operands along a direction, and the gradient of its output.
#[derive(Clone, Copy)]
pub struct Moved<'a, T> {
    /// The direction of the operands. The residual has no part in gradients.
    pub dot: Direction<'a, T>,
    /// What [`tangents`] found along it.
    pub along: &'a [Along],
    /// The direction of the output's gradient.
    pub g: &'a [T],
}

kernel! {
    BackwardTangent<'a, T> {
        layer: Layer<'a, T>,
        mask: Mask<'a, T>,
        moved: Moved<'a, T>,
        g: &'a [T],
        // gradients of gain and bias
        own: [f64; 2],
        stats: Stats,
        channel: usize,
        dx: Runs<'a, T>,
        dskip: Option<Runs<'a, T>>,
    } -> [f64; 2], |k| {
        let (mean, factor, bias) = k.layer.affine(k.channel, &k.stats);
        match k.mask {
            Mask::All => k.run(k.layer.x, |_, g, _| g),
            Mask::Again => k.run(k.layer.x, |x, g, _| masked(g, (x - mean) * factor + bias)),
            Mask::Output(y) => k.run(y, |_, g, y| masked(g, y)),
        }
    }
}

impl<T: Float> BackwardTangent<'_, T> {
    /// The pass with `h(x, g, y)`, a gradient behind relu. Returns the derivatives of the gradients of gain and bias.
    ///
    /// With `a = mean(x_dot n)`, `k = gain h` and `b = mean(k n)` the tangent `P(x_dot; n, r)` of `n` has the gradients
    /// `-r (k a + x_dot b)` for `n` and `<k, P(x_dot)> / r` for `r`; `n` and `r` depend on `x` by `P` and `-r^2 n / count`. The
    /// direction of the output's gradient goes the way of [`Backward`].
    #[inline(always)]
    fn run(&self, y: &[T], h: impl Fn(T, T, T) -> T + Copy) -> [f64; 2] {
        let Layer { split, x, batch, .. } = self.layer;
        let (dot, c, r) = (self.moved.dot, self.channel, self.stats.inv_std);
        let (mean, factor, _) = self.layer.affine(c, &self.stats);
        let (gain, gain_dot) = (self.layer.gain[c].to_f64(), dot.gain[c].to_f64());
        // sums of h n and h, the gradients of gain and bias; of h x_dot, h_dot and h_dot (x - mean)
        let [hn, sum] = self.own;
        let [with_dot, sum_dot, along_dot] = sums(split, c, [x, dot.x, self.g, self.moved.g, y], |[x, d, g, gd, y]| {
            let h_dot = h(x, gd, y);
            [h(x, g, y) * d, h_dot, h_dot * (x - mean)]
        });
        let (count, along) = (split.count() as f64, self.moved.along[c]);
        let dgain = r * (with_dot - along.mean * sum - along.normal * hn) + r * along_dot;
        // their means over the channel
        let over = |sum: f64| if batch { sum / count } else { 0.0 };
        let (mh, hn, hd) = (over(sum), over(hn), over(with_dot));
        // the gradient for n is p h - q x_dot
        let (p, q) = (gain_dot - r * gain * along.normal, r * gain * hn);
        let by_r = r * gain * (hd - along.mean * mh - along.normal * hn);
        let constant = -r * (p * mh - q * along.mean) - r * gain * over(sum_dot);
        let slope = -r * r * (p * hn - q * along.normal + by_r) - r * gain * over(r * r * along_dot);
        let [p, q, constant, slope] = [r * p, r * q, constant, slope].map(T::from_f64);
        for at in split.starts(c) {
            let from = [&x[at..], &dot.x[at..], &self.g[at..], &self.moved.g[at..], &y[at..]];
            // SAFETY: runs of different channels and images are disjoint.
            let dx = unsafe { self.dx.run(at, split.inner) };
            write(dx, from, |[x, d, g, gd, y]| {
                h(x, g, y) * p + h(x, gd, y) * factor - d * q + constant + (x - mean) * slope
            });
            if let Some(dskip) = self.dskip {
                // SAFETY: as above.
                write(unsafe { dskip.run(at, split.inner) }, from, |[x, _, _, gd, y]| h(x, gd, y));
            }
        }
        [dgain, sum_dot]
    }
}

/// [`super::backward`], and its derivatives along directions behind it.
pub fn backward_along<T: Float>(
    layer: Layer<'_, T>,
    mask: Mask<'_, T>,
    g: &[T],
    stats: &[Stats],
    with_skip: bool,
    moved: &[Moved<'_, T>],
) -> Vec<Gradients<T>> {
    let buffers = || (Buffer::new(g.len()), with_skip.then(|| Buffer::new(g.len())));
    let mut all: Vec<(Buffer<T>, Option<Buffer<T>>)> = (0..=moved.len()).map(|_| buffers()).collect();
    let runs: Vec<_> = all.iter_mut().map(|(x, skip)| (x.runs(), skip.as_mut().map(Buffer::runs))).collect();
    let channels = each_channel(layer.split, |channel| {
        let ((dx, dskip), stats) = (runs[0], stats[channel]);
        let own = vectorized(Backward { layer, mask, g, stats, channel, dx, dskip });
        let mut found = vec![own];
        found.extend(moved.iter().zip(&runs[1..]).map(|(&moved, &(dx, dskip))| {
            vectorized(BackwardTangent { layer, mask, moved, g, own, stats, channel, dx, dskip })
        }));
        found
    });
    let of = all.into_iter().enumerate().map(|(k, (x, skip))| {
        let column = |i: usize| channels.iter().map(|found| T::from_f64(found[k][i])).collect();
        let (gain, bias) = (column(0), column(1));
        // SAFETY: every run of every channel was written.
        unsafe { Gradients { x: x.finish(), gain, bias, skip: skip.map(|s| s.finish()) } }
    });
    of.collect()
}
