//! What 32 bits of an operand of a product hold: a number of f32, or a pair of numbers of bf16.

use super::lanes::Lanes;
use pulp::{Arch, Simd, WithSimd};

/// The words of an operand. Products are made of words, and their sums are f32.
pub(crate) trait Word: 'static {
    /// Numbers in a word.
    const NUMBERS: usize;
    /// The smallest positive point of Winograd's transforms, which decides how much they enlarge rounding errors.
    const POINT: f32;

    /// `a b + sum`, where a word is the sum of the products of its numbers.
    fn multiply<S: Simd>(a: Lanes<S>, b: Lanes<S>, sum: Lanes<S>) -> Lanes<S>;

    /// Writes a register's numbers, as many words as hold them.
    ///
    /// # Safety
    /// These words must be writable.
    unsafe fn put<S: Simd>(numbers: Lanes<S>, to: *mut f32);

    /// Writes a register of words whose numbers come from each of `numbers`, one after the other.
    ///
    /// # Safety
    /// A register must be writable at `to`.
    unsafe fn join<S: Simd>(numbers: [Lanes<S>; 2], to: *mut f32);

    /// Words that hold the numbers of neighbouring rows, from a matrix whose words hold neighbouring numbers of a row. They
    /// follow that matrix; where a word is a number, they are the matrix.
    ///
    /// # Safety
    /// `matrix` must hold `rows numbers` words; `rows` is even and `numbers` a multiple of 16.
    unsafe fn of_rows(matrix: *mut f32, rows: usize, numbers: usize);

    /// Runs work with the registers whose numbers these words can hold.
    fn dispatch<W: WithSimd>(work: W) -> W::Output;
}

/// A number of f32.
pub(crate) struct Single;

impl Word for Single {
    const NUMBERS: usize = 1;
    const POINT: f32 = 1.0;

    #[inline(always)]
    fn multiply<S: Simd>(a: Lanes<S>, b: Lanes<S>, sum: Lanes<S>) -> Lanes<S> {
        a.mul_add(b, sum)
    }

    #[inline(always)]
    unsafe fn put<S: Simd>(numbers: Lanes<S>, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { numbers.store(to) }
    }

    #[inline(always)]
    unsafe fn join<S: Simd>(numbers: [Lanes<S>; 2], to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { numbers[0].store(to) }
    }

    unsafe fn of_rows(_: *mut f32, _: usize, _: usize) {}

    fn dispatch<W: WithSimd>(work: W) -> W::Output {
        Arch::new().dispatch(work)
    }
}
