//! The ranks of this process: where a run, a measure or a study finds the others.
//!
//! They belong to the thread that computes, so that threads can be ranks as well as processes.

use anyhow::Result;
use flat_comm::Ranks;
use std::cell::RefCell;

thread_local! {
    static HERE: RefCell<Ranks> = RefCell::default();
}

/// Puts the ranks before back.
struct Back(Ranks);

impl Drop for Back {
    fn drop(&mut self) {
        HERE.replace(self.0.clone());
    }
}

/// Runs `body` as one of these ranks.
pub fn with<T>(ranks: Ranks, body: impl FnOnce() -> T) -> T {
    let _back = Back(HERE.replace(ranks));
    body()
}

/// The ranks of this thread: one alone unless [`with`] says otherwise.
pub fn here() -> Ranks {
    HERE.with_borrow(Clone::clone)
}

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
