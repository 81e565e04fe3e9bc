//! Flags as typed that decide a run or what a measure is taken of.

mod eval;
mod layers;
mod operator;
mod trace;

pub use eval::{EvalArgs, HessianArgs};
pub use layers::LayersArgs;
pub use operator::{OperatorArgs, OperatorName};
pub use trace::{EstimatorName, ProbeName, TraceArgs};
