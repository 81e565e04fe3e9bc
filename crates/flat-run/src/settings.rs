//! What decides a run: flags and files, their defaults and ranges, and which of them have an effect together.

pub mod args;
mod check;
pub mod choice;
pub mod config;
pub mod pixels;
mod relevance;
pub(crate) mod resolve;
