//! Pairs of bf16 in a word, the earlier number in the lower half, multiplied by AVX-512's `vdpbf16ps`.

use crate::cpu::lanes::Lanes;
use crate::cpu::word::Word;
use pulp::x86::V4;
use pulp::{Simd, WithSimd};
use std::arch::x86_64::*;

/// A pair of numbers of bf16. Only where [`super::avx512::available`] says yes.
pub(crate) struct Pair;

/// A register as the sixteen f32 that it is: pairs run on AVX-512 alone.
#[inline(always)]
fn register<S: Simd>(x: Lanes<S>) -> __m512 {
    assert!(Lanes::<S>::N == 16, "pairs of bf16 outside AVX-512");
    // SAFETY: both are the same 64 bytes.
    unsafe { std::mem::transmute_copy(&x.raw()) }
}

#[inline(always)]
fn pairs<S: Simd>(x: Lanes<S>) -> __m512bh {
    // SAFETY: both are 64 bytes without invalid values.
    unsafe { std::mem::transmute(register(x)) }
}

impl Word for Pair {
    const NUMBERS: usize = 2;
    // the points 0, +-3/4, +-3/2 and infinity: half the error of 0, +-1, +-2 and infinity
    const POINT: f32 = 0.75;

    #[inline(always)]
    fn multiply<S: Simd>(a: Lanes<S>, b: Lanes<S>, sum: Lanes<S>) -> Lanes<S> {
        // SAFETY: `dispatch` compiles for these instructions.
        let out = unsafe { _mm512_dpbf16_ps(register(sum), pairs(a), pairs(b)) };
        // SAFETY: as in `register`.
        sum.with(unsafe { std::mem::transmute_copy(&out) })
    }

    #[inline(always)]
    unsafe fn put<S: Simd>(numbers: Lanes<S>, to: *mut f32) {
        // SAFETY: the caller's promise; `dispatch` compiles for these instructions.
        unsafe { to.cast::<__m256bh>().write_unaligned(_mm512_cvtneps_pbh(register(numbers))) }
    }

    #[inline(always)]
    unsafe fn join<S: Simd>(numbers: [Lanes<S>; 2], to: *mut f32) {
        // SAFETY: as in `put`.
        unsafe {
            let half = |x| std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(register(x)));
            let [low, high] = [half(numbers[0]), half(numbers[1])];
            to.cast::<__m512i>().write_unaligned(interleaved(low, high));
        }
    }

    unsafe fn of_rows(matrix: *mut f32, rows: usize, numbers: usize) {
        // SAFETY: the caller's promise; whoever made words of pairs has these instructions.
        unsafe { join_rows(matrix, rows, numbers) }
    }

    fn dispatch<W: WithSimd>(work: W) -> W::Output {
        assert!(super::avx512::available(), "no AVX-512 for bf16 on this processor");
        let simd = V4::try_new().expect("every processor with AVX-512 for bf16 has what it stands on");
        // SAFETY: as was asserted.
        unsafe { run(simd, work) }
    }
}

/// # Safety
/// The processor must have these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16")]
unsafe fn run<W: WithSimd>(simd: V4, work: W) -> W::Output {
    work.with_simd(simd)
}

/// Numbers of both in turns.
#[inline(always)]
unsafe fn interleaved(low: __m256i, high: __m256i) -> __m512i {
    // SAFETY: the caller runs on AVX-512.
    unsafe { _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(high))) }
}

/// See [`Word::of_rows`].
///
/// # Safety
/// As there; AVX-512 must be there.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn join_rows(matrix: *mut f32, rows: usize, numbers: usize) {
    let (from, to) = (matrix.cast::<u16>(), matrix.wrapping_add(rows * numbers / 2));
    for row in 0..rows / 2 {
        for j in (0..numbers).step_by(16) {
            // SAFETY: the caller's promise.
            unsafe {
                let low = from.add(2 * row * numbers + j).cast::<__m256i>().read_unaligned();
                let high = from.add((2 * row + 1) * numbers + j).cast::<__m256i>().read_unaligned();
                to.add(row * numbers + j).cast::<__m512i>().write_unaligned(interleaved(low, high));
            }
        }
    }
}
