//! AVX-512: products of pairs of bf16 (`vdpbf16ps`), rounding to bf16, and operands put into the order of the products.

use super::block::{Block, DEPTH, Step, TILE};
use std::arch::x86_64::*;

/// Whether this processor has all instructions of this file.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bf16")
}

/// Rows of sums held in registers together.
const ROWS: usize = 8;

/// See [`Block::run`].
///
/// # Safety
/// As there, where [`available`] said yes.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn run(block: &Block, steps: &[Step]) {
    for row in (0..block.rows * TILE).step_by(ROWS) {
        let at = row / TILE * block.a_tile + row % TILE * block.a_row;
        let part = Block { a: block.a.wrapping_add(at), c: block.c.wrapping_add(row * block.c_row), ..*block };
        // SAFETY: the caller's promise.
        unsafe { if block.cols == 2 { rows::<2>(&part, steps) } else { rows::<1>(&part, steps) } }
    }
}

/// `ROWS` rows of `N` tiles of columns.
///
/// # Safety
/// As [`run`].
#[target_feature(enable = "avx512f,avx512bf16")]
#[allow(clippy::needless_range_loop)] // registers are addressed by number
unsafe fn rows<const N: usize>(block: &Block, steps: &[Step]) {
    let mut sums = [[_mm512_setzero_ps(); N]; ROWS];
    // SAFETY: the caller's promise.
    unsafe {
        if block.accumulate {
            for i in 0..ROWS {
                for j in 0..N {
                    sums[i][j] = _mm512_loadu_ps(block.c.add(i * block.c_row + j * TILE));
                }
            }
        }
        for step in steps {
            let (a, b) = (block.a.offset(step.a), block.b.offset(step.b));
            for pair in 0..DEPTH / 2 {
                let mut rhs = [_mm512_setzero_si512(); N];
                for j in 0..N {
                    rhs[j] = _mm512_loadu_si512(b.add(pair * block.b_row + j * block.b_tile).cast());
                }
                for i in 0..ROWS {
                    let lhs = _mm512_set1_epi32(a.add(i * block.a_row + 4 * pair).cast::<i32>().read_unaligned());
                    for j in 0..N {
                        sums[i][j] = _mm512_dpbf16_ps(sums[i][j], as_bf16(lhs), as_bf16(rhs[j]));
                    }
                }
            }
        }
        for i in 0..ROWS {
            for j in 0..N {
                _mm512_storeu_ps(block.c.add(i * block.c_row + j * TILE), sums[i][j]);
            }
        }
    }
}

#[inline(always)]
fn as_bf16(x: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes without invalid values.
    unsafe { std::mem::transmute(x) }
}

#[inline(always)]
fn as_bits(x: __m512bh) -> __m512i {
    // SAFETY: as above.
    unsafe { std::mem::transmute(x) }
}

/// The first `count` of sixteen.
#[inline(always)]
fn first(count: usize) -> u16 {
    if count >= TILE { u16::MAX } else { (1 << count) - 1 }
}

/// Asks for what is read 2 KB on: the processor's own prefetching ends with a page.
#[inline(always)]
fn ahead(from: *const f32) {
    // SAFETY: a hint, which may name any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(512).cast()) };
}

/// `to[j] = (a[j], b[j])` in bf16, `a` in the lower half.
///
/// # Safety
/// `to` must have room for `a.len()` words; [`available`] must have said yes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn pairs(a: &[f32], b: &[f32], to: *mut u32) {
    let mut order = [0u16; 32];
    (0..16).for_each(|i| (order[2 * i], order[2 * i + 1]) = (i as u16, 16 + i as u16));
    let len = a.len().min(b.len());
    // SAFETY: masks keep within both slices and `len` words of `to`.
    unsafe {
        let order = _mm512_loadu_si512(order.as_ptr().cast());
        for j in (0..len).step_by(TILE) {
            let mask = first(len - j);
            ahead(a.as_ptr().wrapping_add(j));
            ahead(b.as_ptr().wrapping_add(j));
            let (x, y) =
                (_mm512_maskz_loadu_ps(mask, a.as_ptr().add(j)), _mm512_maskz_loadu_ps(mask, b.as_ptr().add(j)));
            let both = as_bits(_mm512_cvtne2ps_pbh(y, x));
            _mm512_mask_storeu_epi32(to.add(j).cast(), mask, _mm512_permutexvar_epi16(order, both));
        }
    }
}

/// `to[j] = from[j]` in bf16.
///
/// # Safety
/// `to` must have room for `from.len()` numbers; [`available`] must have said yes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn narrow(from: &[f32], to: *mut u16) {
    // SAFETY: masks keep within the slice and as many numbers of `to`.
    unsafe {
        for j in (0..from.len()).step_by(TILE) {
            let mask = first(from.len() - j);
            ahead(from.as_ptr().wrapping_add(j));
            let x = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from.as_ptr().add(j)));
            _mm256_mask_storeu_epi16(to.add(j).cast(), mask, std::mem::transmute::<__m256bh, __m256i>(x));
        }
    }
}

/// `to[j] = from[j]`, rounded to bf16.
///
/// # Safety
/// `to` must have room for `from.len()` numbers; [`available`] must have said yes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn round(from: &[f32], to: *mut f32) {
    // SAFETY: masks keep within the slice and as many numbers of `to`.
    unsafe {
        for j in (0..from.len()).step_by(TILE) {
            let mask = first(from.len() - j);
            let x = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from.as_ptr().add(j)));
            let bits = _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(x));
            _mm512_mask_storeu_ps(to.add(j), mask, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)));
        }
    }
}

/// `to[j] = from[j stride]` in bf16 for `count <= 32` numbers, zeros up to 32.
///
/// # Safety
/// `count` numbers must be readable, `to` have room for 32, and `31 stride` be an i32; [`available`] must have said yes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn gather(from: *const f32, stride: usize, count: usize, to: *mut u16) {
    let (low, high) = (first(count), first(count.saturating_sub(TILE)));
    // SAFETY: the masks leave out what was not promised.
    unsafe {
        let second = from.wrapping_add(TILE * stride);
        let (x, y) = if stride == 1 {
            (_mm512_maskz_loadu_ps(low, from), _mm512_maskz_loadu_ps(high, second))
        } else {
            let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let at = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(stride as i32));
            let zero = _mm512_setzero_ps();
            (_mm512_mask_i32gather_ps::<4>(zero, low, at, from), _mm512_mask_i32gather_ps::<4>(zero, high, at, second))
        };
        _mm512_storeu_si512(to.cast(), as_bits(_mm512_cvtne2ps_pbh(y, x)));
    }
}
