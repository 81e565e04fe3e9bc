//! Element-wise kernels.

use crate::Float;
use rayon::prelude::*;

const CHUNK: usize = 1 << 14;

/// `f(a, b)` of every pair.
pub fn zip<T: Float>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    let mut out = vec![T::default(); a.len()];
    out.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK)).for_each(|((out, a), b)| {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = f(*a, *b);
        }
    });
    out
}

/// relu: `max(x, 0)`; NaN stays NaN.
#[inline(always)]
pub fn clip<T: Float>(x: T) -> T {
    if x < T::default() { T::default() } else { x }
}

/// relu's gradient: `g` where relu gave a positive `y`.
#[inline(always)]
pub fn masked<T: Float>(g: T, y: T) -> T {
    if y <= T::default() { T::default() } else { g }
}
