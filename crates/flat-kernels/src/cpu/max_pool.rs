//! Max pooling: the largest elements of windows, and the linear map that picks their places.

use super::buffer::{Buffer, kernel, vectorized};
use crate::{Float, Windows};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// The largest element of every window and its place in its plane. Of equal ones the first in row order counts; a
/// window with NaN gives NaN.
pub fn max<T: Float>(s: Windows, x: &[T]) -> (Vec<T>, Vec<u32>) {
    let Windows { planes, h, w, oh, ow, kernel, stride, padding } = s;
    if s.pairs() {
        return max_of_pairs(x, (h, w), planes);
    }
    let mut y = vec![T::default(); s.outputs()];
    let mut places = vec![0u32; s.outputs()];
    if y.is_empty() {
        return (y, places);
    }
    let least = (1usize << 12).div_ceil(oh * ow);
    let work = y.par_chunks_mut(oh * ow).zip(places.par_chunks_mut(oh * ow)).zip(x.par_chunks(h * w));
    work.with_min_len(least).for_each(|((y, places), x)| {
        for i in 0..oh {
            let rows = (i * stride).saturating_sub(padding)..(i * stride + kernel - padding).min(h);
            let y = &mut y[i * ow..(i + 1) * ow];
            let places = &mut places[i * ow..(i + 1) * ow];
            for (j, (y, place)) in y.iter_mut().zip(places).enumerate() {
                let (left, right) = ((j * stride).saturating_sub(padding), (j * stride + kernel - padding).min(w));
                let mut at = rows.start * w + left;
                let mut best = x[at];
                for r in rows.clone() {
                    for (c, &v) in x[r * w + left..r * w + right].iter().enumerate() {
                        // a NaN stays once found
                        #[allow(clippy::eq_op)]
                        if v > best || (v != v && best == best) {
                            best = v;
                            at = r * w + left + c;
                        }
                    }
                }
                *y = best;
                *place = at as u32;
            }
        }
    });
    (y, places)
}

/// The elements of `x` at the places.
pub fn gather<T: Float>(s: Windows, x: &[T], places: &[u32]) -> Vec<T> {
    let (area, len, least) = (s.h * s.w, s.oh * s.ow, (1usize << 14).div_ceil(s.h * s.w));
    let mut y = Buffer::new(places.len());
    let to = y.runs();
    (0..s.planes).into_par_iter().with_min_len(least).for_each(|p| {
        let (x, places) = (&x[p * area..(p + 1) * area], &places[p * len..(p + 1) * len]);
        // SAFETY: every plane has a run of its own.
        let y = unsafe { to.run(p * len, len) };
        y.iter_mut().zip(places).for_each(|(y, p)| {
            y.write(x[*p as usize]);
        });
    });
    // SAFETY: every run was written.
    unsafe { y.finish() }
}

/// The transpose of [`gather`]: adds the elements of `g` up at their places, zeros elsewhere.
pub fn scatter<T: Float>(s: Windows, g: &[T], places: &[u32]) -> Vec<T> {
    let (area, len) = (s.h * s.w, s.oh * s.ow);
    if s.pairs() {
        return spread_pairs(g, places, (s.h, s.w), s.planes);
    }
    let mut x = vec![T::default(); s.inputs()];
    if !g.is_empty() {
        let least = (1usize << 14).div_ceil(area);
        let work = x.par_chunks_mut(area).zip(g.par_chunks(len)).zip(places.par_chunks(len));
        work.with_min_len(least).for_each(|((x, g), places)| {
            g.iter().zip(places).for_each(|(g, p)| x[*p as usize] += *g);
        });
    }
    x
}

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

/// [`max`] for 2x2 tiles.
fn max_of_pairs<T: Float>(x: &[T], (h, w): (usize, usize), planes: usize) -> (Vec<T>, Vec<u32>) {
    let len = (h / 2) * (w / 2);
    let (mut y, mut places) = (Buffer::new(planes * len), Buffer::new(planes * len));
    let (to, place) = (y.runs(), places.runs());
    let least = (1usize << 14).div_ceil(h * w);
    (0..planes).into_par_iter().with_min_len(least).for_each(|p| {
        // SAFETY: every plane has runs of its own.
        let (y, places) = unsafe { (to.run(p * len, len), place.run(p * len, len)) };
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

/// The gradient of 2x2 tiles.
fn spread_pairs<T: Float>(g: &[T], places: &[u32], (h, w): (usize, usize), planes: usize) -> Vec<T> {
    let len = (h / 2) * (w / 2);
    let mut x = Buffer::new(planes * h * w);
    let to = x.runs();
    let least = (1usize << 14).div_ceil(h * w);
    (0..planes).into_par_iter().with_min_len(least).for_each(|p| {
        let (g, places) = (&g[p * len..(p + 1) * len], &places[p * len..(p + 1) * len]);
        // SAFETY: every plane has a run of its own.
        vectorized(Spread2 { g, places, width: w, x: unsafe { to.run(p * h * w, h * w) } });
    });
    // SAFETY: every element of every plane was written.
    unsafe { x.finish() }
}
