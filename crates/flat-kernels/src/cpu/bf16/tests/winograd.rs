//! Winograd's algorithm in bf16 against the convolution's definition in f64, within what rounding its transforms' results
//! can do. The transforms are made here from the points by the formula, apart from those of the kernels.

use super::{Bf16, exact, geometry, numbers};
use crate::cpu::winograd::Winograd;
use crate::{Geometry, Pass};

const TILE: usize = 6;
/// The points but infinity.
const POINTS: [f64; 5] = [0.0, 0.75, -0.75, 1.5, -1.5];
/// What rounding to 8 bits may change of a number.
const ROUNDING: f64 = 1.0 / 256.0;
/// What f32 may change, of the sum of a transform's magnitudes: some forty operations with each number.
const F32: f64 = 40.0 * f32::EPSILON as f64;

type Square = [[f64; TILE]; TILE];

/// The matrices `A`, `B` and `G` of F(m, r), with rows for the points; columns beyond `m` and `r` are zero.
fn matrices(m: usize, r: usize) -> [Square; 3] {
    let [mut a, mut b, mut g] = [[[0.0; TILE]; TILE]; 3];
    let without = |skip: usize| {
        let mut poly = [0.0; TILE];
        poly[0] = 1.0;
        for (_, p) in POINTS.iter().enumerate().filter(|(j, _)| *j != skip) {
            (0..TILE).rev().for_each(|k| poly[k] = if k > 0 { poly[k - 1] } else { 0.0 } - p * poly[k]);
        }
        poly
    };
    for (i, p) in POINTS.iter().enumerate() {
        let scale: f64 = POINTS.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, q)| p - q).product();
        (0..m).for_each(|k| a[i][k] = p.powi(k as i32));
        (0..r).for_each(|k| g[i][k] = p.powi(k as i32) / scale);
        b[i] = without(i);
    }
    (a[5][m - 1], g[5][r - 1], b[5]) = (1.0, 1.0, without(TILE));
    [a, b, g]
}

/// `l x l^T`, or that of the magnitudes of all.
fn both(l: &Square, x: &Square, magnitudes: bool) -> Square {
    let of = |x: f64| if magnitudes { x.abs() } else { x };
    let mut out = [[0.0; TILE]; TILE];
    for (i, j) in (0..TILE).flat_map(|i| (0..TILE).map(move |j| (i, j))) {
        let sum = |a: usize| (0..TILE).map(|b| of(x[a][b]) * of(l[j][b])).sum::<f64>();
        out[i][j] = (0..TILE).map(|a| of(l[i][a]) * sum(a)).sum();
    }
    out
}

fn turned(l: &Square) -> Square {
    std::array::from_fn(|i| std::array::from_fn(|j| l[j][i]))
}

/// What a product of two transformed numbers may be wrong by, for the transforms `p` of `x` and `q` of `y`.
fn product_error((p, x): (&Square, &Square), (q, y): (&Square, &Square)) -> Square {
    let [u, v] = [both(p, x, false), both(q, y, false)];
    let [um, vm] = [both(p, x, true), both(q, y, true)];
    std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            let size = u[i][j].abs() * v[i][j].abs();
            (2.0 * ROUNDING + ROUNDING * ROUNDING) * size + 8.0 * F32 * um[i][j] * vm[i][j]
        })
    })
}

/// The `size x size` numbers of a plane from (`row`, `col`) on, zeros beyond it.
fn cut(plane: &[f32], (h, w): (usize, usize), (row, col): (isize, isize), size: usize) -> Square {
    std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            let (y, x) = (row + i as isize, col + j as isize);
            let inside = i < size && j < size && (0..h as isize).contains(&y) && (0..w as isize).contains(&x);
            if inside { f64::from(plane[y as usize * w + x as usize]) } else { 0.0 }
        })
    })
}

/// Adds a square to a plane, without what lies beyond it.
fn paste(plane: &mut [f64], (h, w): (usize, usize), (row, col): (isize, isize), from: &Square) {
    for (i, j) in (0..TILE).flat_map(|i| (0..TILE).map(move |j| (i, j))) {
        let (y, x) = (row + i as isize, col + j as isize);
        if (0..h as isize).contains(&y) && (0..w as isize).contains(&x) {
            plane[y as usize * w + x as usize] += from[i][j];
        }
    }
}

/// How far the three passes may be from the exact ones.
fn allowed(g: &Geometry, x: &[f32], w: &[f32], gy: &[f32]) -> [Vec<f64>; 3] {
    let (m, r) = (TILE + 1 - g.kh, g.kh);
    let [a, b, gw] = matrices(m, r);
    let [mut y, mut dx] = [vec![0.0; gy.len()], vec![0.0; x.len()]];
    let mut dw = vec![0.0; w.len()];
    let (inputs, outputs, taps) = (g.h * g.w, g.oh * g.ow, r * r);
    for (o, c) in (0..g.out_channels).flat_map(|o| (0..g.channels).map(move |c| (o, c))) {
        let at = (o * g.channels + c) * taps;
        let weight = cut(&w[at..at + taps], (r, r), (0, 0), r);
        let mut sum = [[0.0; TILE]; TILE];
        for (n, ty, tx) in (0..g.n)
            .flat_map(|n| (0..g.oh.div_ceil(m)).flat_map(move |y| (0..g.ow.div_ceil(m)).map(move |x| (n, y, x))))
        {
            let (from, to) = ((n * g.channels + c) * inputs, (n * g.out_channels + o) * outputs);
            let out = ((ty * m) as isize, (tx * m) as isize);
            let tile = (out.0 - g.padding as isize, out.1 - g.padding as isize);
            let image = cut(&x[from..from + inputs], (g.h, g.w), tile, TILE);
            let grad = cut(&gy[to..to + outputs], (g.oh, g.ow), out, m);
            let forward = both(&turned(&a), &product_error((&gw, &weight), (&b, &image)), true);
            paste(&mut y[to..to + outputs], (g.oh, g.ow), out, &forward);
            let back = both(&turned(&b), &product_error((&gw, &weight), (&a, &grad)), true);
            paste(&mut dx[from..from + inputs], (g.h, g.w), tile, &back);
            let error = product_error((&b, &image), (&a, &grad));
            (0..TILE).for_each(|i| (0..TILE).for_each(|j| sum[i][j] += error[i][j]));
        }
        paste(&mut dw[at..at + taps], (r, r), (0, 0), &both(&turned(&gw), &sum, true));
    }
    [y, dx, dw]
}

/// Geometries that Winograd's algorithm takes: both windows, ragged tiles, channels that fill no panel, odd depths.
const CASES: [[usize; 9]; 6] = [
    [4, 16, 8, 8, 16, 3, 3, 1, 1],
    [3, 9, 11, 7, 8, 3, 3, 1, 1],
    [4, 17, 9, 10, 33, 3, 3, 1, 0],
    [16, 8, 4, 4, 12, 3, 3, 1, 1],
    [2, 8, 12, 12, 9, 5, 5, 1, 0],
    [1, 11, 14, 13, 16, 5, 5, 1, 2],
];

fn each_pass(g: &Geometry, by: Bf16) -> ([Vec<f32>; 3], [Vec<f32>; 3]) {
    let x = numbers(g.x_shape().elem_count(), 1);
    let w = numbers(g.w_shape().elem_count(), 2);
    let gy = numbers(g.y_shape().elem_count(), 3);
    let passes = [(Pass::Forward, &x, &w), (Pass::GradInput, &gy, &w), (Pass::GradWeight, &x, &gy)];
    (passes.map(|(pass, a, b)| by.convolve(pass, g, a, b)), [x.clone(), w.clone(), gy.clone()])
}

#[test]
fn every_pass_is_the_convolution_to_the_rounding_of_its_transforms() {
    if !Bf16::Winograd.available() {
        return;
    }
    for case in CASES {
        let g = geometry(case);
        assert!(Winograd::of(&g).is_some(), "{case:?} goes another way");
        let (found, [x, w, gy]) = each_pass(&g, Bf16::Winograd);
        let exact = exact(&g, &x, &w, &gy, false);
        for (pass, ((found, exact), allowed)) in found.iter().zip(&exact).zip(allowed(&g, &x, &w, &gy)).enumerate() {
            let (mut error, mut size) = (0.0, 0.0);
            for (i, ((found, exact), allowed)) in found.iter().zip(exact).zip(&allowed).enumerate() {
                let apart = (f64::from(*found) - exact.value).abs();
                assert!(apart <= *allowed, "{case:?} pass {pass} at {i}: {found} for {}, {allowed}", exact.value);
                (error, size) = (error + apart * apart, size + exact.value * exact.value);
            }
            // what the documentation says of it, and that the rounding is there at all
            let relative = (error / size).sqrt();
            assert!((1e-4..0.02).contains(&relative), "{case:?} pass {pass}: {relative}");
        }
    }
}

#[test]
fn both_gradients_together_are_those_of_each_pass() {
    if !Bf16::Winograd.available() {
        return;
    }
    for case in CASES {
        let g = geometry(case);
        let ([_, gx, gw], [x, w, gy]) = each_pass(&g, Bf16::Winograd);
        // not `assert_eq`, which would print all of them
        assert!(Bf16::Winograd.gradients(&g, [&x, &w, &gy]) == Some([gx, gw]), "{case:?}");
        assert!(Bf16::Avx512.gradients(&g, [&x, &w, &gy]).is_none());
    }
}

#[test]
fn bits_are_the_same_for_any_number_of_threads() {
    if !Bf16::Winograd.available() {
        return;
    }
    for case in CASES {
        let all = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let found = pool.install(|| each_pass(&geometry(case), Bf16::Winograd).0);
            found.map(|x| x.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let one = all(1);
        assert!([2, 3, 7].into_iter().all(|threads| all(threads) == one), "{case:?}");
    }
}

#[test]
fn what_is_not_finite_does_not_vanish() {
    if !Bf16::Winograd.available() {
        return;
    }
    let g = geometry(CASES[0]);
    let (mut x, w) = (numbers(g.x_shape().elem_count(), 1), vec![0.5; g.w_shape().elem_count()]);
    for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
        x[g.w + 1] = bad;
        let y = Bf16::Winograd.convolve(Pass::Forward, &g, &x, &w);
        assert!(y.iter().any(|y| !y.is_finite()), "{bad}");
    }
}
