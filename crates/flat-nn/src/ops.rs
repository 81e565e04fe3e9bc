//! Differentiable operations on candle tensors: the derivatives of each. Values come from [`flat_kernels`] on a CPU, and on
//! CUDA where candle's kernels are slow or wrong; from candle's own operations elsewhere.

pub(crate) mod activation;
mod arrange;
mod backward_graph;
pub(crate) mod batch_norm;
pub(crate) mod channel;
mod conv;
mod conv_again;
mod conv_joint;
mod conv_kernel;
mod cross_entropy;
mod linear;
mod max_pool;
mod mean_pool;
pub(crate) mod moments;
pub(crate) mod norm_along;
pub(crate) mod norm_jet;

pub(crate) mod standardize;

pub(crate) use activation::{add_relu, mask};
pub use activation::{gelu, relu};
pub use arrange::Arrange;
pub(crate) use arrange::products;
pub use conv::Conv2d;
pub(crate) use conv_again::Again;
pub(crate) use cross_entropy::cross_entropy;
pub use cross_entropy::softmax;
pub use linear::linear;
pub(crate) use linear::{linear_grad_input, linear_grad_weight};
pub use max_pool::Pool2d;
pub(crate) use max_pool::global_mean;
#[cfg(feature = "cuda")]
pub(crate) use max_pool::{Pick, global_mean_share};
pub(crate) use mean_pool::adaptive_means;
