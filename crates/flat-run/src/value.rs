//! How numbers, names and intervals are written and read.

pub mod every;
pub(crate) mod exact;
pub mod number;
