//! CUDA kernels as sources and descriptions of launches. The feature `cuda` adds their compilation and launching.
//!
//! - [`launch`]: the sources, complete texts in CUDA C++ without includes, and a launch as plain data.
//! - [`mod@draw`], [`gather`], [`norm`], [`norm_tangent`], [`max_pool`], [`pointwise`], [`scalar`], [`softmax`], [`vector`]: the launches of an operation, made from addresses and sizes.
//!   [`vector::Recurrence`] writes one more source for every element-wise recurrence.
//! - `device` (feature `cuda`): compiles a source by nvrtc when it is first needed, and launches.
//! - `sent` (feature `cuda`): tables and constants, of which a device keeps a copy.
//! - `layers`, `tangents`, `fused`, `losses`, `elements`, `examples`, `parameters` (feature `cuda`), `conv` (feature `cudnn`): the same operations on candle's storage.
//!
//! Sources and launches know nothing of a device. The tests compile the same sources for the host, with threads as fibers,
//! and carry out the same launches there: kernels, arguments and grids are checked for values without a GPU.
//!
//! ```
//! use flat_kernels::cuda::launch::{Launch, Real};
//! use flat_kernels::cuda::softmax::softmax;
//!
//! // addresses of logits and probabilities, on whatever device
//! let launch = softmax(Real::F32, 8, 10, 0x1000, 0x2000);
//! assert_eq!(launch, Launch { kernel: "softmax_f32".into(), grid: [8, 1], args: vec![0x1000, 0x2000, 10] });
//! ```

#[cfg(feature = "cudnn")]
pub mod conv;
#[cfg(feature = "cuda")]
pub mod device;
pub mod draw;
#[cfg(feature = "cuda")]
pub mod elements;
#[cfg(feature = "cuda")]
pub mod examples;
#[cfg(feature = "cuda")]
pub mod fused;
pub mod gather;
pub mod launch;
#[cfg(feature = "cuda")]
pub mod layers;
#[cfg(feature = "cuda")]
pub mod losses;
pub mod max_pool;
pub mod norm;
pub mod norm_tangent;
#[cfg(feature = "cuda")]
pub mod parameters;
pub mod pointwise;
pub mod scalar;
#[cfg(feature = "cuda")]
pub mod sent;
pub mod softmax;
#[cfg(feature = "cuda")]
pub mod tangents;
pub mod vector;
#[cfg(feature = "cuda")]
pub mod words;
