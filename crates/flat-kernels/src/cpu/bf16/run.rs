//! The product of a block by the instructions at hand.

use super::block::{Block, Step};
use super::{Bf16, amx, avx512};

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
