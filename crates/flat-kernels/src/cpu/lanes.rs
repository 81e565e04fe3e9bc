//! Vectors of f32 as wide as the processor's, and kernels written over any width.

use pulp::Simd;
use std::ops::{Add, Sub};

/// One vector register of f32.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<S: Simd> {
    simd: S,
    x: S::f32s,
}

impl<S: Simd> Lanes<S> {
    /// Numbers in a register.
    pub(crate) const N: usize = S::F32_LANES;

    #[inline(always)]
    pub(crate) fn splat(simd: S, x: f32) -> Self {
        Self { simd, x: simd.splat_f32s(x) }
    }

    /// # Safety
    /// `Self::N` numbers must be readable at `from`.
    #[inline(always)]
    pub(crate) unsafe fn load(simd: S, from: *const f32) -> Self {
        // SAFETY: the caller's promise; f32s is plain old data of N numbers.
        Self { simd, x: unsafe { from.cast::<S::f32s>().read_unaligned() } }
    }

    /// # Safety
    /// `Self::N` numbers must be writable at `to`.
    #[inline(always)]
    pub(crate) unsafe fn store(self, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { to.cast::<S::f32s>().write_unaligned(self.x) }
    }

    /// `self * factor + plus`, in one rounding where the processor has it.
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, plus: Self) -> Self {
        Self { x: self.simd.mul_add_e_f32s(self.x, factor.x, plus.x), ..self }
    }

    /// `self * factor + plus`.
    #[inline(always)]
    pub(crate) fn times(self, factor: f32, plus: Self) -> Self {
        self.mul_add(Self::splat(self.simd, factor), plus)
    }

    /// The register.
    #[inline(always)]
    pub(crate) fn raw(self) -> S::f32s {
        self.x
    }

    /// Another register in its place.
    #[inline(always)]
    pub(crate) fn with(self, x: S::f32s) -> Self {
        Self { x, ..self }
    }

    #[inline(always)]
    pub(crate) fn scale(self, factor: f32) -> Self {
        Self { x: self.simd.mul_f32s(self.x, self.simd.splat_f32s(factor)), ..self }
    }
}

impl<S: Simd> Add for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self { x: self.simd.add_f32s(self.x, other.x), ..self }
    }
}

impl<S: Simd> Sub for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self { x: self.simd.sub_f32s(self.x, other.x), ..self }
    }
}
