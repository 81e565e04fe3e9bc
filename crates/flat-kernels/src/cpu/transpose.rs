//! Small squares of words turned over: rows become columns.

// registers are addressed by number: iterators' closures would be compiled without the instructions
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::__m512i;

/// Words of a side of the largest square.
pub(super) const SIDE: usize = 16;
/// Half of it: the rows of small images.
#[cfg(target_arch = "x86_64")]
const HALF: usize = SIDE / 2;

/// Whether this processor turns [sixteen] rows at once.
#[inline(always)]
pub(super) fn has_sixteen() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// `to[j][i] = from[i][j]` for a square of four, whose rows are `stride` and `to_stride` apart.
///
/// # Safety
/// All sixteen numbers must lie in memory on both sides.
#[inline(always)]
pub(super) unsafe fn four(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise; these instructions are part of every x86-64.
    unsafe {
        use std::arch::x86_64::{
            _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
        };
        let (a, b) = (_mm_loadu_ps(from), _mm_loadu_ps(from.add(stride)));
        let (c, d) = (_mm_loadu_ps(from.add(2 * stride)), _mm_loadu_ps(from.add(3 * stride)));
        let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
        _mm_storeu_ps(to, _mm_movelh_ps(ab, cd));
        _mm_storeu_ps(to.add(to_stride), _mm_movehl_ps(cd, ab));
        let (ab, cd) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
        _mm_storeu_ps(to.add(2 * to_stride), _mm_movelh_ps(ab, cd));
        _mm_storeu_ps(to.add(3 * to_stride), _mm_movehl_ps(cd, ab));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for i in 0..4 {
        for j in 0..4 {
            // SAFETY: the caller's promise.
            unsafe { *to.add(j * to_stride + i) = *from.add(i * stride + j) };
        }
    }
}

/// `to[j][i] = from[i][j]` for at most sixteen rows and sixteen columns of words, the rows `stride` and `to_stride` words apart.
///
/// # Safety
/// All `rows cols` words must lie in memory on both sides; [`has_sixteen`] must have said yes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn sixteen(
    from: *const u32,
    stride: usize,
    (rows, cols): (usize, usize),
    to: *mut u32,
    to_stride: usize,
) {
    // loops of a known length keep the square in registers
    // SAFETY: the caller's promise.
    unsafe {
        match (rows, cols) {
            (SIDE, SIDE) => masked(from, stride, (SIDE, SIDE), to, to_stride),
            (SIDE, HALF) => masked(from, stride, (SIDE, HALF), to, to_stride),
            (HALF, SIDE) => masked(from, stride, (HALF, SIDE), to, to_stride),
            _ => masked(from, stride, (rows, cols), to, to_stride),
        }
    }
}

/// [`sixteen`], inlined, so that sizes that are known make known loops.
///
/// # Safety
/// As there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn masked(from: *const u32, stride: usize, (rows, cols): (usize, usize), to: *mut u32, to_stride: usize) {
    use std::arch::x86_64::{_mm512_mask_storeu_epi32, _mm512_maskz_loadu_epi32, _mm512_setzero_si512};
    let first = |count: usize| if count >= SIDE { u16::MAX } else { (1 << count) - 1 };
    let mut r = [_mm512_setzero_si512(); SIDE];
    // SAFETY: the masks leave out what was not promised.
    unsafe {
        for i in 0..rows.min(SIDE) {
            r[i] = _mm512_maskz_loadu_epi32(first(cols), from.add(i * stride).cast());
        }
        let r = turned(r);
        for j in 0..cols.min(SIDE) {
            _mm512_mask_storeu_epi32(to.add(j * to_stride).cast(), first(rows), r[j]);
        }
    }
}

/// The columns of a square of words.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn turned(mut r: [__m512i; SIDE]) -> [__m512i; SIDE] {
    use std::arch::x86_64::*;
    let mut t = r;
    // words, then pairs of words, then quarters of registers change places
    for i in (0..SIDE).step_by(2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for i in (0..SIDE).step_by(4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for i in 0..4 {
        t[i] = _mm512_shuffle_i32x4::<0x88>(r[i], r[i + 4]);
        t[i + 4] = _mm512_shuffle_i32x4::<0xdd>(r[i], r[i + 4]);
        t[i + 8] = _mm512_shuffle_i32x4::<0x88>(r[i + 8], r[i + 12]);
        t[i + 12] = _mm512_shuffle_i32x4::<0xdd>(r[i + 8], r[i + 12]);
    }
    for i in 0..4 {
        r[i] = _mm512_shuffle_i32x4::<0x88>(t[i], t[i + 8]);
        r[i + 4] = _mm512_shuffle_i32x4::<0x88>(t[i + 4], t[i + 12]);
        r[i + 8] = _mm512_shuffle_i32x4::<0xdd>(t[i], t[i + 8]);
        r[i + 12] = _mm512_shuffle_i32x4::<0xdd>(t[i + 4], t[i + 12]);
    }
    r
}

/// `to[j][i] = from[i][j]` for so many rows and columns: `stride` and `to_stride` are the distances of rows.
///
/// # Safety
/// All `rows cols` numbers must lie in memory on both sides.
#[inline(always)]
pub(super) unsafe fn transpose(
    from: *const f32,
    stride: usize,
    (rows, cols): (usize, usize),
    to: *mut f32,
    to_stride: usize,
) {
    let pair = |i: usize, j: usize| (from.wrapping_add(i * stride + j), to.wrapping_add(j * to_stride + i));
    // SAFETY: the caller's promise, for each part.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if has_sixteen() {
            for i in (0..rows).step_by(SIDE) {
                for j in (0..cols).step_by(SIDE) {
                    let (from, to) = pair(i, j);
                    sixteen(from.cast(), stride, (SIDE.min(rows - i), SIDE.min(cols - j)), to.cast(), to_stride);
                }
            }
            return;
        }
        for i in (0..rows).step_by(4) {
            for j in (0..cols).step_by(4) {
                if i + 4 <= rows && j + 4 <= cols {
                    let (from, to) = pair(i, j);
                    four(from, stride, to, to_stride);
                    continue;
                }
                for (i, j) in (i..rows.min(i + 4)).flat_map(|i| (j..cols.min(j + 4)).map(move |j| (i, j))) {
                    let (from, to) = pair(i, j);
                    *to = *from;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_and_come_back_for_every_length() {
        for (len, stride, to_stride) in [(1, 9, 16), (4, 4, 16), (7, 11, 19), (8, 8, 16), (16, 20, 16), (37, 37, 18)] {
            let from: Vec<f32> = (0..SIDE * stride).map(|x| x as f32).collect();
            let mut to = vec![-1.0; len * to_stride];
            // SAFETY: both hold all rows.
            unsafe { transpose(from.as_ptr(), stride, (SIDE, len), to.as_mut_ptr(), to_stride) };
            for (x, row) in to.chunks(to_stride).enumerate() {
                assert!((0..SIDE).all(|c| row[c] == from[c * stride + x]));
                assert!(row[SIDE..].iter().all(|x| *x == -1.0), "nothing beside the square is written");
            }
            let mut back = vec![-1.0; SIDE * stride];
            // SAFETY: as above.
            unsafe { transpose(to.as_ptr(), to_stride, (len, SIDE), back.as_mut_ptr(), stride) };
            for (i, (back, from)) in back.iter().zip(&from).enumerate() {
                assert_eq!(*back, if i % stride < len { *from } else { -1.0 });
            }
        }
    }
}
