//! Sums over channels: in blocks of at most 1024 elements in the element type, f64 above.

// indices run over several arrays at once, and plain loops are certain to be inlined into the vectorised kernel
#![allow(clippy::needless_range_loop)]

use super::buffer::{cut, elements_at, kernel, vectorized};
use crate::{Float, Split};
use rayon::prelude::*;

/// Elements that are summed in the element type.
const BLOCK: usize = 1024;
/// Independent partial sums of a block.
const LANES: usize = 32;
/// Shorter runs are put together to blocks first.
const SHORT: usize = 256;

/// Adds the values of `f` over elements of several slices to `total`.
#[inline(always)]
fn add_sums<T: Float, const N: usize, const K: usize>(
    total: &mut [f64; K],
    from: [&[T]; N],
    f: impl Fn([T; N]) -> [T; K] + Copy,
) {
    let len = from[0].len();
    let from = cut(from, 0, len);
    let mut lanes = [[T::default(); LANES]; K];
    for i in 0..len / LANES {
        for lane in 0..LANES {
            // SAFETY: each operand was cut to `len`, and this is below it.
            let value = f(unsafe { elements_at(&from, i * LANES + lane) });
            for k in 0..K {
                lanes[k][lane] += value[k];
            }
        }
    }
    for k in 0..K {
        let mut sum = 0.0;
        for lane in lanes[k] {
            sum += lane.to_f64();
        }
        total[k] += sum;
    }
    for i in len / LANES * LANES..len {
        // SAFETY: as above.
        let value = f(unsafe { elements_at(&from, i) });
        for k in 0..K {
            total[k] += value[k].to_f64();
        }
    }
}

/// Cuts a channel of several tensors of one shape into blocks, the same whatever runs it.
struct Blocks<T, const N: usize> {
    split: Split,
    channel: usize,
    /// The run, and the place in it, where the next block starts.
    next: (usize, usize),
    gathered: [[T; BLOCK]; N],
}

impl<T: Float, const N: usize> Blocks<T, N> {
    #[inline(always)]
    fn new(split: Split, channel: usize) -> Self {
        Self { split, channel, next: (0, 0), gathered: [[T::default(); BLOCK]; N] }
    }

    #[inline(always)]
    fn next<'a>(&'a mut self, from: [&'a [T]; N]) -> Option<[&'a [T]; N]> {
        let Split { outer, channels, inner } = self.split;
        let (o, at) = self.next;
        if o >= outer || inner == 0 {
            return None;
        }
        let start = |o: usize| (o * channels + self.channel) * inner;
        if inner >= SHORT {
            let len = BLOCK.min(inner - at);
            self.next = if at + len == inner { (o + 1, 0) } else { (o, at + len) };
            return Some(cut(from, start(o) + at, len));
        }
        let runs = (BLOCK / inner).min(outer - o);
        self.next = (o + runs, 0);
        for n in 0..N {
            let to = &mut self.gathered[n];
            if inner == 1 {
                for i in 0..runs {
                    to[i] = from[n][start(o + i)];
                }
            } else {
                for i in 0..runs {
                    to[i * inner..][..inner].copy_from_slice(&from[n][start(o + i)..][..inner]);
                }
            }
        }
        let mut block = from;
        for n in 0..N {
            block[n] = &self.gathered[n][..runs * inner];
        }
        Some(block)
    }
}

/// Sums of the values of `f` over a channel.
#[inline(always)]
pub(crate) fn sums<T: Float, const N: usize, const K: usize>(
    split: Split,
    channel: usize,
    from: [&[T]; N],
    f: impl Fn([T; N]) -> [T; K] + Copy,
) -> [f64; K] {
    let mut total = [0.0; K];
    let mut blocks = Blocks::new(split, channel);
    while let Some(block) = blocks.next(from) {
        add_sums(&mut total, block, f);
    }
    total
}

/// Mean and biased variance of a channel: two passes over a block while it is near, blocks merged as by Chan, Golub &
/// LeVeque (1979), so that neither a large mean nor images of different brightness cost digits.
#[inline(always)]
pub(crate) fn mean_and_variance<T: Float>(split: Split, channel: usize, x: &[T]) -> (f64, f64) {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    let mut blocks = Blocks::new(split, channel);
    while let Some([x]) = blocks.next([x]) {
        let k = x.len() as f64;
        let mut sum = [0.0];
        add_sums(&mut sum, [x], |[x]| [x]);
        let near = T::from_f64(sum[0] / k);
        let mut rest = [0.0; 2];
        add_sums(&mut rest, [x], |[x]| [(x - near) * (x - near), x - near]);
        // `near` is the block's mean but for rounding, which the second sum knows
        let [q, d] = rest;
        let (m, q) = (near.to_f64() + d / k, q - d * d / k);
        let (apart, all) = (m - mean, count + k);
        mean += apart * k / all;
        squares += q + apart * apart * count * k / all;
        count = all;
    }
    (mean, if squares > 0.0 || squares.is_nan() { squares / count } else { 0.0 })
}

/// Calls `f` for every channel, on several threads.
pub(crate) fn each_channel<R: Send>(split: Split, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    // enough channels a task to be worth one
    let least = (1usize << 14).div_ceil(split.count().max(1));
    (0..split.channels).into_par_iter().with_min_len(least).map(f).collect()
}

kernel! {
    MeanAndVariance<'a, T> { split: Split, x: &'a [T], channel: usize } -> (f64, f64), |k| {
        mean_and_variance(k.split, k.channel, k.x)
    }
}

/// Mean and biased variance of every channel.
pub fn moments<T: Float>(split: Split, x: &[T]) -> (Vec<f64>, Vec<f64>) {
    each_channel(split, |c| vectorized(MeanAndVariance { split, x, channel: c })).into_iter().unzip()
}
