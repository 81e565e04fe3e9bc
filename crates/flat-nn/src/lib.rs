//! Layers with right first and second derivatives, fast CPU kernels and the classifiers built from them.
//!
//! Four layers of code:
//!
//! - [`ops`]: operations on candle tensors. On CPU they are kernels of their own, each part of a set closed under
//!   differentiation (the derivative of every operation is written with the others), so derivatives of any order are
//!   exact; elsewhere they are candle's differentiable operations. With the feature `cuda` normalisation, pooling and the
//!   losses have kernels on CUDA as well ([`flat_kernels`]), with `cudnn` convolutions are cuDNN's.
//! - [`Value`]: what models compute with, a plain tensor, a value on a tape, a [`Dual`] of value and tangent of either, or a value
//!   with its second derivative. One model serves training, exact Hessian-vector products and quadratic forms.
//! - [`Network`]: a classifier written over any value, your own or one of [`networks`]. [`Model`] holds its weights, named and
//!   initialised as in PyTorch, and its checkpoints; [`Loss`] is computed from its logits.
//! - [`Pullback`]: a forward pass with the way back, faster and smaller than candle's graph; [`Model::loss_and_gradient`] is written
//!   with it. [`Model::hessian_products`] of several directions share a pass, [`Model::hessian_forms`] needs no way back.
//!
//! A product of the Hessian with a vector:
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use flat_core::{ParamVec, Purpose, Streams};
//! use flat_nn::{Activation, Loss, Mode, Model, ModelConfig, networks};
//!
//! # fn main() -> flat_nn::Result<()> {
//! let config = ModelConfig {
//!     arch: networks::MLP, in_channels: 1, height: 4, width: 4, classes: 3,
//!     hidden: vec![8], activation: Activation::Tanh, ..ModelConfig::default()
//! };
//! let streams = Streams::new(0);
//! let model = Model::new(&config, DType::F64, &Device::Cpu, &streams)?;
//! let x = Tensor::ones((2, 1, 4, 4), DType::F64, &Device::Cpu)?;
//! let labels = Tensor::new(&[0u32, 2], &Device::Cpu)?;
//! let v = ParamVec::sphere(model.params().space(), &streams.at(Purpose::Probe, 0))?;
//! let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
//! let hv = model.hessian_product(loss, &x, &labels, &v, Mode::BatchStats)?;
//! assert!(v.dot(&hv)?.is_finite());
//! // the same on candle's graph
//! let along = loss.mean(&model.logits_tangent(&x, &v, Mode::BatchStats)?, &labels)?;
//! let again = model.params().gradient(&along.tangent.backward()?)?;
//! assert!(hv.plus(-1.0, &again)?.norm()? < 1e-12);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
// a step waits for no device: clippy.toml
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod adopt;
mod checkpoint;
mod config;
mod count;
mod detect;
mod dual;
mod error;
mod foreign;
mod jet;
mod kinds;
mod loss;
mod model;
mod network;
pub mod networks;
pub mod ops;
mod precision;
mod scope;
mod specs;
mod statistics;
mod tape;
mod tensor_file;
mod value;

pub use adopt::Adopted;
pub use checkpoint::{read_config, read_metadata};
pub use config::{Arch, ModelConfig, NetworkSpec};
pub use count::Traffic;
pub use detect::Detected;
pub use dual::Dual;
pub use error::{Difference, Error, Result};
pub use flat_kernels::cpu::bf16::Bf16;
pub use foreign::{Format, WeightsFile};
pub use kinds::{Activation, Mode, Norm, Stem};
pub use loss::Loss;
pub use model::Model;
pub use network::Network;
pub use ops::moments::BatchMoments;
pub use precision::Precision;
pub use scope::Scope;
pub use specs::{Init, Specs};
pub use statistics::RunningStatistics;
pub use tape::pullback::{MeanLoss, Pullback, PullbackAlong};
pub use tensor_file::TensorFile;
pub use value::Value;
