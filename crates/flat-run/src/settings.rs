//! What decides a run: flags and files, their defaults and ranges, and which of them have an effect together.

pub mod args;
pub mod choice;
pub mod config;
mod file;
pub mod flags;
pub mod pixels;
pub mod resolve;
#[cfg(test)]
pub(crate) mod tests;
