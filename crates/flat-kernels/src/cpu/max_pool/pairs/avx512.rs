//! Tiles of one plane of f32, sixteen at a time.

use std::arch::x86_64::*;

/// Tiles at a time.
const TILES: usize = 16;

/// The first `count` lanes.
fn first(count: usize) -> u16 {
    if count >= TILES { u16::MAX } else { (1 << count) - 1 }
}

/// Lanes of two registers, the second's after the first's, that are even (0) or odd (1).
#[target_feature(enable = "avx512f")]
fn every_other(from: i32) -> __m512i {
    let lanes = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    _mm512_add_epi32(lanes, _mm512_set1_epi32(from))
}

/// The largest of every tile and its place, see [`super::max`].
///
/// # Safety
/// `y` and `places` must have room for `(h / 2) (w / 2)` numbers, and AVX-512 must be there.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn max(x: &[f32], (h, w): (usize, usize), y: *mut f32, places: *mut u32) {
    assert!(x.len() >= h * w, "a plane beyond its images");
    let (oh, ow) = (h / 2, w / 2);
    let (even, odd, x) = (every_other(0), every_other(1), x.as_ptr());
    for i in 0..oh {
        for j in (0..ow).step_by(TILES) {
            let (tiles, at) = (TILES.min(ow - j), 2 * (i * w + j));
            // SAFETY: the masks leave out what is beyond the tiles.
            let pair = |from: *const f32| unsafe {
                let low = _mm512_maskz_loadu_ps(first(2 * tiles), from);
                let high = _mm512_maskz_loadu_ps(first((2 * tiles).saturating_sub(TILES)), from.wrapping_add(TILES));
                [_mm512_permutex2var_ps(low, even, high), _mm512_permutex2var_ps(low, odd, high)]
            };
            let [[a, b], [c, d]] = [pair(x.wrapping_add(at)), pair(x.wrapping_add(at + w))];
            let start = _mm512_add_epi32(_mm512_set1_epi32(at as i32), even);
            let (mut best, mut place) = (a, start);
            for (v, step) in [(b, 1), (c, w), (d, w + 1)] {
                // larger or NaN, unless a NaN was found
                let more = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(v, best) & _mm512_cmp_ps_mask::<_CMP_ORD_Q>(best, best);
                best = _mm512_mask_mov_ps(best, more, v);
                place = _mm512_mask_add_epi32(place, more, start, _mm512_set1_epi32(step as i32));
            }
            // SAFETY: a tile has a place on the other side.
            unsafe {
                _mm512_mask_storeu_ps(y.add(i * ow + j), first(tiles), best);
                _mm512_mask_storeu_epi32(places.add(i * ow + j).cast(), first(tiles), place);
            }
        }
    }
}

/// The transpose of [`max`]: every element of the plane is written.
///
/// # Safety
/// `x` must have room for `h w` numbers, and AVX-512 must be there.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn spread(g: &[f32], places: &[u32], (h, w): (usize, usize), x: *mut f32) {
    let (oh, ow) = (h / 2, w / 2);
    assert!(g.len() >= oh * ow && places.len() >= oh * ow, "tiles beyond their plane");
    let even = every_other(0);
    let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    for i in 0..oh {
        for j in (0..ow).step_by(TILES) {
            let (tiles, at) = (TILES.min(ow - j), 2 * (i * w + j));
            // SAFETY: the masks leave out what is beyond the tiles.
            let (g, place) = unsafe {
                let from = i * ow + j;
                let g = _mm512_maskz_loadu_ps(first(tiles), g.as_ptr().add(from));
                (g, _mm512_maskz_loadu_epi32(first(tiles), places.as_ptr().add(from).cast()))
            };
            let start = _mm512_add_epi32(_mm512_set1_epi32(at as i32), even);
            for row in [0, w] {
                let [left, right] = [row, row + 1].map(|step| {
                    let here = _mm512_add_epi32(start, _mm512_set1_epi32(step as i32));
                    _mm512_maskz_mov_ps(_mm512_cmpeq_epi32_mask(place, here), g)
                });
                // SAFETY: as above.
                unsafe {
                    let to = x.add(at + row);
                    _mm512_mask_storeu_ps(to, first(2 * tiles), _mm512_permutex2var_ps(left, low, right));
                    let rest = first((2 * tiles).saturating_sub(TILES));
                    _mm512_mask_storeu_ps(to.wrapping_add(TILES), rest, _mm512_permutex2var_ps(left, high, right));
                }
            }
        }
    }
    // what lies in no tile: the last column of an odd width, the last row of an odd height
    let zero = |at: usize| {
        // SAFETY: within the plane.
        unsafe { *x.add(at) = 0.0 }
    };
    if w % 2 == 1 {
        (0..2 * oh).for_each(|row| zero(row * w + w - 1));
    }
    (2 * oh * w..h * w).for_each(zero);
}
