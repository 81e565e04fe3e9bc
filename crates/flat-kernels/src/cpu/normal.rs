//! Normal numbers, many at a time: eight generators side by side, and the Box-Muller transform.
//!
//! Only additions, multiplications, fused ones, divisions and square roots of f64 take part, in one order, so that the numbers have
//! the same bits on every processor. A processor without fused operations takes many times as long.
#![allow(clippy::needless_range_loop)] // lanes side by side

use super::buffer::{kernel, vectorized};
use crate::Float;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2, LN_2};

/// Generators side by side.
pub const LANES: usize = 8;

/// States of the generators, word by word; in none may all four words be 0.
pub type Seed = [[u64; LANES]; 4];

/// Fills a slice with independent numbers from N(0, 1), rounded to the element type.
///
/// G. E. P. Box & M. E. Muller, "A Note on the Generation of Random Normal Deviates", Ann. Math. Statist. 29, 1958, with 52 random
/// bits for the radius and 53 for the angle, from xoshiro256++ (D. Blackman & S. Vigna, "Scrambled Linear Pseudorandom Number
/// Generators", 2018, arXiv 1805.01407).
pub fn fill<T: Float>(seed: Seed, out: &mut [T]) {
    vectorized(Fill { seed, out });
}

kernel! {
    Fill<'a, T> { seed: Seed, out: &'a mut [T] } -> (), |this| {
        let Self { mut seed, out } = this;
        let (groups, rest) = out.as_chunks_mut::<{ 2 * LANES }>();
        for group in groups {
            *group = pairs(&mut seed);
        }
        rest.copy_from_slice(&pairs(&mut seed)[..rest.len()]);
    }
}

/// A pair of numbers from each generator: first the first ones, then the second ones.
#[inline(always)]
fn pairs<T: Float>(seed: &mut Seed) -> [T; 2 * LANES] {
    let (radii, angles) = (next(seed), next(seed));
    let mut out = [T::default(); 2 * LANES];
    for lane in 0..LANES {
        let radius = (-2.0 * ln(2.0 - one_to_two(radii[lane] >> 12))).sqrt();
        // one bit says which axis, one which half of it, 51 the angle from there: less than pi/4
        let bits = angles[lane];
        let (sin, cos) = sin_cos((one_to_two(bits << 2 >> 13 << 1) - 1.5) * FRAC_PI_2);
        let signed = f64::from_bits(radius.to_bits() ^ (bits & 1 << 63));
        let across = bits & 1 << 62 == 0;
        out[lane] = T::from_f64(signed * if across { sin } else { cos });
        out[LANES + lane] = T::from_f64(signed * if across { cos } else { sin });
    }
    out
}

/// The next number of each generator.
#[inline(always)]
fn next([a, b, c, d]: &mut Seed) -> [u64; LANES] {
    let mut out = [0; LANES];
    for lane in 0..LANES {
        out[lane] = a[lane].wrapping_add(d[lane]).rotate_left(23).wrapping_add(a[lane]);
        let shifted = b[lane] << 17;
        c[lane] ^= a[lane];
        d[lane] ^= b[lane];
        b[lane] ^= c[lane];
        a[lane] ^= d[lane];
        c[lane] ^= shifted;
        d[lane] = d[lane].rotate_left(45);
    }
    out
}

/// `1 + bits / 2^52`, for bits below 2^52.
#[inline(always)]
fn one_to_two(bits: u64) -> f64 {
    f64::from_bits(bits | 0x3ff << 52)
}

/// `((c[0] x + c[1]) x + ...) x + c[N - 1]`.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, c: [f64; N]) -> f64 {
    c[1..].iter().fold(c[0], |sum, c| sum.mul_add(x, *c))
}

/// The logarithm of a number in [2^-1000, 2], to 1e-10 of itself: `ln(2^k m) = k ln 2 + 2 atanh((m - 1) / (m + 1))`.
#[inline(always)]
fn ln(x: f64) -> f64 {
    const BIAS: u64 = 1024 << 52;
    let bits = x.to_bits();
    // m lies in [sqrt(1/2), sqrt(2)); the exponent is written into the last bits of 2^52 to become a number
    let exponent = bits.wrapping_add(BIAS - FRAC_1_SQRT_2.to_bits()) >> 52;
    let k = f64::from_bits(exponent | 0x433 << 52) - ((1u64 << 52) as f64 + 1024.0);
    let m = f64::from_bits(bits.wrapping_sub(exponent << 52).wrapping_add(BIAS));
    let s = (m - 1.0) / (m + 1.0);
    // the series of atanh: |s| < 0.172, and the next term is below 1e-10 of the first
    let odd = [2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0, 2.0];
    k.mul_add(LN_2, s * polynomial(s * s, odd))
}

/// Sine and cosine for `|x| <= pi/4`, to 2e-10: their series up to x^11 and x^10.
#[inline(always)]
fn sin_cos(x: f64) -> (f64, f64) {
    let sin = [-1.0 / 39_916_800.0, 1.0 / 362_880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0];
    let cos = [-1.0 / 3_628_800.0, 1.0 / 40_320.0, -1.0 / 720.0, 1.0 / 24.0, -1.0 / 2.0, 1.0];
    (x * polynomial(x * x, sin), polynomial(x * x, cos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(first: u64) -> Seed {
        // Lehmer's congruence: any numbers that differ
        let mut x = first;
        std::array::from_fn(|_| {
            std::array::from_fn(|_| {
                x = (x.wrapping_mul(0xda94_2042_e4dd_58b5)).wrapping_add(first | 1);
                x
            })
        })
    }

    #[test]
    fn logarithm_and_circle_are_those_of_the_standard_library() {
        let mut x = 2f64.powi(-52);
        while x <= 1.0 {
            assert!((ln(x) - x.ln()).abs() <= 1e-10 * x.ln().abs(), "{x}: {} {}", ln(x), x.ln());
            x *= 1.003;
        }
        assert_eq!(ln(1.0), 0.0);
        for i in -1000..=1000 {
            let x = f64::from(i) / 1000.0 * std::f64::consts::FRAC_PI_4;
            let (sin, cos) = sin_cos(x);
            assert!((sin - x.sin()).abs() < 2e-10 && (cos - x.cos()).abs() < 2e-10, "{x}");
        }
    }

    #[test]
    fn the_generator_is_xoshiro256_plus_plus() {
        let mut seed = [1, 2, 3, 4].map(|word| [word; LANES]);
        // the test vector of its authors' C code, as the crate rand_xoshiro has it
        for expected in
            [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386, 9_228_616_714_210_784_205]
        {
            assert_eq!(next(&mut seed), [expected; LANES]);
        }
    }

    #[test]
    fn shorter_and_narrower_fills_are_the_same_numbers() {
        let (mut long, mut short, mut narrow) = ([0f64; 1000], [0f64; 333], [0f32; 1000]);
        fill(seed(3), &mut long);
        fill(seed(3), &mut short);
        fill(seed(3), &mut narrow);
        assert_eq!(short[..], long[..333]);
        assert!(narrow.iter().zip(&long).all(|(a, b)| *a == *b as f32));
    }

    #[test]
    fn moments_tails_and_pairs_are_those_of_independent_normals() {
        const N: usize = 1 << 20;
        let mut x = vec![0f64; N];
        fill(seed(1), &mut x);
        let n = N as f64;
        let mean = |f: &dyn Fn(f64) -> f64| x.iter().map(|x| f(*x)).sum::<f64>() / n;
        // five standard errors of the means of x to x^4: variances 1, 2, 15, 96
        for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0f64)] {
            let found = mean(&|x| x.powi(power));
            assert!((found - expected).abs() < 5.0 * (variance / n).sqrt(), "x^{power}: {found}");
        }
        // the chances of x above 0, 1, 2, 3, 4, and below less than that
        for (k, p) in [(0.0, 0.5), (1.0, 0.158_655_25), (2.0, 0.022_750_13), (3.0, 0.001_349_9), (4.0, 3.167e-5f64)] {
            for sign in [1.0, -1.0] {
                let found = mean(&|x| f64::from(u8::from(sign * x > k)));
                assert!((found - p).abs() < 5.0 * (p / n).sqrt(), "{sign} x > {k}: {found}");
            }
        }
        // generators side by side, the two numbers of a pair, and one generator's next: products, and those of the squares
        for lag in [1, LANES, 2 * LANES] {
            for square in [false, true] {
                let f = |x: f64| if square { (x * x - 1.0) / 2f64.sqrt() } else { x };
                let found = x.iter().zip(&x[lag..]).map(|(a, b)| f(*a) * f(*b)).sum::<f64>() / n;
                assert!(found.abs() < 5.0 / n.sqrt(), "lag {lag}: {found}");
            }
        }
    }
}
