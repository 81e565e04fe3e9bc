//! Kernels of the CPU, over slices. Work is cut by sizes alone and partial sums are added in order, so that results have the
//! same bits for any number of threads.

pub mod bf16;
mod block;
mod buffer;
pub mod channel;
mod channel_last;
pub mod conv;
pub mod direct;
mod lanes;
pub mod matrix;
pub mod max_pool;
pub mod norm;
pub mod normal;
pub mod pointwise;
mod reduce;
pub mod softmax;
mod transpose;
pub mod vector;
pub mod winograd;
mod word;
