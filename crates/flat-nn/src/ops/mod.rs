//! Differentiable operations on candle tensors: fast kernels on CPU, candle's own operations elsewhere.

mod activation;
pub(crate) mod batch_norm;
mod buffer;
pub(crate) mod channel;
mod conv;
mod conv_kernel;
mod cross_entropy;
mod float;
mod linear;
mod matrix;
pub(crate) mod norm_kernel;
mod pool;
mod reduce;
pub(crate) mod standardize;
pub(crate) mod tangent_norm;
mod tape;

pub(crate) use activation::{add_relu, mask};
pub use activation::{gelu, relu};
pub use conv::Conv2d;
pub(crate) use cross_entropy::cross_entropy;
pub use cross_entropy::softmax;
pub use linear::linear;
pub use pool::Pool2d;
pub(crate) use pool::global_mean;
