//! Max pooling: the largest elements of windows, and the linear map that picks their places.

mod pairs;

use super::buffer::Buffer;
use crate::{Float, Windows};
use rayon::prelude::*;

/// The largest element of every window and its place in its plane. Of equal ones the first in row order counts; a
/// window with NaN gives NaN.
pub fn max<T: Float>(s: Windows, x: &[T]) -> (Vec<T>, Vec<u32>) {
    let Windows { planes, h, w, oh, ow, kernel, stride, padding } = s;
    if s.pairs() {
        return pairs::max(x, (h, w), planes);
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
        return pairs::spread(g, places, (s.h, s.w), s.planes);
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
