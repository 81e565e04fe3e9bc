//! Matrix products in bf16.

use super::Bf16;
use super::avx512::round;
use super::block::{Block, DEPTH, SIDE, Step, TILE, TILE_BYTES};
use super::operand::{Strides, left, right};
use super::run::prepared;
use crate::cpu::buffer::{Buffer, Dst};
use crate::cpu::matrix::View;
use rayon::prelude::*;

/// A block of sums on its way to the result.
#[repr(align(64))]
struct Place([f32; SIDE * SIDE]);

/// `a (n, k) b (k, m)`, see [`crate::cpu::matrix::multiply`]; no size may be 0.
pub(super) fn multiply(by: Bf16, (n, m, k): (usize, usize, usize), a: View<&[f32]>, b: View<&[f32]>) -> Vec<f32> {
    let last = |v: &View<&[f32]>, rows: usize, cols: usize| (rows - 1) * v.row_stride + (cols - 1) * v.col_stride;
    assert!(last(&a, n, k) < a.data.len() && last(&b, k, m) < b.data.len(), "matrix product out of bounds");
    let strides = |v: &View<&[f32]>| Strides { rows: v.row_stride, cols: v.col_stride };
    let blocks = k.div_ceil(DEPTH);
    let order: Vec<(usize, usize)> = (0..blocks).map(|block| (block, 0)).collect();
    let lhs = left(a.data, (n, k), strides(&a), &order);
    let rhs = right(b.data, (k, m), strides(&b));
    let steps: Vec<Step> =
        (0..blocks * TILE_BYTES).step_by(TILE_BYTES).map(|at| Step { a: 2 * at as isize, b: at as isize }).collect();
    let mut out = Buffer::new(n * m);
    let to = Dst(out.runs().start());
    let panels = (n.div_ceil(SIDE), m.div_ceil(SIDE));
    (0..panels.0 * panels.1).into_par_iter().with_min_len(512usize.div_ceil(blocks)).for_each(|i| {
        let (col, row) = (i / panels.0, i % panels.0);
        let mut place = Place([0.0; SIDE * SIDE]);
        let block = Block {
            a: lhs.as_ptr().cast::<u8>().wrapping_add(row * blocks * 2 * TILE_BYTES),
            a_row: 64,
            a_tile: TILE_BYTES,
            b: rhs.as_ptr().cast::<u8>().wrapping_add(col * blocks * 2 * TILE_BYTES),
            b_row: 64,
            b_tile: blocks * TILE_BYTES,
            c: place.0.as_mut_ptr(),
            c_row: SIDE,
            rows: (n - row * SIDE).div_ceil(TILE).min(2),
            cols: (m - col * SIDE).div_ceil(TILE).min(2),
            accumulate: false,
        };
        // SAFETY: both operands were laid out above; the instructions are there.
        unsafe { prepared(by, || block.run(by, &steps)) };
        let cols = SIDE.min(m - col * SIDE);
        for (i, sums) in place.0.chunks_exact(SIDE).take(n - row * SIDE).enumerate() {
            // SAFETY: every task writes its own block of the result.
            unsafe { round(&sums[..cols], to.at((row * SIDE + i) * m + col * SIDE)) };
        }
    });
    // SAFETY: the blocks cover the result.
    unsafe { out.finish() }
}
