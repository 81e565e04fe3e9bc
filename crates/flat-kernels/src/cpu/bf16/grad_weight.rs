//! The gradient of a convolution's weights in bf16: output gradients times images, summed over all places of the grid.

use super::Bf16;
use super::block::{Block, DEPTH, SIDE, Step, TILE, TILE_BYTES};
use super::grid::{Grid, Planes};
use super::operand::{cache_lines, channel_rows, place_pairs};
use super::run::prepared;
use crate::cpu::buffer::{Buffer, Dst};
use crate::{Float, Geometry};
use rayon::prelude::*;

/// Parts of the batch that are summed for themselves, at most.
const PARTS: usize = 16;
/// Numbers that the sums of all parts may take together.
const SUMS: usize = 1 << 21;
/// Bytes that the operands of a chunk may take, where the sums take less.
const BYTES: usize = 1 << 20;
/// Steps that pass over all elements of a window before the next ones do.
const STEPS: usize = 16;

/// The gradient for `w` of `<gy, F(x, w)>`, see [`crate::cpu::conv::grad_weight`].
pub(super) fn grad_weight(by: Bf16, g: &Geometry, x: &[f32], gy: &[f32]) -> Vec<f32> {
    let grid = Grid::new(g, true);
    let depth = grid.phases[0].x.lines.len();
    let (rows, cols) = (g.out_channels.next_multiple_of(TILE), depth.next_multiple_of(TILE));
    let len = grid.elements * rows * cols;
    let parts = (SUMS / len).clamp(1, PARTS);
    let part = g.n.div_ceil(parts);
    let width = (rows + cols * grid.phases.len()).next_multiple_of(DEPTH);
    let chunk = (BYTES.max(4 * len) / (2 * width * grid.places)).clamp(1, part);
    let work = Work { by, grid: &grid, rows, cols, chunk };
    let parts = g.n.div_ceil(part);
    let mut sums = Buffer::<f32>::new(parts * len);
    let to = sums.runs();
    let (x_len, y_len) = (grid.phases[0].x.image(), grid.y.image());
    x.par_chunks(part * x_len).zip(gy.par_chunks(part * y_len)).enumerate().for_each(|(i, (x, gy))| {
        // SAFETY: every part has its own sums.
        let sums = Dst(unsafe { to.run(i * len, len) }.as_mut_ptr().cast::<f32>());
        for (i, (x, gy)) in x.chunks(chunk * x_len).zip(gy.chunks(chunk * y_len)).enumerate() {
            work.add(x, gy, sums, i > 0);
        }
    });
    // SAFETY: a part has at least one image, whose sums cover all of it.
    let sums = unsafe { sums.finish() };
    let mut dw = vec![0.0; g.out_channels * depth * grid.elements];
    let least = (1usize << 14).div_ceil(depth * grid.elements);
    dw.par_chunks_mut(depth * grid.elements).with_min_len(least).enumerate().for_each(|(o, row)| {
        let mut total = vec![0.0; depth];
        for element in 0..grid.elements {
            let at = (element * rows + o) * cols;
            total.copy_from_slice(&sums[at..at + depth]);
            for part in 1..parts {
                total.iter_mut().zip(&sums[part * len + at..]).for_each(|(total, sum)| *total += sum);
            }
            row[element..].iter_mut().step_by(grid.elements).zip(&total).for_each(|(to, sum)| *to = sum.to_bf16());
        }
    });
    dw
}

/// What is the same for all chunks.
struct Work<'g> {
    by: Bf16,
    grid: &'g Grid,
    /// Output channels and channels of a phase, in whole tiles.
    rows: usize,
    cols: usize,
    chunk: usize,
}

impl Work<'_> {
    /// Adds the products of a chunk to the sums, number `(element, o, c)` at `(element rows + o) cols + c`; begins with zeros unless
    /// `accumulate`.
    fn add(&self, x: &[f32], gy: &[f32], sums: Dst<f32>, accumulate: bool) {
        let Self { grid, rows, cols, .. } = *self;
        let places = (gy.len() / grid.y.image()) * grid.places;
        let blocks = places.div_ceil(DEPTH);
        let guard = grid.guard();
        let len = grid.row(self.chunk, DEPTH);
        let tiles = cols / TILE;
        let all = grid.phases.len() * tiles;
        let mut left = cache_lines(2 * rows * len);
        let mut right = cache_lines(blocks * all * TILE_BYTES);
        let a = Dst(left.runs().start().cast::<u16>());
        let b = Dst(right.runs().start().cast::<u8>());
        (0..rows / TILE + all).into_par_iter().for_each(|i| {
            // SAFETY: every task writes rows or tiles of its own; the instructions are there.
            unsafe {
                match i.checked_sub(rows / TILE) {
                    None => channel_rows(grid, &grid.y, i * TILE, gy, (guard, len), a.at(i * TILE * len)),
                    Some(i) => {
                        let planes = &grid.phases[i / tiles].x;
                        self.turned(
                            planes,
                            i % tiles * TILE,
                            x,
                            blocks * DEPTH,
                            b.at(i * TILE_BYTES),
                            all * TILE_BYTES,
                        );
                    }
                }
            }
        });
        let panels = (rows.div_ceil(SIDE), cols.div_ceil(SIDE));
        (0..panels.0 * grid.phases.len() * panels.1).into_par_iter().for_each(|i| {
            let (row, col) = (i / (grid.phases.len() * panels.1) * SIDE, i % panels.1 * SIDE);
            let phase = i / panels.1 % grid.phases.len();
            let steps: Vec<Step> = (0..STEPS.min(blocks) as isize)
                .map(|i| Step { a: 64 * i, b: i * (all * TILE_BYTES) as isize })
                .collect();
            let run = || {
                for first in (0..blocks).step_by(STEPS) {
                    for tap in &grid.phases[phase].taps {
                        let at = (row * len + guard + first * DEPTH) as isize - tap.shift;
                        let block = Block {
                            a: a.at(0).wrapping_offset(at).cast(),
                            a_row: 2 * len,
                            a_tile: 2 * len * TILE,
                            b: b.at((first * all + phase * tiles + col / TILE) * TILE_BYTES),
                            b_row: 64,
                            b_tile: TILE_BYTES,
                            c: sums.at((tap.element * rows + row) * cols + col),
                            c_row: cols,
                            rows: ((rows - row) / TILE).min(2),
                            cols: ((cols - col) / TILE).min(2),
                            accumulate: accumulate || first > 0,
                        };
                        // SAFETY: packed above, with guards as wide as the shifts; this task alone has these sums.
                        unsafe { block.run(self.by, &steps[..STEPS.min(blocks - first)]) };
                    }
                }
            };
            // SAFETY: the instructions are there.
            unsafe { prepared(self.by, run) };
        });
    }

    /// Sixteen channels of the images as tiles of pairs of places.
    ///
    /// # Safety
    /// `to` must have room for the tiles, `apart` bytes from each other; the instructions must be there.
    unsafe fn turned(&self, planes: &Planes, first: usize, x: &[f32], len: usize, to: *mut u8, apart: usize) {
        f32::with_scratch(TILE * len / 2, |scratch| {
            let rows = scratch.as_mut_ptr().cast::<u16>();
            // SAFETY: the scratch holds sixteen rows of `len` numbers.
            unsafe {
                channel_rows(self.grid, planes, first, x, (0, len), rows);
                place_pairs(rows, len, to, apart);
            }
        });
    }
}
