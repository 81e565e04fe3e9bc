//! Differentiable operations on candle tensors: fast kernels on CPU, candle's own operations elsewhere.

pub(crate) mod activation;
pub(crate) mod batch_norm;
mod block;
mod buffer;
pub(crate) mod channel;
mod conv;
mod conv_joint;
mod conv_kernel;
mod cross_entropy;
mod float;
mod lanes;
mod linear;
mod matrix;
pub(crate) mod norm_kernel;
pub(crate) mod norm_tangent;
mod pool;
mod reduce;
pub(crate) mod standardize;
mod strip;
mod tape;
mod winograd;

pub(crate) use activation::{add_relu, mask};
pub use activation::{gelu, relu};
pub use conv::Conv2d;
pub(crate) use cross_entropy::cross_entropy;
pub use cross_entropy::softmax;
pub use linear::linear;
pub(crate) use linear::{linear_grad_input, linear_grad_weight};
pub(crate) use pool::Pick;
pub use pool::Pool2d;
pub(crate) use pool::global_mean;
