//! Scaling, shifting and summing by channel.

use crate::{Float, Split};
use rayon::prelude::*;

/// `N` sums of every channel, where `row(at)` sums the run of `inner` elements at `at`.
fn reduce<const N: usize>(split: Split, row: impl Fn(usize) -> [f64; N] + Sync) -> Vec<[f64; N]> {
    let sum = |c: usize| {
        let mut total = [0.0; N];
        for o in 0..split.outer {
            for (t, r) in total.iter_mut().zip(row((o * split.channels + c) * split.inner)) {
                *t += r;
            }
        }
        total
    };
    // enough channels a task to be worth one
    let least = (1usize << 14).div_ceil(split.count().max(1));
    (0..split.channels).into_par_iter().with_min_len(least).map(sum).collect()
}

/// A new buffer filled run by run: `row(channel, offset, out)`.
fn fill<T: Float>(split: Split, row: impl Fn(usize, usize, &mut [T]) + Sync) -> Vec<T> {
    let mut out = vec![T::default(); split.elements()];
    if out.is_empty() {
        return out;
    }
    let least = (1usize << 14).div_ceil(split.inner);
    out.par_chunks_mut(split.inner).with_min_len(least).enumerate().for_each(|(i, out)| {
        row(i % split.channels, i * split.inner, out);
    });
    out
}

const LANES: usize = 16;

/// Sum of `f` over pairs of elements: lanes of the element type over at most 1024 elements, f64 above.
fn sum_pairs<T: Float>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> f64 {
    let mut total = 0.0;
    for (a, b) in a.chunks(1024).zip(b.chunks(1024)) {
        let mut lanes = [T::default(); LANES];
        let (ac, bc) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let tail: f64 = ac.remainder().iter().zip(bc.remainder()).map(|(a, b)| f(*a, *b).to_f64()).sum();
        for (a, b) in ac.zip(bc) {
            for i in 0..LANES {
                lanes[i] += f(a[i], b[i]);
            }
        }
        total += lanes.iter().map(|x| x.to_f64()).sum::<f64>() + tail;
    }
    total
}

/// Sum of elements, as [`sum_pairs`].
fn sum<T: Float>(a: &[T]) -> f64 {
    sum_pairs(a, a, |a, _| a)
}

fn numbers<T: Float>(sums: Vec<[f64; 1]>) -> Vec<T> {
    sums.into_iter().map(|[s]| T::from_f64(s)).collect()
}

/// The sum of every channel.
pub fn sums<T: Float>(split: Split, x: &[T]) -> Vec<T> {
    match split.inner {
        1 => column_sums(x, split.channels),
        inner => numbers(reduce(split, |at| [sum(&x[at..at + inner])])),
    }
}

/// Column sums of a matrix stored row by row.
fn column_sums<T: Float>(x: &[T], columns: usize) -> Vec<T> {
    let mut total = vec![0.0f64; columns];
    for row in x.chunks_exact(columns.max(1)) {
        for (t, x) in total.iter_mut().zip(row) {
            *t += x.to_f64();
        }
    }
    total.into_iter().map(T::from_f64).collect()
}

/// `<a, b>` of every channel.
pub fn dots<T: Float>(split: Split, a: &[T], b: &[T]) -> Vec<T> {
    numbers(reduce(split, |at| [sum_pairs(&a[at..at + split.inner], &b[at..at + split.inner], |a, b| a * b)]))
}

/// `x` times a factor a channel.
pub fn scale<T: Float>(split: Split, x: &[T], factor: &[T]) -> Vec<T> {
    fill(split, |c, at, out: &mut [T]| {
        out.iter_mut().zip(&x[at..]).for_each(|(out, x)| *out = *x * factor[c]);
    })
}

/// `factor x + shift`, a factor and a shift a channel.
pub fn affine<T: Float>(split: Split, x: &[T], factor: &[T], shift: &[T]) -> Vec<T> {
    fill(split, |c, at, out: &mut [T]| {
        out.iter_mut().zip(&x[at..]).for_each(|(out, x)| *out = *x * factor[c] + shift[c]);
    })
}

/// `(x - mean) r` for a mean and an `r` a channel.
pub fn standardize<T: Float>(split: Split, x: &[T], mean: &[f64], r: &[f64]) -> Vec<T> {
    fill(split, |c, at, out: &mut [T]| {
        let (mean, r) = (T::from_f64(mean[c]), T::from_f64(r[c]));
        out.iter_mut().zip(&x[at..]).for_each(|(out, x)| *out = (*x - mean) * r);
    })
}

/// `r (g - mean(g) - normal mean(g normal))` with means over a channel.
pub fn project<T: Float>(split: Split, g: &[T], normal: &[T], r: &[T]) -> Vec<T> {
    let sums = reduce(split, |at| {
        let (g, normal) = (&g[at..at + split.inner], &normal[at..at + split.inner]);
        [sum(g), sum_pairs(g, normal, |g, n| g * n)]
    });
    let count = split.count() as f64;
    fill(split, |c, at, out: &mut [T]| {
        let (mean, along) = (T::from_f64(sums[c][0] / count), T::from_f64(sums[c][1] / count));
        for ((out, g), n) in out.iter_mut().zip(&g[at..]).zip(&normal[at..]) {
            *out = (*g - mean - *n * along) * r[c];
        }
    })
}

/// The mean of every plane of `area` elements.
pub fn plane_means<T: Float>(x: &[T], area: usize) -> Vec<T> {
    let planes = x.par_chunks_exact(area.max(1)).with_min_len((1usize << 14).div_ceil(area.max(1)));
    planes.map(|x| T::from_f64(sum(x) / area as f64)).collect()
}

/// The transpose of [`plane_means`]: an equal share of each number for each element of its plane.
pub fn plane_shares<T: Float>(g: &[T], area: usize) -> Vec<T> {
    let mut x = Vec::with_capacity(g.len() * area);
    for g in g {
        let share = T::from_f64(g.to_f64() / area as f64);
        x.resize(x.len() + area, share);
    }
    x
}
