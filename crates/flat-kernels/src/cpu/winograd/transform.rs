//! The one-dimensional transforms of Winograd's algorithm with the six points 0, a, -a, 2a, -2a and infinity.
//!
//! `a` is the point of the words that products are made of: 1 for f32.
//!
//! F(m, r) computes m outputs of a correlation with r taps from six inputs and six products, m + r = 7 (Winograd 1980;
//! Lavin & Gray 2016, arXiv 1509.09308): `y = A^T [(G w) . (B^T x)]`. `A` evaluates a polynomial of m coefficients at the
//! points and `G` one of r coefficients, up to the factors [`SCALE`]: one pair of functions serves both, and each is the
//! other's transpose.

// registers are addressed by number: iterators' closures would be compiled without the kernel's instructions
#![allow(clippy::needless_range_loop)]

use crate::cpu::lanes::Lanes;
use crate::cpu::word::Word;
use pulp::Simd;

/// Inputs of a tile in each direction.
pub(super) const TILE: usize = 6;
/// Products of a tile.
pub(super) const POINTS: usize = TILE * TILE;
/// Factors between evaluation at the points and `G` for `a = 1`; all but the last are divided by `a^4`.
const SCALE: [f32; 6] = [0.25, -1.0 / 6.0, -1.0 / 6.0, 1.0 / 24.0, 1.0 / 24.0, 1.0];

/// A linear map of `I` registers to `O`.
///
/// Maps are types rather than closures, so that they are compiled with the instructions of the function they end in.
pub(crate) trait Map<const I: usize, const O: usize> {
    fn map<S: Simd, W: Word>(x: [Lanes<S>; I]) -> [Lanes<S>; O];
}

/// `B^T x`.
pub(crate) struct Input;

impl Map<6, 6> for Input {
    #[inline(always)]
    fn map<S: Simd, W: Word>(x: [Lanes<S>; 6]) -> [Lanes<S>; 6] {
        let [p, p2, _, p4] = powers::<W>();
        let (a, b) = (x[2].times(-4.0 * p2, x[4]), x[1].times(-4.0 * p2, x[3]));
        let (c, e) = (along(x[2], -p2, x[4]), along(x[1], -p2, x[3]));
        [
            x[0].times(4.0 * p4, x[2].times(-5.0 * p2, x[4])),
            along(b, p, a),
            along(b, -p, a),
            e.times(2.0 * p, c),
            e.times(-2.0 * p, c),
            x[1].times(4.0 * p4, x[3].times(-5.0 * p2, x[5])),
        ]
    }
}

/// `B t`, the transpose of [`Input`].
pub(crate) struct InputAdjoint;

impl Map<6, 6> for InputAdjoint {
    #[inline(always)]
    fn map<S: Simd, W: Word>(t: [Lanes<S>; 6]) -> [Lanes<S>; 6] {
        let [p, p2, p3, p4] = powers::<W>();
        let (s12, m12, s34, m34) = (t[1] + t[2], t[1] - t[2], t[3] + t[4], t[3] - t[4]);
        [
            t[0].scale(4.0 * p4),
            along(t[5], p, m12.scale(-1.0)).times(4.0 * p3, m34.scale(-2.0 * p3)),
            t[0].times(-5.0 * p2, s12.times(-4.0 * p2, s34.scale(-p2))),
            t[5].times(-5.0 * p2, m34.times(2.0 * p, m12.scale(p))),
            t[0] + s12 + s34,
            t[5],
        ]
    }
}

/// The values of the polynomial with the given coefficients at the six points: `A y`.
pub(crate) struct Evaluate;

impl<const N: usize> Map<N, 6> for Evaluate {
    #[inline(always)]
    fn map<S: Simd, W: Word>(y: [Lanes<S>; N]) -> [Lanes<S>; 6] {
        let p = W::POINT;
        // even and odd part at a and at 2a
        let (mut e1, mut e2, mut o1, mut o2) = (y[0], y[0], y[1].scale(p), y[1].scale(2.0 * p));
        let (mut one, mut two) = (p * p, 4.0 * p * p);
        let mut i = 2;
        while i < N {
            if i % 2 == 0 {
                (e1, e2) = (along(y[i], one, e1), y[i].times(two, e2));
            } else {
                (o1, o2) = (along(y[i], one, o1), y[i].times(two, o2));
            }
            (one, two) = (one * p, two * 2.0 * p);
            i += 1;
        }
        [y[0], e1 + o1, e1 - o1, e2 + o2, e2 - o2, y[N - 1]]
    }
}

/// `A^T t`, the transpose of [`Evaluate`].
pub(crate) struct Collect;

impl<const N: usize> Map<6, N> for Collect {
    #[inline(always)]
    fn map<S: Simd, W: Word>(t: [Lanes<S>; 6]) -> [Lanes<S>; N] {
        let p = W::POINT;
        let (s12, m12, s34, m34) = (t[1] + t[2], t[1] - t[2], t[3] + t[4], t[3] - t[4]);
        let (mut one, mut two) = (p, 2.0 * p);
        let mut y = [s12 + s34 + t[0]; N];
        let mut i = 1;
        while i < N {
            let (near, far) = if i % 2 == 0 { (s12, s34) } else { (m12, m34) };
            y[i] = far.times(two, near.scale(one));
            (one, two) = (one * p, two * 2.0 * p);
            i += 1;
        }
        y[N - 1] = y[N - 1] + t[5];
        y
    }
}

/// `G w`.
pub(crate) struct Weight;

impl<const R: usize> Map<R, 6> for Weight {
    #[inline(always)]
    fn map<S: Simd, W: Word>(w: [Lanes<S>; R]) -> [Lanes<S>; 6] {
        scaled::<S, W>(<Evaluate as Map<R, 6>>::map::<S, W>(w))
    }
}

/// `G^T t`, the transpose of [`Weight`].
pub(crate) struct WeightAdjoint;

impl<const R: usize> Map<6, R> for WeightAdjoint {
    #[inline(always)]
    fn map<S: Simd, W: Word>(t: [Lanes<S>; 6]) -> [Lanes<S>; R] {
        <Collect as Map<6, R>>::map::<S, W>(scaled::<S, W>(t))
    }
}

/// The powers of `a` from the first to the fourth.
#[inline(always)]
const fn powers<W: Word>() -> [f32; 4] {
    let p = W::POINT;
    [p, p * p, p * p * p, p * p * p * p]
}

/// `x * factor + plus`, an addition or a subtraction for a factor of one: known when compiled.
#[inline(always)]
fn along<S: Simd>(x: Lanes<S>, factor: f32, plus: Lanes<S>) -> Lanes<S> {
    if factor == 1.0 {
        plus + x
    } else if factor == -1.0 {
        plus - x
    } else {
        x.times(factor, plus)
    }
}

#[inline(always)]
fn scaled<S: Simd, W: Word>(mut t: [Lanes<S>; 6]) -> [Lanes<S>; 6] {
    let mut i = 0;
    while i < 6 {
        let rest = if i < 5 { powers::<W>()[3] } else { 1.0 };
        t[i] = t[i].scale(SCALE[i] / rest);
        i += 1;
    }
    t
}

/// A map of the columns of a square, then of its rows: `I x I` to `O x O`.
#[inline(always)]
pub(crate) fn square<S: Simd, W: Word, F: Map<I, O>, const I: usize, const O: usize>(
    x: [[Lanes<S>; I]; I],
) -> [[Lanes<S>; O]; O] {
    let zero = x[0][0];
    let mut half = [[zero; I]; O];
    for j in 0..I {
        let mut column = [zero; I];
        for i in 0..I {
            column[i] = x[i][j];
        }
        let mapped = F::map::<S, W>(column);
        for i in 0..O {
            half[i][j] = mapped[i];
        }
    }
    let mut out = [[zero; O]; O];
    for i in 0..O {
        out[i] = F::map::<S, W>(half[i]);
    }
    out
}

/// The registers at `from + i * row + j * col`.
///
/// # Safety
/// All must be readable.
#[inline(always)]
pub(crate) unsafe fn window<S: Simd, const N: usize>(
    simd: S,
    from: *const f32,
    row: usize,
    col: usize,
) -> [[Lanes<S>; N]; N] {
    let mut x = [[Lanes::splat(simd, 0.0); N]; N];
    for i in 0..N {
        for j in 0..N {
            // SAFETY: the caller's promise.
            x[i][j] = unsafe { Lanes::load(simd, from.add(i * row + j * col)) };
        }
    }
    x
}
