//! Whole data sets: real ones, hostile ones, downloaded ones, and candle's readers beside ours.
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

mod bombs;
#[cfg(feature = "candle-datasets")]
mod candle_faults;
mod colored;
#[cfg(feature = "hub")]
mod download;
mod found;
#[cfg(feature = "hub")]
mod hostile_hub;
mod own;
mod python_batches;
mod real;
#[cfg_attr(not(feature = "candle-datasets"), allow(dead_code))] // some of it is for candle's hub client
mod support;
mod untrusted;
mod verify;
