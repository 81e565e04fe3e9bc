//! Measures of a network's hidden states.

mod two_nn;

pub use two_nn::{IntrinsicDimension, TwoNn};
