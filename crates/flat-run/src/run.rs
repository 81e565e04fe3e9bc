//! The training loop, what is measured along it, and its result.

pub mod along;
pub mod perturbed;
pub mod summary;
pub mod trainer;
