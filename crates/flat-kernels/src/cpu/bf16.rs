//! Products in bf16: operands rounded to 8 bits, sums in f32, results rounded to bf16.
//!
//! [`Bf16`] says by which instructions. Each has its own order of the sums, so that two of them differ in the last bits
//! of f32 before a result is rounded; one of them gives the same bits for any number of threads. AMX and AVX-512 take
//! numbers below 2^-126 for zero. The numbers of a window that lie beyond the image count as zeros, which times an infinity give NaN.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod block;
#[cfg(target_arch = "x86_64")]
mod conv;
#[cfg(target_arch = "x86_64")]
mod grad_weight;
#[cfg(target_arch = "x86_64")]
mod grid;
#[cfg(target_arch = "x86_64")]
mod matrix;
#[cfg(target_arch = "x86_64")]
mod operand;
#[cfg(target_arch = "x86_64")]
pub(super) mod pair;
#[cfg(target_arch = "x86_64")]
mod run;
#[cfg(test)]
mod tests;

use super::matrix::View;
use super::winograd::Winograd;
use super::word::Single;
use crate::{Float, Geometry, Pass};

/// By which instructions a CPU multiplies in bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bf16 {
    /// Operands are rounded, then multiplied in f32: on every CPU, and no faster than f32.
    Rounding,
    /// AVX-512's `vdpbf16ps`: pairs of products. On a Xeon with AMX they are slower than f32; there they serve where the
    /// system refuses tiles.
    Avx512,
    /// The same, and Winograd's algorithm for the windows that it is faster for: its transforms are f32, and what they give is
    /// rounded to bf16. A result has an error of about 1 % of its layer's standard deviation, four times that of a rounded
    /// sum, and is not rounded itself.
    Winograd,
    /// AMX's `tdpbf16ps`: tiles of 16 x 16 sums, each of 32 products.
    Amx,
}

impl Bf16 {
    /// From the slowest to the fastest.
    pub const ALL: [Self; 4] = [Self::Rounding, Self::Avx512, Self::Winograd, Self::Amx];

    /// The fastest that this processor has and the system allows.
    pub fn best() -> Self {
        Self::ALL.into_iter().rfind(|by| by.available()).unwrap_or(Self::Rounding)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rounding => "rounding",
            Self::Avx512 => "avx512",
            Self::Winograd => "winograd",
            Self::Amx => "amx",
        }
    }

    /// Whether this processor has it. Linux is asked once whether it lets this process use AMX.
    pub fn available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Rounding => true,
            Self::Avx512 | Self::Winograd => avx512::available(),
            Self::Amx => avx512::available() && amx::available(),
        };
        #[cfg(not(target_arch = "x86_64"))]
        return self == Self::Rounding;
    }

    /// A pass of a convolution over contiguous operands, the first and the second of [`Pass`].
    ///
    /// # Panics
    /// Operands that do not fit the sizes; an instruction set that is not [available](Self::available).
    pub fn convolve(self, pass: Pass, g: &Geometry, a: &[f32], b: &[f32]) -> Vec<f32> {
        let (x, w, y) = (g.x_shape().elem_count(), g.w_shape().elem_count(), g.y_shape().elem_count());
        let (first, second, out) = match pass {
            Pass::Forward => (x, w, y),
            Pass::GradInput => (y, w, x),
            Pass::GradWeight => (x, y, w),
        };
        assert!(a.len() == first && b.len() == second, "conv2d: operands of other sizes");
        assert!(self.available(), "no {} on this processor", self.name());
        if a.is_empty() || b.is_empty() || out == 0 {
            return vec![0.0; out];
        }
        match self {
            Self::Rounding => rounded(convolve(pass, g, &rounded(a.to_vec()), &rounded(b.to_vec()))),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Winograd | Self::Amx => match (pass, Winograd::of(g)) {
                (_, Some(winograd)) if self == Self::Winograd => winograd.convolve::<pair::Pair>(pass, g, a, b),
                (Pass::Forward, _) => conv::forward(self, g, a, b),
                (Pass::GradInput, _) => conv::grad_input(self, g, a, b),
                (Pass::GradWeight, _) => grad_weight::grad_weight(self, g, a, b),
            },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Winograd | Self::Amx => unreachable!("not available"),
        }
    }

    /// Both gradients of `<gy, F(x, w)>` for `[x, w, gy]`, where they share the transform of `gy`.
    ///
    /// # Panics
    /// As [`convolve`](Self::convolve).
    pub fn gradients(self, g: &Geometry, operands: [&[f32]; 3]) -> Option<[Vec<f32>; 2]> {
        assert!(self.available(), "no {} on this processor", self.name());
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Winograd => Winograd::of(g).map(|winograd| winograd.gradients_of::<pair::Pair>(g, operands)),
            _ => None,
        }
    }

    /// `a (n, k) b (k, m)`.
    ///
    /// # Panics
    /// Operands that do not hold such matrices; an instruction set that is not [available](Self::available).
    pub fn multiply(self, (n, m, k): (usize, usize, usize), a: View<&[f32]>, b: View<&[f32]>) -> Vec<f32> {
        assert!(self.available(), "no {} on this processor", self.name());
        if n == 0 || m == 0 || k == 0 {
            return vec![0.0; n * m];
        }
        match self {
            Self::Rounding => {
                let (x, y) = (rounded(a.data.to_vec()), rounded(b.data.to_vec()));
                rounded(super::matrix::multiply((n, m, k), a.of(&x), b.of(&y), None))
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Winograd | Self::Amx => matrix::multiply(self, (n, m, k), a, b),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Winograd | Self::Amx => unreachable!("not available"),
        }
    }
}

fn rounded(mut x: Vec<f32>) -> Vec<f32> {
    x.iter_mut().for_each(|x| *x = x.to_bf16());
    x
}

/// A pass in f32, by the kernels for its sizes.
fn convolve(pass: Pass, g: &Geometry, a: &[f32], b: &[f32]) -> Vec<f32> {
    match (pass, Winograd::of(g)) {
        (pass, Some(winograd)) => winograd.convolve::<Single>(pass, g, a, b),
        (Pass::Forward, None) => super::conv::forward(g, a, b, None),
        (Pass::GradInput, None) => super::conv::grad_input(g, a, b),
        (Pass::GradWeight, None) => super::conv::grad_weight(g, a, b),
    }
}
