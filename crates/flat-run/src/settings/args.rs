//! Flags as typed that decide a run or what a measure is taken of.

mod eval;
mod layers;
mod operator;
mod trace;
mod train;

pub use eval::{EvalArgs, HessianArgs};
pub use layers::LayersArgs;
pub use operator::{OperatorArgs, OperatorName};
pub use trace::{EstimatorName, ProbeName, TraceArgs};
pub use train::TrainArgs;
