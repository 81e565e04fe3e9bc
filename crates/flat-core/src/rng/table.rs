//! Numbers handed over in place of random ones.

use super::purpose::Purpose;
use std::fmt;

/// Which stream of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// What it is for.
    pub purpose: Purpose,
    /// Step, epoch or probe; the hash of a name.
    pub major: u64,
    /// The second index of a pair, plus 1; 0 where there is none.
    pub minor: u64,
}

/// Numbers in place of random ones: a random rule is compared with another program's by handing both the same draws.
pub trait Table: fmt::Debug + Sync {
    /// The normal number of this index, from 0, of a stream.
    fn normal(&self, of: Place, index: usize) -> f64;

    /// The same, uniform in [0, 1). Signs, choices and masks follow from it.
    fn uniform(&self, of: Place, index: usize) -> f64;
}

/// A stream of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub table: &'static dyn Table,
    pub place: Place,
    pub next: usize,
}

impl Given {
    pub fn next(&mut self, draw: impl Fn(&dyn Table, Place, usize) -> f64) -> f64 {
        self.next += 1;
        draw(self.table, self.place, self.next - 1)
    }
}
