//! A run: the door for programs, the training loop, what is measured along it, and its result.

pub mod along;
mod door;
mod finish;
mod observer;
mod perturbed;
pub mod summary;
pub mod trainer;

pub use door::{End, Run};
pub use observer::{Observer, Silent};
