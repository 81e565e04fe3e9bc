//! What decides a run: flags and files, their defaults and ranges, and which of them have an effect together.

pub mod args;
pub mod choice;
pub mod config;
pub mod file;
pub mod flags;
pub(crate) mod pixels;
pub(crate) mod resolve;
pub mod rule_schedule;
#[cfg(test)]
pub(crate) mod tests;
