//! Blocks of sums: up to 32 x 32 numbers of f32, to which every step adds a product that is 32 bf16 deep.

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
