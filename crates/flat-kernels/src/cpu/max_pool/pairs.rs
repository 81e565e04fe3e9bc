//! Max pooling of 2x2 tiles that touch and do not overlap.

#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::Float;
#[cfg(target_arch = "x86_64")]
use crate::cpu::buffer::single;
use crate::cpu::buffer::{Buffer, kernel, vectorized};
#[cfg(target_arch = "x86_64")]
use crate::cpu::transpose::has_sixteen;
use rayon::prelude::*;
use std::mem::MaybeUninit;

kernel! {
    /// 2x2 tiles of one plane.
    Max2<'a, T> {
        x: &'a [T],
        width: usize,
        y: &'a mut [MaybeUninit<T>],
        places: &'a mut [MaybeUninit<u32>],
    } -> (), |k| {
        let (w, ow) = (k.width, k.width / 2);
        let rows = k.x.chunks_exact(2 * w).zip(k.y.chunks_exact_mut(ow)).zip(k.places.chunks_exact_mut(ow));
        for (i, ((x, y), places)) in rows.enumerate() {
            let (upper, lower) = x.split_at(w);
            let tiles = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            for (j, ((tile, y), place)) in tiles.zip(y).zip(places).enumerate() {
                let (a, b) = ([tile.0[0], tile.0[1]], [tile.1[0], tile.1[1]]);
                let first = (2 * i * w + 2 * j) as u32;
                let (mut best, mut at) = (a[0], first);
                for (v, p) in [(a[1], first + 1), (b[0], first + w as u32), (b[1], first + w as u32 + 1)] {
                    // a NaN stays once found
                    #[allow(clippy::eq_op)]
                    let take = (v > best) | ((v != v) & (best == best));
                    best = if take { v } else { best };
                    at = if take { p } else { at };
                }
                y.write(best);
                place.write(at);
            }
        }
    }
}

/// [`super::max`] for 2x2 tiles.
pub(super) fn max<T: Float>(x: &[T], (h, w): (usize, usize), planes: usize) -> (Vec<T>, Vec<u32>) {
    let len = (h / 2) * (w / 2);
    let (mut y, mut places) = (Buffer::new(planes * len), Buffer::new(planes * len));
    let (to, place) = (y.runs(), places.runs());
    let least = (1usize << 14).div_ceil(h * w);
    (0..planes).into_par_iter().with_min_len(least).for_each(|p| {
        // SAFETY: every plane has runs of its own.
        let (y, places) = unsafe { (to.run(p * len, len), place.run(p * len, len)) };
        #[cfg(target_arch = "x86_64")]
        if let (true, Some(x)) = (has_sixteen(), single(x)) {
            // SAFETY: a plane of `h w` numbers of f32, and a quarter of them on the other side; the instructions are there.
            unsafe { avx512::max(&x[p * h * w..], (h, w), y.as_mut_ptr().cast(), places.as_mut_ptr().cast()) };
            return;
        }
        vectorized(Max2 { x: &x[p * h * w..(p + 1) * h * w], width: w, y, places });
    });
    // SAFETY: every row of every plane was written.
    unsafe { (y.finish(), places.finish()) }
}

kernel! {
    /// The transpose of [`Max2`]: every element of the tiles is written.
    Spread2<'a, T> { g: &'a [T], places: &'a [u32], width: usize, x: &'a mut [MaybeUninit<T>] } -> (), |k| {
        let (w, ow) = (k.width, k.width / 2);
        let zero = T::default();
        let rows = k.x.chunks_mut(2 * w).zip(k.g.chunks_exact(ow)).zip(k.places.chunks_exact(ow));
        for (i, ((x, g), places)) in rows.enumerate() {
            let (upper, lower) = x.split_at_mut(w);
            let tiles = upper.chunks_exact_mut(2).zip(lower.chunks_exact_mut(2));
            for (j, ((tile, g), place)) in tiles.zip(g).zip(places).enumerate() {
                let at = *place - (2 * i * w + 2 * j) as u32;
                tile.0[0].write(if at == 0 { *g } else { zero });
                tile.0[1].write(if at == 1 { *g } else { zero });
                tile.1[0].write(if at == w as u32 { *g } else { zero });
                tile.1[1].write(if at == w as u32 + 1 { *g } else { zero });
            }
            if w % 2 == 1 {
                upper[w - 1].write(zero);
                lower[w - 1].write(zero);
            }
        }
        let (oh, rest) = (k.x.len() / (2 * w), k.x.len() % (2 * w));
        for x in &mut k.x[oh * 2 * w..][..rest] {
            x.write(zero);
        }
    }
}

/// [`super::scatter`] for 2x2 tiles.
pub(super) fn spread<T: Float>(g: &[T], places: &[u32], (h, w): (usize, usize), planes: usize) -> Vec<T> {
    let len = (h / 2) * (w / 2);
    let mut x = Buffer::new(planes * h * w);
    let to = x.runs();
    let least = (1usize << 14).div_ceil(h * w);
    (0..planes).into_par_iter().with_min_len(least).for_each(|p| {
        let (g, places) = (&g[p * len..(p + 1) * len], &places[p * len..(p + 1) * len]);
        // SAFETY: every plane has a run of its own.
        let x = unsafe { to.run(p * h * w, h * w) };
        #[cfg(target_arch = "x86_64")]
        if let (true, Some(g)) = (has_sixteen(), single(g)) {
            // SAFETY: as in `max`.
            unsafe { avx512::spread(g, places, (h, w), x.as_mut_ptr().cast()) };
            return;
        }
        vectorized(Spread2 { g, places, width: w, x });
    });
    // SAFETY: every element of every plane was written.
    unsafe { x.finish() }
}

#[cfg(test)]
mod tests {
    use super::super::{max, scatter};
    use crate::Windows;

    #[test]
    fn f32_is_pooled_as_f64_is_whatever_the_sides_and_with_nan() {
        for (h, w) in [(2, 2), (4, 6), (24, 24), (8, 8), (5, 7), (3, 33), (2, 70), (9, 64)] {
            let planes = 3;
            let windows = Windows { planes, h, w, oh: h / 2, ow: w / 2, kernel: 2, stride: 2, padding: 0 };
            // few values, so that many are equal
            let x: Vec<f32> = (0..planes * h * w)
                .map(|i| if i % 29 == 5 { f32::NAN } else { ((i * 7919) % 13) as f32 - 6.0 })
                .collect();
            let wide = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
            let ((y, places), (y64, places64)) = (max(windows, &x), max(windows, &wide(&x)));
            assert_eq!(places, places64, "{h}x{w}");
            let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<u64>>();
            assert_eq!(bits(&wide(&y)), bits(&y64), "{h}x{w}");
            let g: Vec<f32> = (0..y.len()).map(|i| i as f32 + 1.0).collect();
            assert_eq!(wide(&scatter(windows, &g, &places)), scatter(windows, &wide(&g), &places64), "{h}x{w}");
        }
    }
}
