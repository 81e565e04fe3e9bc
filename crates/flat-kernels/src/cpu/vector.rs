//! One-pass arithmetic on flat host buffers, in parallel.
//!
//! Sums are accumulated in f64, in chunks of a fixed size and lanes of a fixed number, and combined in order: the result
//! depends neither on the number of threads nor on the width of the processor's vectors.

use super::buffer::{kernel, vectorized};
use crate::{Float, Update};
use rayon::prelude::*;

/// Elements that one thread works through at a time; part of the definition of the sums.
pub const CHUNK: usize = 1 << 14;
/// Partial sums of a chunk; part of the definition of the sums.
const LANES: usize = 32;
/// Up to this length one thread is done before another has woken up.
pub const SERIAL: usize = 1 << 15;

/// `<x, y>`, accumulated in f64.
pub fn dot<T: Float>(x: &[T], y: &[T]) -> f64 {
    let part = |(x, y): (&[T], &[T])| vectorized(Dot { x, y });
    if x.len() <= SERIAL {
        return x.chunks(CHUNK).zip(y.chunks(CHUNK)).map(part).sum();
    }
    let parts: Vec<f64> = x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK)).map(part).collect();
    parts.iter().sum()
}

kernel! {
    /// The product of a chunk.
    Dot<'a, T> { x: &'a [T], y: &'a [T] } -> f64, |this| {
        let mut lanes = [0.0f64; LANES];
        let ((xs, x_rest), (ys, y_rest)) = (this.x.as_chunks::<LANES>(), this.y.as_chunks::<LANES>());
        for (x, y) in xs.iter().zip(ys) {
            for i in 0..LANES {
                lanes[i] += x[i].to_f64() * y[i].to_f64();
            }
        }
        for (lane, (x, y)) in lanes.iter_mut().zip(x_rest.iter().zip(y_rest)) {
            *lane += x.to_f64() * y.to_f64();
        }
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }
}

/// Fills `out` chunk by chunk and returns what `f` returns for each, in order. `f` is given the place of the chunk.
pub fn fill<T: Float, R: Send>(out: &mut [T], f: impl Fn(usize, &mut [T]) -> R + Sync) -> Vec<R> {
    let part = |(i, out): (usize, &mut [T])| f(i * CHUNK, out);
    if out.len() <= SERIAL {
        out.chunks_mut(CHUNK).enumerate().map(part).collect()
    } else {
        out.par_chunks_mut(CHUNK).enumerate().map(part).collect()
    }
}

/// Puts `parts` one after the other and returns the sum of the squares, as [`dot`] of the result with itself would.
pub fn gather<T: Float>(out: &mut [T], parts: &[&[T]]) -> f64 {
    let mut ends = Vec::with_capacity(parts.len());
    let mut end = 0;
    ends.extend(parts.iter().map(|part| {
        end += part.len();
        end
    }));
    let squares = fill(out, |begin, out| {
        let (mut at, mut which) = (begin, ends.partition_point(|end| *end <= begin));
        let mut rest = &mut *out;
        while !rest.is_empty() {
            let part = parts[which];
            let from = at - (ends[which] - part.len());
            let n = rest.len().min(part.len() - from);
            let (now, later) = rest.split_at_mut(n);
            now.copy_from_slice(&part[from..from + n]);
            (rest, at, which) = (later, at + n, which + 1);
        }
        vectorized(Dot { x: out, y: out })
    });
    squares.iter().sum()
}

/// Carries out an update on all elements, in place.
pub fn update<T: Float, const M: usize, const N: usize>(
    w: &mut [T],
    inputs: [&[T]; M],
    state: [&mut [T]; N],
    op: &impl Update<M, N>,
) {
    if w.len() <= SERIAL { vectorized(Leaf { w, inputs, state, op }) } else { halves(w, inputs, state, op) }
}

/// Fills `out` by an update of the values that `start` writes into each chunk, and returns `<out, inputs[with]>` as [`dot`]
/// would, in one pass. `with: None` means `out` with itself. `ends` are the ends of the parameters, each of which `of` gives its update.
pub fn recur<T: Float, const M: usize, const N: usize, U: Update<M, N>>(
    out: &mut [T],
    start: impl Fn(usize, &mut [T]) + Sync,
    inputs: [&[T]; M],
    state: [&mut [T]; N],
    ends: &[usize],
    of: impl Fn(usize) -> U + Sync,
    with: Option<usize>,
) -> f64 {
    let mut state = state.map(|s| s.chunks_mut(CHUNK));
    let chunks = out.chunks_mut(CHUNK).enumerate();
    let chunks = chunks.map(|(i, out)| (i * CHUNK, out, state.each_mut().map(|s| s.next().unwrap_or_default())));
    let part = |(begin, out, mut state): (usize, &mut [T], [&mut [T]; N])| {
        let (mut at, mut which) = (0, ends.partition_point(|end| *end <= begin));
        start(begin / CHUNK, out);
        while at < out.len() {
            let to = out.len().min(ends[which] - begin);
            let (inputs, state) =
                (inputs.map(|x| &x[begin + at..begin + to]), state.each_mut().map(|s| &mut s[at..to]));
            vectorized(Leaf { w: &mut out[at..to], inputs, state, op: &of(which) });
            (at, which) = (to, which + 1);
        }
        vectorized(Dot { x: out, y: with.map_or(out, |k| &inputs[k][begin..begin + out.len()]) })
    };
    let chunks: Vec<_> = chunks.collect();
    if ends.last().is_none_or(|n| *n <= SERIAL) {
        return chunks.into_iter().map(part).sum();
    }
    let parts: Vec<f64> = chunks.into_par_iter().map(part).collect();
    parts.iter().sum()
}

fn halves<T: Float, const M: usize, const N: usize>(
    w: &mut [T],
    inputs: [&[T]; M],
    state: [&mut [T]; N],
    op: &impl Update<M, N>,
) {
    if w.len() <= CHUNK {
        return vectorized(Leaf { w, inputs, state, op });
    }
    let middle = (w.len() / 2).next_multiple_of(CHUNK);
    let (w_left, w_right) = w.split_at_mut(middle);
    let (left, right) = (inputs.map(|x| &x[..middle]), inputs.map(|x| &x[middle..]));
    let mut parts = state.map(|s| s.split_at_mut(middle));
    let s_left = parts.each_mut().map(|(left, _)| std::mem::take(left));
    let s_right = parts.map(|(_, right)| right);
    rayon::join(|| halves(w_left, left, s_left, op), || halves(w_right, right, s_right, op));
}

/// An update of a chunk.
struct Leaf<'a, T, U, const M: usize, const N: usize> {
    w: &'a mut [T],
    inputs: [&'a [T]; M],
    state: [&'a mut [T]; N],
    op: &'a U,
}

impl<T: Float, U: Update<M, N>, const M: usize, const N: usize> pulp::NullaryFnOnce for Leaf<'_, T, U, M, N> {
    type Output = ();
    #[inline(always)]
    fn call(self) {
        let Self { w, inputs, mut state, op } = self;
        let n = w.len();
        let inputs = inputs.map(|x| &x[..n]);
        let mut state = state.each_mut().map(|s| &mut s[..n]);
        for i in 0..n {
            let s: [T::Number; N] = std::array::from_fn(|k| state[k][i].number());
            let (new, s) = op.update(w[i].number(), inputs.map(|x| x[i].number()), s);
            w[i] = T::value(new);
            for (slot, s) in state.iter_mut().zip(s) {
                slot[i] = T::value(s);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Number;

    const N: usize = 5 * CHUNK + 77;

    fn numbers(index: u64) -> Vec<f32> {
        // a linear congruence modulo 2^31 (Lehmer; Park & Miller 1988), spread over -2..2
        let mut x = 1 + index;
        let mut next = || {
            x = x * 48_271 % 0x7fff_ffff;
            x as f32 / (1u32 << 29) as f32 - 2.0
        };
        (0..N).map(|_| next()).collect()
    }

    fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(f)
    }

    #[test]
    fn sums_have_the_same_bits_for_any_number_of_threads() {
        let (x, y) = (numbers(0), numbers(1));
        let bits = |threads| with_threads(threads, || dot(&x, &y).to_bits());
        assert_eq!(bits(1), bits(2));
        assert_eq!(bits(1), bits(5));
        let plain: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        // 80,000 terms of size 1 in two orders of summation: 1e-16 times a few hundred
        assert!((dot(&x, &y) - plain).abs() < 1e-12 * N as f64);
    }

    #[test]
    fn gathered_parts_are_their_concatenation_and_the_sum_is_its_dot_product() {
        let x = numbers(0);
        // parts of one element, of less and of more than a chunk, with ends on and off the borders of chunks
        for cuts in [vec![], vec![1], vec![CHUNK], vec![1, 2, 3, CHUNK - 1, 3 * CHUNK + 5, N - 1]] {
            let mut parts = Vec::new();
            let mut begin = 0;
            for end in cuts.into_iter().chain([N]) {
                parts.push(&x[begin..end]);
                begin = end;
            }
            for threads in [1, 3] {
                let mut out = vec![f32::NAN; N];
                let square = with_threads(threads, || gather(&mut out, &parts));
                assert_eq!(out, x);
                assert_eq!(square.to_bits(), dot(&x, &x).to_bits());
            }
        }
    }

    #[test]
    fn an_infinity_or_nan_anywhere_reaches_the_sum() {
        for at in [0, CHUNK - 1, CHUNK, N - 1] {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut x = numbers(0);
                x[at] = bad;
                assert!(!dot(&x, &x).is_finite());
                let mut out = vec![0.0; N];
                assert!(!gather(&mut out, &[&x[..at], &x[at..]]).is_finite());
            }
        }
    }

    #[test]
    fn an_update_reaches_every_element_once_for_any_number_of_threads() {
        struct Swap;
        impl Update<1, 1> for Swap {
            fn update<E: Number>(&self, w: E, [x]: [E; 1], [s]: [E; 1]) -> (E, [E; 1]) {
                (s + x, [w])
            }
        }
        let (x, w0, s0) = (numbers(0), numbers(1), numbers(2));
        for n in [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1, 4 * CHUNK, N] {
            for threads in [1, 3] {
                let (mut w, mut s) = (w0[..n].to_vec(), s0[..n].to_vec());
                with_threads(threads, || update(&mut w, [&x[..n]], [&mut s], &Swap));
                assert_eq!(s, w0[..n]);
                assert!(w.iter().zip(&s0).zip(&x).all(|((w, s), x)| *w == s + x));
            }
        }
    }
}
