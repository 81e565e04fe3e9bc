//! Differentiable operations on candle tensors: fast kernels on CPU, and on CUDA where candle's are slow or wrong; candle's
//! own operations elsewhere.

pub(crate) mod activation;
pub(crate) mod batch_norm;
mod block;
mod buffer;
pub(crate) mod channel;
mod conv;
mod conv_joint;
mod conv_kernel;
mod cross_entropy;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cudnn")]
mod cudnn;
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

/// Whether normalisation, pooling and the losses have kernels of their own on this device.
pub(crate) fn has_kernels(device: &candle_core::Device) -> bool {
    device.is_cpu() || (cfg!(feature = "cuda") && device.is_cuda())
}
