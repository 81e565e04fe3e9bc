//! What every crate of the workspace shares: random streams, parameter layouts, parameters and vectors over them.
//! [`Streams`] are keyed by seed, purpose and index. A [`Layout`] says where each parameter lies in a flat vector.
//! [`Params`] are candle variables sorted by name. A [`ParamVec`] is a point or direction in parameter space, in one
//! flat buffer.
//!
//! A gradient rule is algebra on `ParamVec`s; only `Params` touches candle variables. An [`Update`] is an element-wise
//! recurrence that [`Params::update`] carries out on the variables and on vectors of state, in one pass over memory. With the
//! feature `cuda` a CUDA device does all of this in a few launches for all parameters: a kernel of every recurrence is
//! written from the same expression ([`recurrence`]).
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! use flat_core::{ParamVec, Params, Purpose, Streams};
//!
//! # fn main() -> flat_core::Result<()> {
//! let w = Var::from_tensor(&Tensor::new(&[[3.0f64, 0.0], [0.0, 4.0]], &Device::Cpu)?)?;
//! let params = Params::new([("w".to_string(), w)])?;
//! let theta = params.read()?;
//! assert_eq!(theta.norm()?, 5.0);
//! let u = ParamVec::sphere(params.space(), &Streams::new(0).at(Purpose::Perturb, 1))?;
//! assert!((u.norm()? - 1.0).abs() < 1e-12);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
// a step waits for no device: clippy.toml
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod algebra;
mod choice;
mod error;
pub mod file;
mod layout;
pub mod memory;
pub mod name;
mod params;
mod restore;
mod rng;
mod role;
mod scalar;
pub mod setting;
mod spare;
mod vector;
mod whole;

pub use choice::{Choice, Item};
pub use error::{Error, Result};
pub use flat_kernels::{Number, Update, recurrence};
pub use layout::{Entry, Layout, Space};
pub use params::{Params, is_buffer};
pub use restore::Restore;
pub use rng::{Place, Purpose, Stream, Streams, Table};
pub use role::Role;
pub use scalar::{Scalar, or_zero};
pub use vector::{Lent, ParamVec, Shown};
