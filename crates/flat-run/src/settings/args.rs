//! Flags as typed that decide a run or what a measure is taken of.

mod eval;

pub use eval::{EvalArgs, HessianArgs};
