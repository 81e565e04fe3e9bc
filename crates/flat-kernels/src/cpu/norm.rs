//! The passes of a normalisation layer over memory: `y = relu(gain n + bias + skip)` with `n = r (x - mean)`, its gradient,
//! and the derivatives of both.
//!
//! Memory traffic is what they cost, so each goes over its operands channel by channel, the sums first and then the
//! results while the channel is still in a cache. `r = 1 / sqrt(var + eps)` and the mean are the batch's, or constants.

mod again;
mod along;
mod jet;

use super::buffer::{Buffer, Runs, kernel, vectorized, write};
use super::pointwise::{clip, masked};
use super::reduce::{each_channel, mean_and_variance, sums};
use crate::{Float, Split};

pub use super::reduce::moments;
pub use again::Again;
pub use along::{Along, Direction, Moved, backward_along, tangents};
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
    #[inline(always)]
    fn affine(&self, channel: usize, stats: &Stats) -> (T, T, T) {
        affine(stats, self.gain[channel], self.bias[channel])
    }
}

/// Mean and `gain r` in the element type, the bias: what the output is made with, in every pass alike.
#[inline(always)]
fn affine<T: Float>(stats: &Stats, gain: T, bias: T) -> (T, T, T) {
    (T::from_f64(stats.mean), T::from_f64(stats.inv_std) * gain, bias)
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
