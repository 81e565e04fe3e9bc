//! The ranks of the thread that computes: where a run, a measure or a study finds the others.
//!
//! They belong to the thread, so that threads can be ranks as well as processes.

use crate::Ranks;
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
