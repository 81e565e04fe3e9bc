//! Convolution in bf16 forward and for the gradient of the input: images on the grid times weights.

use super::Bf16;
use super::avx512::round;
use super::block::{Block, DEPTH, SIDE, Step, TILE, TILE_BYTES};
use super::grid::{Grid, Line, Planes, Tap};
use super::operand::{CacheLine, Strides, channel_pairs, left};
use super::run::prepared;
use crate::cpu::buffer::{Buffer, Dst};
use crate::{Float, Geometry};
use rayon::prelude::*;

/// Bytes that the images of a task may take in bf16, so that they stay in the second level of the cache.
const BYTES: usize = 512 << 10;
/// Places whose sums lie in the first level of the cache before they are written.
const RANGE: usize = 128;
/// Numbers from channel to channel of these sums: no power of two, so that channels fall into different sets of the cache.
const ROW: usize = RANGE + TILE;

/// A sum over channels and elements of windows: the weights, and the steps from block to block.
struct Sums<'g> {
    weights: Vec<CacheLine>,
    steps: Vec<Step>,
    out: &'g Planes,
}

/// The number of a tile, in what order the weights are: 32 channels, then the elements of the window.
fn order(channels: usize, taps: &[Tap]) -> impl Iterator<Item = (usize, Tap)> + '_ {
    (0..channels.div_ceil(DEPTH)).flat_map(move |block| taps.iter().map(move |tap| (block, *tap)))
}

/// `y` of `x` and `w`, see [`crate::cpu::conv::forward`].
pub(super) fn forward(by: Bf16, g: &Geometry, x: &[f32], w: &[f32]) -> Vec<f32> {
    let grid = Grid::new(g, true);
    let depth = grid.phases[0].x.lines.len();
    let pairs = depth.next_multiple_of(DEPTH) / 2;
    let chunk = grid.chunk(g.n, depth * grid.phases.len(), BYTES);
    let len = grid.row(chunk, TILE);
    let (mut weights, mut steps) = (Vec::new(), Vec::new());
    for (i, phase) in grid.phases.iter().enumerate() {
        for (block, tap) in order(depth, &phase.taps) {
            let row = (i * pairs + block * DEPTH / 2) * len;
            steps.push(Step { a: (steps.len() * 2 * TILE_BYTES) as isize, b: 4 * (row as isize + tap.shift) });
            weights.push((block, tap.element));
        }
    }
    let at = Strides { rows: depth * grid.elements, cols: grid.elements };
    let weights = left(w, (g.out_channels, depth), at, &weights);
    let sums = [Sums { weights, steps, out: &grid.y }];
    let images: Vec<&Planes> = grid.phases.iter().map(|phase| &phase.x).collect();
    run(by, &grid, (chunk, len), (&images, x), &sums, g.n, true)
}

/// The gradient for `x` of `<gy, F(x, w)>`, see [`crate::cpu::conv::grad_input`].
pub(super) fn grad_input(by: Bf16, g: &Geometry, gy: &[f32], w: &[f32]) -> Vec<f32> {
    let grid = Grid::new(g, false);
    let depth = g.out_channels;
    let chunk = grid.chunk(g.n, depth, BYTES);
    let len = grid.row(chunk, TILE);
    let at = Strides { rows: grid.elements, cols: g.channels * grid.elements };
    let sums: Vec<Sums<'_>> = grid
        .phases
        .iter()
        .map(|phase| {
            let (mut weights, mut steps) = (Vec::new(), Vec::new());
            for (block, tap) in order(depth, &phase.taps) {
                let row = block * DEPTH / 2 * len;
                steps.push(Step { a: (steps.len() * 2 * TILE_BYTES) as isize, b: 4 * (row as isize - tap.shift) });
                weights.push((block, tap.element));
            }
            Sums { weights: left(w, (g.channels, depth), at, &weights), steps, out: &phase.x }
        })
        .collect();
    // a stride beyond the window leaves out pixels
    let whole = sums.len() == g.stride * g.stride;
    run(by, &grid, (chunk, len), (&[&grid.y], gy), &sums, g.n, whole)
}

/// All chunks of images, in parallel. `whole` says that the sums fill their images.
fn run(
    by: Bf16,
    grid: &Grid,
    (chunk, len): (usize, usize),
    (operand, images): (&[&Planes], &[f32]),
    sums: &[Sums<'_>],
    n: usize,
    whole: bool,
) -> Vec<f32> {
    let (image, out) = (operand[0].image(), sums[0].out.image());
    let pairs: usize = operand.iter().map(|planes| planes.lines.len().next_multiple_of(DEPTH) / 2).sum();
    let mut y = Buffer::new(n * out);
    let runs = y.runs();
    images.par_chunks(chunk * image).enumerate().for_each(|(i, images)| {
        f32::with_scratch(pairs * len + TILE, |scratch| {
            let aligned = scratch.as_ptr().align_offset(64).min(TILE);
            let packed = scratch[aligned..].as_mut_ptr().cast::<u32>();
            let mut row = 0;
            for planes in operand {
                // SAFETY: the scratch has `len` words for each pair; AVX-512 is there, as whoever chose `by` knows.
                unsafe { channel_pairs(grid, planes, images, len, packed.add(row * len)) };
                row += planes.lines.len().next_multiple_of(DEPTH) / 2;
            }
            let count = images.len() / image;
            // SAFETY: every task has its own images of the result; all their elements are written.
            let y = unsafe { runs.run(i * chunk * out, count * out) };
            if !whole {
                y.fill(std::mem::MaybeUninit::new(0.0));
            }
            let y = Dst(y.as_mut_ptr().cast::<f32>());
            let task = Task { by, grid, len, count };
            // SAFETY: packed and zeroed up to the guards' ends; the instructions are there.
            unsafe { prepared(by, || sums.iter().for_each(|sums| task.sum(sums, packed, y))) };
        });
    });
    // SAFETY: the tasks covered all images, and each wrote all of its part.
    unsafe { y.finish() }
}

/// A chunk of images.
struct Task<'g> {
    by: Bf16,
    grid: &'g Grid,
    len: usize,
    count: usize,
}

/// Places of a range that follow each other in an image, too.
struct Segment {
    from: usize,
    len: usize,
    /// In the chunk of images, for plane 0.
    to: usize,
}

/// Sums of 32 channels at the places of a range.
#[repr(align(64))]
struct Sums32([f32; SIDE * ROW]);

impl Task<'_> {
    /// The segments of every range.
    fn segments(&self, out: &Planes) -> Vec<Vec<Segment>> {
        let places = self.count * self.grid.places;
        let mut ranges: Vec<Vec<Segment>> = (0..places.div_ceil(RANGE)).map(|_| Vec::new()).collect();
        // all lines of a phase have the same pixels of their planes
        let line = Line { plane: 0, ..out.lines[0] };
        let (start, end) = out.span(line);
        for (image, row) in (0..self.count).flat_map(|image| (0..out.rows).map(move |row| (image, row))) {
            let Some(y) = out.inside(line, row) else { continue };
            let first = image * self.grid.places + row * self.grid.cols;
            let mut col = start;
            while col < end {
                let place = first + col;
                let len = (end - col).min(RANGE - place % RANGE);
                let to = image * out.image() + out.at(line, y, col);
                ranges[place / RANGE].push(Segment { from: place % RANGE, len, to });
                col += len;
            }
        }
        ranges
    }

    /// All channels of a sum, rounded to bf16, to their pixels.
    ///
    /// # Safety
    /// The operands must be as [`run`] lays them out.
    unsafe fn sum(&self, sums: &Sums<'_>, packed: *const u32, y: Dst<f32>) {
        let channels = sums.out.lines.len();
        let places = self.count * self.grid.places;
        let ranges = self.segments(sums.out);
        let mut c = Sums32([0.0; SIDE * ROW]);
        for first in (0..channels).step_by(SIDE) {
            let panel = first / SIDE * sums.steps.len() * 2 * TILE_BYTES;
            let lines = &sums.out.lines[first..channels.min(first + SIDE)];
            for (i, segments) in ranges.iter().enumerate() {
                for place in (i * RANGE..places.min((i + 1) * RANGE)).step_by(SIDE) {
                    let block = Block {
                        a: sums.weights.as_ptr().cast::<u8>().wrapping_add(panel),
                        a_row: 64,
                        a_tile: TILE_BYTES,
                        b: packed.wrapping_add(self.grid.guard() + place).cast(),
                        b_row: 4 * self.len,
                        b_tile: 64,
                        c: c.0.as_mut_ptr().wrapping_add(place - i * RANGE),
                        c_row: ROW,
                        rows: lines.len().div_ceil(TILE),
                        cols: (places - place).div_ceil(TILE).min(2),
                        accumulate: false,
                    };
                    // SAFETY: the caller's promise.
                    unsafe { block.run(self.by, &sums.steps) };
                }
                for (line, sums32) in lines.iter().zip(c.0.chunks_exact(ROW)) {
                    let y = y.at(line.plane * sums.out.h * sums.out.w);
                    for s in segments {
                        // SAFETY: pixels of an image of this task.
                        unsafe { write(&sums32[s.from..s.from + s.len], y.wrapping_add(s.to), sums.out.step) };
                    }
                }
            }
        }
    }
}

/// Rounds numbers to bf16, on their way to every `step`-th number from `to` on.
///
/// # Safety
/// These must be in memory; AVX-512 must be there.
#[inline]
unsafe fn write(from: &[f32], to: *mut f32, step: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if step == 1 {
            round(from, to);
        } else {
            from.iter().enumerate().for_each(|(j, x)| *to.add(j * step) = x.to_bf16());
        }
    }
}
