//! Differentiable operations on candle tensors: fast kernels on CPU, candle's own operations elsewhere.

mod activation;
mod batch_norm;
mod block;
pub(crate) mod channel;
mod conv;
mod conv_kernel;
mod cross_entropy;
mod float;
mod lanes;
mod linear;
mod matrix;
mod pool;
pub(crate) mod standardize;
mod strip;
mod winograd;

pub(crate) use activation::{add_relu, mask};
pub use activation::{gelu, relu};
pub(crate) use batch_norm::batch_norm;
pub use conv::Conv2d;
pub(crate) use cross_entropy::cross_entropy;
pub use cross_entropy::softmax;
pub use linear::linear;
pub use pool::Pool2d;
