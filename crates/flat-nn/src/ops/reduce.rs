//! Sums over channels: in blocks of at most 1024 elements in the element type, f64 above.

use super::channel::Split;
use super::float::Float;

/// Elements that are summed in the element type.
const BLOCK: usize = 1024;
/// Independent partial sums of a block.
const LANES: usize = 32;
/// Shorter runs are put together to blocks first.
const SHORT: usize = 256;

/// Sums of the values of `f` over elements of several slices.
#[inline(always)]
pub(crate) fn reduce<T: Float, const N: usize, const K: usize>(
    from: [&[T]; N],
    f: impl Fn([T; N]) -> [T; K],
) -> [f64; K] {
    let len = from[0].len();
    let from = from.map(|a| &a[..len]);
    // SAFETY: each operand was cut to `len`, and `i` is below it.
    let at = |i: usize| f(from.map(|a| unsafe { *a.get_unchecked(i) }));
    let mut lanes = [[T::default(); LANES]; K];
    for i in 0..len / LANES {
        for lane in 0..LANES {
            let value = at(i * LANES + lane);
            for k in 0..K {
                lanes[k][lane] += value[k];
            }
        }
    }
    let mut sums = lanes.map(|lanes| lanes.iter().map(|x| x.to_f64()).sum::<f64>());
    for i in len / LANES * LANES..len {
        let value = at(i);
        for k in 0..K {
            sums[k] += value[k].to_f64();
        }
    }
    sums
}

/// Cuts a channel of several tensors of one shape into blocks, the same whatever runs it.
#[inline(always)]
pub(crate) fn blocks<T: Float, const N: usize>(
    split: Split,
    channel: usize,
    from: [&[T]; N],
    mut f: impl FnMut([&[T]; N]),
) {
    let inner = split.inner;
    let start = |o: usize| (o * split.channels + channel) * inner;
    if inner >= SHORT {
        for o in 0..split.outer {
            for at in (0..inner).step_by(BLOCK) {
                let end = start(o) + inner.min(at + BLOCK);
                f(from.map(|a| &a[start(o) + at..end]));
            }
        }
        return;
    }
    let mut gathered = [[T::default(); BLOCK]; N];
    let fit = BLOCK / inner.max(1);
    for first in (0..split.outer).step_by(fit) {
        let runs = fit.min(split.outer - first);
        for (gathered, a) in gathered.iter_mut().zip(from) {
            if inner == 1 {
                for (i, to) in gathered[..runs].iter_mut().enumerate() {
                    *to = a[start(first + i)];
                }
            } else {
                for i in 0..runs {
                    gathered[i * inner..][..inner].copy_from_slice(&a[start(first + i)..][..inner]);
                }
            }
        }
        f(std::array::from_fn(|n| &gathered[n][..runs * inner]));
    }
}

/// Sums of the values of `f` over a channel.
#[inline(always)]
pub(crate) fn sums<T: Float, const N: usize, const K: usize>(
    split: Split,
    channel: usize,
    from: [&[T]; N],
    f: impl Fn([T; N]) -> [T; K],
) -> [f64; K] {
    let mut total = [0.0; K];
    blocks(split, channel, from, |block| {
        let part = reduce(block, &f);
        for k in 0..K {
            total[k] += part[k];
        }
    });
    total
}

/// Mean and biased variance of a channel: two passes over a block while it is near, blocks merged as by Chan, Golub &
/// LeVeque (1979), so that neither a large mean nor images of different brightness cost digits.
#[inline(always)]
pub(crate) fn mean_and_variance<T: Float>(split: Split, channel: usize, x: &[T]) -> (f64, f64) {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    blocks(split, channel, [x], |[x]| {
        let k = x.len() as f64;
        let [sum] = reduce([x], |[x]| [x]);
        let near = T::from_f64(sum / k);
        let [q, d] = reduce([x], |[x]| [(x - near) * (x - near), x - near]);
        // `near` is the block's mean but for rounding, which the second sum knows
        let (m, q) = (near.to_f64() + d / k, q - d * d / k);
        let (apart, all) = (m - mean, count + k);
        mean += apart * k / all;
        squares += q + apart * apart * count * k / all;
        count = all;
    });
    (mean, if squares > 0.0 || squares.is_nan() { squares / count } else { 0.0 })
}
