//! The ranks of this process, which begin together or not at all.

use anyhow::Result;
pub use flat_comm::{here, with};

/// Another rank failed, and says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnotherFailed {
    /// The first that did.
    pub rank: usize,
}

impl std::fmt::Display for AnotherFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} could not begin", self.rank)
    }
}

impl std::error::Error for AnotherFailed {}

/// Goes on where all ranks can. Where some fail, the first of them returns its error, and the others [`AnotherFailed`].
///
/// # Errors
/// As said.
pub fn agree<T>(own: Result<T>) -> Result<T> {
    let ranks = here();
    if ranks.is_alone() {
        return own;
    }
    let failed = ranks.gather(ranks.size(), 1, &[f64::from(u8::from(own.is_err()))])?;
    match failed.iter().position(|failed| *failed > 0.0) {
        Some(rank) if rank != ranks.rank() => Err(AnotherFailed { rank }.into()),
        _ => own,
    }
}
