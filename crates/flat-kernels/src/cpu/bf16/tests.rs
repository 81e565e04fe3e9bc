//! Every instruction set here against sums in f64 over the rounded operands.

mod winograd;

use super::Bf16;
use crate::cpu::matrix::{rows, transposed};
use crate::{Float, Geometry, Pass};

/// Numbers of both signs and of sizes from 1/64 to 4, some of them zero.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let number = |bits: u64| match bits % 17 {
        0 => 0.0,
        k => ((bits >> 40) as f32 / (1 << 23) as f32 - 1.0) * 4.0 / (1 << (k % 7)) as f32,
    };
    (0..len).map(|_| number(next())).collect()
}

/// The sets that this processor has, beside rounding.
fn sets() -> impl Iterator<Item = Bf16> {
    [Bf16::Avx512, Bf16::Amx].into_iter().filter(|by| by.available())
}

/// Sums in f64 of products of rounded operands: value, sum of magnitudes, terms.
#[derive(Clone, Copy, Default)]
struct Exact {
    value: f64,
    size: f64,
    terms: f64,
}

impl Exact {
    fn add(&mut self, a: f32, b: f32, rounded: bool) {
        let of = |x: f32| f64::from(if rounded { x.to_bf16() } else { x });
        let product = of(a) * of(b);
        self.value += product;
        self.size += product.abs();
        self.terms += 1.0;
    }

    /// Whether `y` is a bf16 to which a sum in f32 may be rounded. Products of two bf16 are exact in f32. Each of at most
    /// `terms` additions, and of 16 sums of parts, is wrong by 2^-24 of its result at most; each operand and result below 2^-126 may be lost.
    fn allows(&self, y: f32) -> bool {
        let relative = (self.terms + 16.0) * f64::from(f32::EPSILON) / 2.0;
        let error = relative / (1.0 - relative) * self.size + self.terms * 2f64.powi(-120);
        // rounding is monotone
        let (low, high) = ((self.value - error) as f32, (self.value + error) as f32);
        low.next_down().to_bf16() <= y && y <= high.next_up().to_bf16()
    }
}

/// All three passes by the definition of a convolution, for an `x`, a `w` and a gradient of the result, rounded or not.
fn exact(g: &Geometry, x: &[f32], w: &[f32], gy: &[f32], rounded: bool) -> [Vec<Exact>; 3] {
    let mut out = [gy.len(), x.len(), w.len()].map(|len| vec![Exact::default(); len]);
    for image in 0..g.n {
        for (o, c) in (0..g.out_channels).flat_map(|o| (0..g.channels).map(move |c| (o, c))) {
            for (oy, ox) in (0..g.oh).flat_map(|y| (0..g.ow).map(move |x| (y, x))) {
                for (ky, kx) in (0..g.kh).flat_map(|y| (0..g.kw).map(move |x| (y, x))) {
                    let (row, col) = (oy * g.stride + ky, ox * g.stride + kx);
                    let inside = |at: usize, len: usize| (g.padding..g.padding + len).contains(&at);
                    if !inside(row, g.h) || !inside(col, g.w) {
                        continue;
                    }
                    let xi = ((image * g.channels + c) * g.h + row - g.padding) * g.w + col - g.padding;
                    let wi = ((o * g.channels + c) * g.kh + ky) * g.kw + kx;
                    let yi = ((image * g.out_channels + o) * g.oh + oy) * g.ow + ox;
                    out[0][yi].add(x[xi], w[wi], rounded);
                    out[1][xi].add(gy[yi], w[wi], rounded);
                    out[2][wi].add(x[xi], gy[yi], rounded);
                }
            }
        }
    }
    out
}

/// `n, channels, h, w, out_channels, kh, kw, stride, padding`.
fn geometry([n, channels, h, w, out_channels, kh, kw, stride, padding]: [usize; 9]) -> Geometry {
    let g = Geometry::new(&(n, channels, h, w).into(), &(out_channels, channels, kh, kw).into(), stride, padding);
    g.expect("windows fit")
}

const CASES: [[usize; 9]; 20] = [
    [1, 1, 1, 1, 1, 1, 1, 1, 0],
    [2, 3, 7, 5, 4, 3, 3, 1, 1],
    [3, 1, 12, 12, 32, 5, 5, 1, 0],
    [3, 3, 9, 8, 18, 3, 3, 2, 1],
    [5, 16, 9, 9, 16, 3, 3, 2, 1],
    [2, 33, 6, 10, 17, 3, 3, 1, 1],
    [9, 40, 4, 4, 70, 3, 3, 1, 1],
    [2, 64, 2, 2, 33, 3, 3, 1, 1],
    [2, 20, 8, 8, 5, 1, 1, 2, 0],
    [2, 20, 7, 7, 5, 1, 1, 1, 0],
    [3, 8, 11, 7, 9, 5, 3, 3, 2],
    [2, 12, 5, 5, 6, 2, 2, 1, 3],
    [2, 10, 12, 12, 7, 3, 3, 4, 0],
    [2, 10, 13, 12, 7, 4, 1, 2, 0],
    [1, 9, 3, 3, 4, 3, 3, 1, 0],
    [40, 9, 17, 18, 20, 3, 3, 1, 1],
    [1, 32, 70, 68, 16, 3, 3, 1, 1],
    [130, 2, 6, 6, 3, 3, 3, 1, 1],
    [2, 8, 6, 6, 3, 1, 1, 1, 2],
    [2, 8, 1, 50, 3, 1, 7, 1, 3],
];

#[test]
fn every_pass_of_a_convolution_is_the_sum_over_rounded_operands_to_the_error_of_its_length() {
    for case in CASES {
        let g = geometry(case);
        let x = numbers(g.x_shape().elem_count(), 1);
        let w = numbers(g.w_shape().elem_count(), 2);
        let gy = numbers(g.y_shape().elem_count(), 3);
        let [y, gx, gw] = exact(&g, &x, &w, &gy, true);
        for by in sets() {
            let passes =
                [(Pass::Forward, &x, &w, &y), (Pass::GradInput, &gy, &w, &gx), (Pass::GradWeight, &x, &gy, &gw)];
            for (pass, a, b, exact) in passes {
                let found = by.convolve(pass, &g, a, b);
                assert_eq!(found.len(), exact.len());
                for (i, (found, exact)) in found.iter().zip(exact).enumerate() {
                    assert!(exact.allows(*found), "{by:?} {pass:?} {case:?} at {i}: {found} for {}", exact.value);
                }
            }
        }
    }
}

#[test]
fn a_matrix_product_is_the_sum_over_rounded_operands_however_the_operands_lie() {
    for (n, m, k) in [(1, 1, 1), (7, 5, 33), (128, 10, 84), (33, 17, 2), (16, 32, 64), (65, 130, 97), (3, 200, 1)] {
        let (a, b) = (numbers(n * k, 4), numbers(k * m, 5));
        let turned = |x: &[f32], rows: usize, cols: usize| -> Vec<f32> {
            (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect()
        };
        let (at, bt) = (turned(&a, n, k), turned(&b, k, m));
        let mut exact = vec![Exact::default(); n * m];
        for (i, l, j) in (0..n).flat_map(|i| (0..k).flat_map(move |l| (0..m).map(move |j| (i, l, j)))) {
            exact[i * m + j].add(a[i * k + l], b[l * m + j], true);
        }
        for by in sets() {
            for (a, b) in [
                (rows(&a[..], k), rows(&b[..], m)),
                (rows(&a[..], k), transposed(&bt[..], k)),
                (transposed(&at[..], n), rows(&b[..], m)),
                (transposed(&at[..], n), transposed(&bt[..], k)),
            ] {
                let found = by.multiply((n, m, k), a, b);
                assert!(found.iter().zip(&exact).all(|(found, exact)| exact.allows(*found)), "{by:?} {n} {m} {k}");
            }
        }
    }
}

#[test]
fn results_have_the_same_bits_for_any_number_of_threads() {
    let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    for case in [CASES[6], CASES[15], CASES[4], CASES[17]] {
        let g = geometry(case);
        let x = numbers(g.x_shape().elem_count(), 1);
        let w = numbers(g.w_shape().elem_count(), 2);
        let gy = numbers(g.y_shape().elem_count(), 3);
        for by in sets() {
            let all = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                pool.install(|| {
                    let operands = [(Pass::Forward, &x, &w), (Pass::GradInput, &gy, &w), (Pass::GradWeight, &x, &gy)];
                    operands.map(|(pass, a, b)| bits(by.convolve(pass, &g, a, b)))
                })
            };
            let one = all(1);
            assert!([2, 3, 7].into_iter().all(|threads| all(threads) == one), "{by:?} {case:?}");
        }
    }
}

#[test]
fn what_is_not_finite_reaches_the_windows_that_hold_it_and_no_others() {
    for case in [CASES[1], CASES[4], CASES[5], CASES[8]] {
        let g = geometry(case);
        let w = vec![0.5; g.w_shape().elem_count()];
        for (at, bad) in [(0, f32::NAN), (g.x_shape().elem_count() - 1, f32::INFINITY), (g.w + 1, f32::NEG_INFINITY)] {
            let mut x = numbers(g.x_shape().elem_count(), 1);
            x[at] = bad;
            let [y, ..] = exact(&g, &x, &w, &vec![0.0; g.y_shape().elem_count()], true);
            for by in sets() {
                let found = by.convolve(Pass::Forward, &g, &x, &w);
                for (found, exact) in found.iter().zip(&y) {
                    let exact = exact.value as f32;
                    assert!(found.is_nan() == exact.is_nan(), "{by:?} {case:?} {bad}");
                    assert!(
                        found.is_finite() == exact.is_finite()
                            && (exact.is_finite() || exact.is_nan() || *found == exact)
                    );
                }
            }
        }
    }
}

#[test]
fn gradients_of_what_is_not_finite_are_not_finite() {
    for case in [CASES[1], CASES[4], CASES[5]] {
        let g = geometry(case);
        let (x, w) = (numbers(g.x_shape().elem_count(), 1), vec![0.5; g.w_shape().elem_count()]);
        let mut gy = numbers(g.y_shape().elem_count(), 2);
        gy[g.ow] = f32::INFINITY;
        let [_, gx, gw] = exact(&g, &x, &w, &gy, true);
        for by in sets() {
            let found = by.convolve(Pass::GradInput, &g, &gy, &w);
            assert!(found.iter().zip(&gx).all(|(found, exact)| found.is_finite() == exact.value.is_finite()));
            let found = by.convolve(Pass::GradWeight, &g, &x, &gy);
            assert!(found.iter().zip(&gw).all(|(found, exact)| !found.is_finite() || exact.value.is_finite()));
        }
    }
}

#[test]
fn products_of_nothing_are_zeros_of_their_shape() {
    let g = geometry([0, 3, 4, 4, 2, 3, 3, 1, 1]);
    for by in Bf16::ALL.into_iter().filter(|by| by.available()) {
        assert!(by.convolve(Pass::Forward, &g, &[], &[0.5; 54]).is_empty());
        assert!(by.convolve(Pass::GradInput, &g, &[], &[0.5; 54]).is_empty());
        assert_eq!(by.convolve(Pass::GradWeight, &g, &[], &[]), [0.0; 54]);
        assert_eq!(by.multiply((2, 3, 0), rows(&[], 0), rows(&[], 3)), [0.0; 6]);
        assert!(by.multiply((0, 3, 2), rows(&[], 2), rows(&[0.5; 6], 3)).is_empty());
    }
}

#[test]
fn rounding_is_there_on_every_processor_and_the_best_set_is_available() {
    assert!(Bf16::Rounding.available() && Bf16::best().available());
}
