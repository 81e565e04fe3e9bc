//! The passes of a normalisation layer over memory: `y = relu(gain n + bias + skip)` with `n = r (x - mean)`, its gradient,
//! its tangent, and the tangent's gradient.
//!
//! Memory traffic is what they cost, so each goes over its operands channel by channel, the sums first and then the
//! results while the channel is still in a cache. `r = 1 / sqrt(var + eps)` and the mean are the batch's, or constants.

mod jet;

use super::buffer::{Buffer, Runs, kernel, vectorized, write};
use super::pointwise::{clip, masked};
use super::reduce::{each_channel, mean_and_variance, sums};
use crate::{Float, Split};

pub use super::reduce::moments;
pub use jet::{Coefficients, jet};

/// Where mean and `r` come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The batch, with this constant under the root.
    Batch(f64),
    /// Constants, a mean and an `r` a channel.
    Fixed(Vec<f64>, Vec<f64>),
}

/// A channel's statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// Mean.
    pub mean: f64,
    /// Biased variance.
    pub var: f64,
    /// `r`.
    pub inv_std: f64,
}

/// How a kernel knows where relu was active.
#[derive(Clone, Copy)]
pub enum Mask<'a, T> {
    /// There is no relu.
    All,
    /// Where the output, computed again, is positive: nothing but `x` went into it.
    Again,
    /// Where this output is positive.
    Output(&'a [T]),
}

impl<'a, T> Mask<'a, T> {
    /// For a layer with or without relu, and its output where a residual went into it.
    pub fn of(relu: bool, y: Option<&'a [T]>) -> Self {
        match (relu, y) {
            (false, _) => Self::All,
            (true, None) => Self::Again,
            (true, Some(y)) => Self::Output(y),
        }
    }
}

/// The operands that belong to a layer rather than to a pass.
#[derive(Clone, Copy)]
pub struct Layer<'a, T> {
    /// The sizes of `x`.
    pub split: Split,
    /// The input.
    pub x: &'a [T],
    /// One a channel.
    pub gain: &'a [T],
    /// One a channel.
    pub bias: &'a [T],
    /// Whether mean and `r` depend on `x`.
    pub batch: bool,
}

impl<T: Float> Layer<'_, T> {
    /// Mean and `gain r` in the element type, the bias: what the output is made with, in every pass alike.
    #[inline(always)]
    fn affine(&self, channel: usize, stats: &Stats) -> (T, T, T) {
        (T::from_f64(stats.mean), T::from_f64(stats.inv_std) * self.gain[channel], self.bias[channel])
    }
}

kernel! {
    Forward<'a, T> {
        layer: Layer<'a, T>,
        source: &'a Source,
        skip: Option<&'a [T]>,
        relu: bool,
        channel: usize,
        out: Runs<'a, T>,
    } -> Stats, |k| {
        let Layer { split, x, .. } = k.layer;
        let c = k.channel;
        let stats = match k.source {
            Source::Batch(eps) => {
                let (mean, var) = mean_and_variance(split, c, x);
                Stats { mean, var, inv_std: 1.0 / (var + eps).sqrt() }
            }
            Source::Fixed(mean, inv_std) => Stats { mean: mean[c], var: 0.0, inv_std: inv_std[c] },
        };
        let (mean, factor, bias) = k.layer.affine(c, &stats);
        let affine = |x: T| (x - mean) * factor + bias;
        for at in split.starts(c) {
            // SAFETY: runs of different channels and images are disjoint.
            let out = unsafe { k.out.run(at, split.inner) };
            let x = &x[at..];
            match (k.skip, k.relu) {
                (None, false) => write(out, [x], |[x]| affine(x)),
                (None, true) => write(out, [x], |[x]| clip(affine(x))),
                (Some(skip), false) => write(out, [x, &skip[at..]], |[x, s]| affine(x) + s),
                (Some(skip), true) => write(out, [x, &skip[at..]], |[x, s]| clip(affine(x) + s)),
            }
        }
        stats
    }
}

/// `relu(gain n + bias + skip)`, with or without the last two steps, and the statistics used.
pub fn forward<T: Float>(layer: Layer<'_, T>, source: &Source, skip: Option<&[T]>, relu: bool) -> (Vec<T>, Vec<Stats>) {
    let mut out = Buffer::new(layer.x.len());
    let runs = out.runs();
    let stats =
        each_channel(layer.split, |channel| vectorized(Forward { layer, source, skip, relu, channel, out: runs }));
    // SAFETY: every run of every channel was written.
    (unsafe { out.finish() }, stats)
}

/// Gradients of the layer's operands.
pub struct Gradients<T> {
    /// Like `x`.
    pub x: Vec<T>,
    /// One a channel.
    pub gain: Vec<T>,
    /// One a channel.
    pub bias: Vec<T>,
    /// Where one was asked for.
    pub skip: Option<Vec<T>>,
}

kernel! {
    Backward<'a, T> {
        layer: Layer<'a, T>,
        mask: Mask<'a, T>,
        g: &'a [T],
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

impl<T: Float> Backward<'_, T> {
    /// The pass with `h(x, g, y)`, the gradient behind relu. Returns the gradients of gain and bias.
    #[inline(always)]
    fn run(&self, y: &[T], h: impl Fn(T, T, T) -> T + Copy) -> [f64; 2] {
        let Layer { split, x, batch, .. } = self.layer;
        let (mean, factor, _) = self.layer.affine(self.channel, &self.stats);
        let r = self.stats.inv_std;
        let [sum, along] = sums(split, self.channel, [x, self.g, y], |[x, g, y]| {
            let h = h(x, g, y);
            [h, h * (x - mean)]
        });
        let count = split.count() as f64;
        let shift = T::from_f64(if batch { sum / count } else { 0.0 });
        let slope = T::from_f64(if batch { r * r * along / count } else { 0.0 });
        for at in split.starts(self.channel) {
            let from = [&x[at..], &self.g[at..], &y[at..]];
            // SAFETY: runs of different channels and images are disjoint.
            let dx = unsafe { self.dx.run(at, split.inner) };
            write(dx, from, |[x, g, y]| (h(x, g, y) - shift - (x - mean) * slope) * factor);
            if let Some(dskip) = self.dskip {
                // SAFETY: as above.
                write(unsafe { dskip.run(at, split.inner) }, from, |[x, g, y]| h(x, g, y));
            }
        }
        [r * along, sum]
    }
}

/// The gradients of `<g, forward(..)>`.
pub fn backward<T: Float>(
    layer: Layer<'_, T>,
    mask: Mask<'_, T>,
    g: &[T],
    stats: &[Stats],
    with_skip: bool,
) -> Gradients<T> {
    let (mut x, mut skip) = (Buffer::new(g.len()), with_skip.then(|| Buffer::new(g.len())));
    let (dx, dskip) = (x.runs(), skip.as_mut().map(Buffer::runs));
    let of_channels = each_channel(layer.split, |channel| {
        vectorized(Backward { layer, mask, g, stats: stats[channel], channel, dx, dskip })
    });
    let column = |i: usize| of_channels.iter().map(|s| T::from_f64(s[i])).collect();
    let (gain, bias) = (column(0), column(1));
    // SAFETY: every run of every channel was written.
    unsafe { Gradients { x: x.finish(), gain, bias, skip: skip.map(|s| s.finish()) } }
}

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

/// The derivative of [`forward`] along a direction.
pub fn tangent<T: Float>(
    layer: Layer<'_, T>,
    mask: Mask<'_, T>,
    dot: Direction<'_, T>,
    stats: &[Stats],
) -> (Vec<T>, Vec<Along>) {
    let mut out = Buffer::new(layer.x.len());
    let runs = out.runs();
    let along = each_channel(layer.split, |channel| {
        vectorized(TangentForward { layer, mask, dot, stats: stats[channel], channel, out: runs })
    });
    // SAFETY: every run of every channel was written.
    (unsafe { out.finish() }, along)
}

/// Gradients of a tangent: of the operands and of the direction.
pub struct TangentGradients<T> {
    /// Like `x`.
    pub x: Vec<T>,
    /// One a channel.
    pub gain: Vec<T>,
    /// Like `x`.
    pub x_dot: Vec<T>,
    /// Where one was asked for.
    pub skip_dot: Option<Vec<T>>,
}

kernel! {
    TangentBackward<'a, T> {
        layer: Layer<'a, T>,
        mask: Mask<'a, T>,
        dot: Direction<'a, T>,
        g: &'a [T],
        stats: Stats,
        along: Along,
        channel: usize,
        dx: Runs<'a, T>,
        dx_dot: Runs<'a, T>,
        dskip_dot: Option<Runs<'a, T>>,
    } -> f64, |k| {
        let (mean, factor, bias) = k.layer.affine(k.channel, &k.stats);
        match k.mask {
            Mask::All => k.run(k.layer.x, |_, g, _| g),
            Mask::Again => k.run(k.layer.x, |x, g, _| masked(g, (x - mean) * factor + bias)),
            Mask::Output(y) => k.run(y, |_, g, y| masked(g, y)),
        }
    }
}

impl<T: Float> TangentBackward<'_, T> {
    /// The pass with `h(x, g, y)`, the gradient behind relu. Returns the gradient of the gain.
    ///
    /// With `a = mean(x_dot n)`, `k = gain h` and `b = mean(k n)` the tangent `P(x_dot; n, r)` of `n` has the gradients
    /// `P(k)` for `x_dot`, `-r (k a + x_dot b)` for `n` and `<k, P(x_dot)> / r` for `r`; `n` and `r` depend on `x` by
    /// `P` and `-r^2 n / count`.
    #[inline(always)]
    fn run(&self, y: &[T], h: impl Fn(T, T, T) -> T + Copy) -> f64 {
        let Layer { split, x, batch, .. } = self.layer;
        let (dot, c, r) = (self.dot, self.channel, self.stats.inv_std);
        let (mean, factor, _) = self.layer.affine(c, &self.stats);
        let (gain, gain_dot) = (self.layer.gain[c].to_f64(), dot.gain[c].to_f64());
        let [s0, s1, s2] = sums(split, c, [x, dot.x, self.g, y], |[x, d, g, y]| {
            let h = h(x, g, y);
            [h, h * (x - mean), h * d]
        });
        let (count, along) = (split.count() as f64, self.along);
        // means of h, h n, h x_dot over the channel
        let (mh, hn, hd) = if batch { (s0 / count, r * s1 / count, s2 / count) } else { (0.0, 0.0, 0.0) };
        let dgain = r * (s2 - along.mean * s0 - along.normal * r * s1);
        // the gradient for n is p h - q x_dot
        let (p, q) = (gain_dot - r * gain * along.normal, r * gain * hn);
        let by_r = r * gain * (hd - along.mean * mh - along.normal * hn);
        let constant = -r * (p * mh - q * along.mean);
        let slope = -r * r * (p * hn - q * along.normal + by_r);
        let [p, q, constant, slope] = [r * p, r * q, constant, slope].map(T::from_f64);
        let (shift, dot_slope) = (T::from_f64(mh), T::from_f64(r * hn));
        for at in split.starts(c) {
            let from = [&x[at..], &dot.x[at..], &self.g[at..], &y[at..]];
            // SAFETY: runs of different channels and images are disjoint.
            let (dx, dx_dot) = unsafe { (self.dx.run(at, split.inner), self.dx_dot.run(at, split.inner)) };
            write(dx, from, |[x, d, g, y]| h(x, g, y) * p - d * q + constant + (x - mean) * slope);
            write(dx_dot, from, |[x, _, g, y]| (h(x, g, y) - shift - (x - mean) * dot_slope) * factor);
            if let Some(dskip) = self.dskip_dot {
                // SAFETY: as above.
                write(unsafe { dskip.run(at, split.inner) }, from, |[x, _, g, y]| h(x, g, y));
            }
        }
        dgain
    }
}

/// The gradients of `<g, tangent(..)>`; the directions of gain and bias are constants.
pub fn tangent_backward<T: Float>(
    layer: Layer<'_, T>,
    mask: Mask<'_, T>,
    dot: Direction<'_, T>,
    g: &[T],
    stats: &[Stats],
    along: &[Along],
) -> TangentGradients<T> {
    let (mut x, mut x_dot) = (Buffer::new(g.len()), Buffer::new(g.len()));
    let mut skip = dot.skip.map(|_| Buffer::new(g.len()));
    let (dx, dx_dot, dskip_dot) = (x.runs(), x_dot.runs(), skip.as_mut().map(Buffer::runs));
    let gain = each_channel(layer.split, |channel| {
        let (stats, along) = (stats[channel], along[channel]);
        T::from_f64(vectorized(TangentBackward { layer, mask, dot, g, stats, along, channel, dx, dx_dot, dskip_dot }))
    });
    // SAFETY: every run of every channel was written.
    unsafe { TangentGradients { x: x.finish(), gain, x_dot: x_dot.finish(), skip_dot: skip.map(|s| s.finish()) } }
}
