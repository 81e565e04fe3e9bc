//! CUDA kernels without a GPU: their sources, compiled for the host and carried out with the launches that a device gets, give
//! the values of the CPU's operations; and nvrtc, where its library is there, accepts every one of them.
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

mod draw;
mod gather;
#[allow(unsafe_code)]
mod host;
mod norm;
mod norm_tangent;
mod nvrtc;
mod pointwise;
mod pool;
mod scalar;
mod softmax;
mod vector;
