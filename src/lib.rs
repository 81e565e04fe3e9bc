//! Flat-minima training on candle: this facade re-exports the workspace's crates under short names.
//!
//! - [`core`]: keyed random streams, parameter layouts and flat vectors
//! - [`nn`]: layers, models and their exact tangents
//! - [`data`]: MNIST and CIFAR readers, batches, augmentation
//! - [`optim`]: gradient rules, base optimizers, schedules
//! - [`metrics`]: Hessian-vector products and the Hessian trace
//! - [`run`]: a training run from settings, and measures of its checkpoints
//!
//! Two doors: [`Optimizer`] over a loss of your own, [`Run`] from settings to a trained classifier.

#![forbid(unsafe_code)]

pub use flat_core as core;
pub use flat_data as data;
pub use flat_metrics as metrics;
pub use flat_nn as nn;
pub use flat_optim as optim;
pub use flat_optim::Optimizer;
pub use flat_run as run;
pub use flat_run::{Run, RunConfig};
