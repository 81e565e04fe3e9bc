//! What a run or a measure computes with: data, model, loss and optimizer, built from settings or read from a checkpoint.

pub mod evaluate;
pub mod objective;
pub mod parts;
pub mod setup;
pub mod statistics;
pub mod subject;
pub mod weights;
