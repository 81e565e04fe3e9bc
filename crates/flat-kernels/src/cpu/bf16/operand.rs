//! Operands of products in bf16, in the order in which the instructions read them.

use super::avx512::{gather, narrow, pairs};
use super::block::{DEPTH, SIDE, TILE, TILE_BYTES};
use super::grid::{Grid, Line, Planes};
use crate::cpu::buffer::{Buffer, Dst};
use crate::cpu::transpose::sixteen;
use rayon::prelude::*;

/// A cache line: what operands are aligned to.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct CacheLine([u8; 64]);

/// A buffer of `bytes` in whole cache lines.
pub(super) fn cache_lines(bytes: usize) -> Buffer<CacheLine> {
    Buffer::new(bytes.div_ceil(64))
}

/// Where a matrix's elements lie: `(i, k)` is at `i * rows + k * cols`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strides {
    pub rows: usize,
    pub cols: usize,
}

/// A left operand of `m` rows: a panel of 32 rows holds one pair of tiles a step, `order` says for each step of which 32
/// columns, and how far the matrix begins behind `data`'s first element. Zeros beyond `m` and `k`.
pub(super) fn left(data: &[f32], (m, k): (usize, usize), at: Strides, order: &[(usize, usize)]) -> Vec<CacheLine> {
    let panels = m.div_ceil(SIDE);
    let mut out = cache_lines(panels * order.len() * 2 * TILE_BYTES);
    let to = Dst(out.runs().start().cast::<u16>());
    (0..panels * order.len()).into_par_iter().with_min_len(8).for_each(|i| {
        let (panel, (block, offset)) = (i / order.len(), order[i % order.len()]);
        let depth = DEPTH.min(k - block * DEPTH);
        let tile = i * 2 * TILE * DEPTH;
        for row in 0..SIDE {
            let (from, to) = (panel * SIDE + row, to.at(tile + row * DEPTH));
            let first = from * at.rows + block * DEPTH * at.cols + offset;
            // SAFETY: every row of a step is written by one task; `first` and the numbers behind it lie within the matrix
            unsafe {
                if from < m {
                    debug_assert!(first + (depth - 1) * at.cols < data.len());
                    gather(data.as_ptr().add(first), at.cols, depth, to);
                } else {
                    to.write_bytes(0, DEPTH);
                }
            }
        }
    });
    // SAFETY: all rows of all panels were written.
    unsafe { out.finish() }
}

/// A line and its columns within the plane.
#[derive(Clone, Copy)]
struct Part {
    line: Line,
    from: usize,
    end: usize,
}

impl Part {
    fn of(planes: &Planes, line: Option<&Line>) -> Option<Self> {
        let line = *line?;
        let (from, end) = planes.span(line);
        (from < end).then_some(Self { line, from, end })
    }

    /// A row of the grid as the plane has it; `None` where all of it is zero.
    #[inline(always)]
    fn row<'a>(self, planes: &Planes, image: &'a [f32], row: usize, buffer: &'a mut [f32]) -> Option<&'a [f32]> {
        let y = planes.inside(self.line, row)?;
        let (from, end, step) = (self.from, self.end, planes.step);
        let at = planes.at(self.line, y, from);
        if step == 1 && (from, end) == (0, planes.cols) {
            return Some(&image[at..at + planes.cols]);
        }
        let buffer = &mut buffer[..planes.cols];
        buffer[..from].fill(0.0);
        buffer[end..].fill(0.0);
        buffer[from..end].iter_mut().zip(image[at..].iter().step_by(step)).for_each(|(to, x)| *to = *x);
        Some(buffer)
    }
}

/// Images on the grid as a right operand, pairs of channels: word `(pair, place)` is at `pair * len + guard + place`.
/// Channels are filled up with zeros to a multiple of 32.
///
/// # Safety
/// `to` must have room for `len` words a pair; AVX-512 must be there.
pub(super) unsafe fn channel_pairs(grid: &Grid, planes: &Planes, images: &[f32], len: usize, to: *mut u32) {
    let mut buffer = vec![0.0; 2 * planes.cols];
    let (first, second) = buffer.split_at_mut(planes.cols);
    let zeros = vec![0.0; planes.cols];
    // SAFETY: the caller's promise.
    unsafe { to.write_bytes(0, planes.lines.len().next_multiple_of(DEPTH) / 2 * len) };
    // image by image, as they lie in memory
    for (i, image) in images.chunks_exact(planes.image()).enumerate() {
        for pair in 0..planes.lines.len().div_ceil(2) {
            let [a, b] = [2 * pair, 2 * pair + 1].map(|line| Part::of(planes, planes.lines.get(line)));
            let to = to.wrapping_add(pair * len + grid.guard() + i * grid.places);
            for y in 0..planes.rows {
                let a = a.and_then(|a| a.row(planes, image, y, first));
                let b = b.and_then(|b| b.row(planes, image, y, second));
                if a.is_some() || b.is_some() {
                    let (a, b) = (a.unwrap_or(&zeros), b.unwrap_or(&zeros));
                    // SAFETY: rows of the grid lie between the guards.
                    unsafe { pairs(a, b, to.add(y * grid.cols)) };
                }
            }
        }
    }
}

/// Images on the grid, a channel a row: number `(channel, place)` is at `channel * len + guard + place`, for sixteen channels from
/// `first` on; zeros where there are none.
///
/// # Safety
/// `to` must have room for `len` numbers a channel; AVX-512 must be there.
pub(super) unsafe fn channel_rows(
    grid: &Grid,
    planes: &Planes,
    first: usize,
    images: &[f32],
    (guard, len): (usize, usize),
    to: *mut u16,
) {
    let mut buffer = vec![0.0; planes.cols];
    // SAFETY: the caller's promise.
    unsafe { to.write_bytes(0, TILE * len) };
    for (i, image) in images.chunks_exact(planes.image()).enumerate() {
        for (channel, line) in planes.lines[first.min(planes.lines.len())..].iter().take(TILE).enumerate() {
            let to = to.wrapping_add(channel * len + guard + i * grid.places);
            let Some(part) = Part::of(planes, Some(line)) else { continue };
            for y in 0..planes.rows {
                if let Some(from) = part.row(planes, image, y, &mut buffer) {
                    // SAFETY: as in `channel_pairs`.
                    unsafe { narrow(from, to.add(y * grid.cols)) };
                }
            }
        }
    }
}

/// Rows of numbers as tiles of a right operand, pairs of neighbouring numbers: sixteen rows of `len` numbers become `len / 32`
/// tiles, `apart` bytes from each other.
///
/// # Safety
/// `len` must be a multiple of 32, `to` have room for the tiles; AVX-512 must be there.
pub(super) unsafe fn place_pairs(rows: *const u16, len: usize, to: *mut u8, apart: usize) {
    for block in 0..len / DEPTH {
        // SAFETY: the caller's promise.
        unsafe { sixteen(rows.add(block * DEPTH).cast(), len / 2, (TILE, TILE), to.add(block * apart).cast(), TILE) };
    }
}

/// A right operand of `k` rows and `m` columns: a tile of columns holds one tile a step. Zeros beyond.
pub(super) fn right(data: &[f32], (k, m): (usize, usize), at: Strides) -> Vec<CacheLine> {
    let blocks = k.div_ceil(DEPTH);
    let mut out = cache_lines(m.div_ceil(TILE) * blocks * TILE_BYTES);
    let to = Dst(out.runs().start().cast::<u32>());
    (0..m.div_ceil(TILE) * blocks).into_par_iter().with_min_len(8).for_each(|i| {
        let (col, row) = (i / blocks * TILE, i % blocks * DEPTH);
        let (cols, rows) = (TILE.min(m - col), DEPTH.min(k - row));
        let to = to.at(i * TILE * TILE);
        let first = row * at.rows + col * at.cols;
        // SAFETY: a task writes a tile of its own, from elements of the matrix; AVX-512 is there.
        unsafe {
            if at.cols == 1 {
                to.write_bytes(0, TILE * TILE);
                for pair in 0..rows.div_ceil(2) {
                    let row = |i: usize| &data[first + i * at.rows..][..cols];
                    let second = if 2 * pair + 1 < rows { row(2 * pair + 1) } else { &[0.0; TILE][..cols] };
                    pairs(row(2 * pair), second, to.add(pair * TILE));
                }
                return;
            }
            // columns as rows, and these turned
            let mut tile = [0u32; TILE * TILE];
            for col in 0..cols {
                gather(
                    data.as_ptr().add(first + col * at.cols),
                    at.rows,
                    rows,
                    tile.as_mut_ptr().add(col * TILE).cast(),
                );
            }
            sixteen(tile.as_ptr(), TILE, (TILE, TILE), to, TILE);
        }
    });
    // SAFETY: all tiles were written.
    unsafe { out.finish() }
}
