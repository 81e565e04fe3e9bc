//! The networks: what parameters each has, and its forward pass over any [`crate::Value`].

mod cost;
pub(crate) mod lenet;
pub(crate) mod mlp;
pub(crate) mod residual;
pub(crate) mod scope;
pub(crate) mod specs;

pub use cost::multiply_adds;
