//! CUDA kernels of the flat-minima crates: their sources, what a launch of them looks like, and, with the feature `cuda`,
//! how they are compiled and launched.
//!
//! - [`ALL`]: the sources, complete texts in CUDA C++ without includes; [`Recurrence`] writes one more for every
//!   element-wise recurrence.
//! - [`norm`], [`pool`], [`softmax`], [`vector`]: the launches of an operation, as plain data made from addresses and sizes.
//! - `device` (feature `cuda`): compiles a source by nvrtc when it is first needed, and launches.
//!
//! Sources and launches know nothing of a device. The tests compile the same sources for the host, with threads as fibers,
//! and carry out the same launches there: kernels, arguments and grids are checked for values without a GPU.
//!
//! ```
//! use flat_cuda::{Launch, Real, softmax::softmax};
//!
//! // addresses of logits and probabilities, on whatever device
//! let launch = softmax(Real::F32, 8, 10, 0x1000, 0x2000);
//! assert_eq!(launch, Launch { kernel: "softmax_f32".into(), grid: [8, 1], args: vec![0x1000, 0x2000, 10] });
//! ```

#[cfg(feature = "cuda")]
pub mod device;
mod launch;
pub mod norm;
pub mod pool;
pub mod softmax;
pub mod vector;

pub use launch::{ALL, BLOCK, CHUNK, Launch, NORM, POOL, PRELUDE, Real, SOFTMAX, Source, VECTOR, chunks};
pub use vector::{Recurrence, Table};
