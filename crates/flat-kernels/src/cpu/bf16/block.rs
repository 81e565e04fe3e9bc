//! Blocks of sums: up to 32 x 32 numbers of f32, to which every step adds a product that is 32 bf16 deep.

use super::{Bf16, amx, avx512};

/// Side of a tile of sums.
pub(super) const TILE: usize = 16;
/// Depth of a step: numbers of bf16 that 64 bytes hold.
pub(super) const DEPTH: usize = 32;
/// Side of a block of sums.
pub(super) const SIDE: usize = 2 * TILE;
/// Bytes of an operand's tile.
pub(super) const TILE_BYTES: usize = TILE * 64;

/// Where a step's operands lie, in bytes from those of its block.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Step {
    pub a: isize,
    pub b: isize,
}

/// A block of sums and its operands.
///
/// A has rows of 64 bytes: 32 numbers in the direction of the sum. B has rows of pairs: row `k` holds the numbers `2 k` and
/// `2 k + 1` of each of sixteen columns next to each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub a: *const u8,
    /// Bytes from row to row.
    pub a_row: usize,
    /// Bytes to the second sixteen rows.
    pub a_tile: usize,
    pub b: *const u8,
    /// Bytes from pair to pair.
    pub b_row: usize,
    /// Bytes to the second sixteen columns.
    pub b_tile: usize,
    pub c: *mut f32,
    /// Numbers from row to row.
    pub c_row: usize,
    /// Tiles of rows: 1 or 2.
    pub rows: usize,
    /// Tiles of columns: 1 or 2.
    pub cols: usize,
    /// Whether the sums begin with what C holds, not with zeros.
    pub accumulate: bool,
}

impl Block {
    /// `C <- A B`, or `<- C + A B`, over at least one step.
    ///
    /// # Safety
    /// All operands must lie in memory, C touched by nobody else; the instructions must be there, within [`prepared`].
    #[inline]
    pub(super) unsafe fn run(&self, by: Bf16, steps: &[Step]) {
        debug_assert!(!steps.is_empty() && (1..=2).contains(&self.rows) && (1..=2).contains(&self.cols));
        // SAFETY: the caller's promise.
        unsafe { if by == Bf16::Amx { amx::run(self, steps) } else { avx512::run(self, steps) } }
    }
}

/// Calls `f` with the registers set up for [`Block::run`].
///
/// # Safety
/// The instructions must be there.
pub(super) unsafe fn prepared<R>(by: Bf16, f: impl FnOnce() -> R) -> R {
    if by == Bf16::Amx {
        // SAFETY: the caller's promise.
        return unsafe { amx::with_tiles(f) };
    }
    f()
}
