//! Whole data sets: real ones, hostile ones, downloaded ones, and candle's readers beside ours.

mod candle_faults;
mod download;
mod found;
mod python_batches;
mod real;
mod support;
mod untrusted;
mod verify;
