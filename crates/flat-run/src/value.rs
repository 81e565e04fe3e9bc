//! How numbers, names and intervals are written and read.

pub(crate) mod every;
pub(crate) mod exact;
pub(crate) mod number;

pub use every::Every;
pub use number::{percent, short, wilson};
