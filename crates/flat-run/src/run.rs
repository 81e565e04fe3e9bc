//! A training run: its interface for programs, the training loop, measurements on the way, and the summary.

pub(crate) mod along;
mod door;
mod finish;
mod observer;
mod perturbed;
mod plan;
pub(crate) mod summary;
pub(crate) mod trainer;

pub use along::{Measured, measure as measure_along};
pub use door::{End, Run};
pub use observer::{Observer, Silent};
pub use plan::Plan;
pub use summary::{RunState, SubspaceSpent, Summary, Target};
pub use trainer::{Ended, Trainer};
