//! Optimizers that look for flat minima, over [candle](candle_core) autograd.
//!
//! # The decomposition
//!
//! Every method here is
//!
//! > a **gradient rule** x a **base optimizer** x **schedules**, over an **oracle**.
//!
//! * A [`GradientRule`] turns one or more gradients near theta into one surrogate gradient. It is what a paper
//!   contributes: its body is the paper's pseudo-code in [`ParamVec`] algebra, and it knows no tensor, variable or
//!   device. [`Plain`], [`Sam`], [`Rsp`], [`Sap`], [`Nso`].
//! * A [`BaseOptimizer`] decides what to do with a gradient: [`Sgd`], [`AdamW`], equal to PyTorch's to the last few bits,
//!   [`ScheduleFree`], [`ScheduleFreeAdamW`].
//! * A [`Schedule`] gives the learning rate, or the perturbation radius, of a step: [`ScheduleConfig`].
//! * The [`Oracle`] alone touches the model. It evaluates the [`Objective`] at theta and near it, puts theta back bit for
//!   bit even after an error or a panic, counts evaluations, splits batches, and refuses NaN.
//!
//! [`Optimizer`] ties them together; [`RULES`] and [`BASES`] hold the parts by name, for a choice at run time.
//!
//! # The objective
//!
//! An objective is any closure from a [`Query`] to the mean loss, whose graph reaches the variables in [`Params`]. One
//! that knows single examples (for [`Sap`]) and parts of the batch (for micro-batches and m-sharpness) is wrapped in
//! [`WithRows`], or implements [`Objective`]. Here is a linear model trained with the randomly smoothed perturbation of
//! Ahn, Jadbabaie and Sra:
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use flat_optim::{Optimizer, Params, Query, Rsp, Sgd, WithRows};
//!
//! # fn main() -> flat_optim::Result<()> {
//! // four examples of y = 2 x1 - x2
//! let x = Tensor::new(&[[1.0f64, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, -1.0]], &Device::Cpu)?;
//! let y = Tensor::new(&[[2.0f64], [-1.0], [1.0], [5.0]], &Device::Cpu)?;
//! let w = Var::from_tensor(&Tensor::new(&[[0.0f64], [0.0]], &Device::Cpu)?)?;
//!
//! let params = Params::new([("w".to_string(), w.clone())])?;
//! let mut loss = WithRows::new(4, |q: Query| {
//!     let rows = q.rows.range(4).map_err(candle_core::Error::wrap)?;
//!     let (x, y) = (x.narrow(0, rows.start, rows.len())?, y.narrow(0, rows.start, rows.len())?);
//!     (x.matmul(&w)? - y)?.sqr()?.mean_all()
//! });
//!
//! let mut optimizer = Optimizer::new(&params, Rsp::new(0.01), Sgd::new(0.1).momentum(0.0))?;
//! let mut last = f64::INFINITY;
//! for _ in 0..200 {
//!     last = optimizer.step(&mut loss)?.loss;
//! }
//! assert!(last < 1e-3);
//! assert_eq!(optimizer.evals(), 400.0); // two gradients a step
//! # Ok(())
//! # }
//! ```
//!
//! # What holds whatever the parts are
//!
//! * **One update of the running statistics a step.** [`Query::update_stats`] is true for exactly one evaluation, the
//!   first; with micro-batches, for the first micro-batch. A model with `candle_nn::BatchNorm`, which cannot obey, is
//!   wrapped in [`WithBuffers`].
//! * **Evaluations are the currency.** [`StepReport::evals`] and [`Optimizer::evals`] count gradients of a whole batch, so
//!   that methods are compared at equal cost: a single example counts 1/rows.
//! * **Nothing half done.** A step whose loss or gradient is not finite is skipped whole and reported; too many in a row
//!   are an error.
//! * **Draws are keyed** by (seed, purpose, step): no generator has a state to save, and [`Optimizer::state`] with the
//!   parameters is all that a resumed run needs to go on bit for bit.
//! * **Weight decay belongs to the base**: it is taken at theta and has no part in a perturbation.
//!
//! # Devices
//!
//! On a device other than the CPU the numbers of a step (losses, norms, factors) stay there, as [`Scalar`]s:
//! [`Optimizer::launch`] queues a step and returns without waiting, [`Optimizer::read`] fetches the reports of many steps
//! in one transfer, and [`Optimizer::step`] is both. Whether everything was finite is decided on the device too, which
//! keeps or undoes the step. Two things need a number on the host, one round trip a step each: a finite gate of [`Rsp`]
//! or [`Sap`], and the length of [`Sap`]'s sample gradient, which may be zero.
//!
//! # Add a rule
//!
//! One file `src/rule/<name>.rs` and one line of `rules!` in `src/rule.rs`; CONTRIBUTING.md tells how. A rule need not live in
//! this crate: [`Builder::rule`] takes any [`GradientRule`].

// a step waits for no device: clippy.toml
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]
#![forbid(unsafe_code)]

mod average;
mod base;
mod buffers;
mod builder;
mod closures;
mod compose;
mod error;
mod objective;
mod optimizer;
mod oracle;
mod parameter_groups;
mod pending;
mod ranked;
mod rule;
mod schedule;
mod spec;
mod state;
mod subspace;
mod team;
mod then;
mod undo;

pub use average::{Average, Averaging};
pub use base::*;
pub use buffers::WithBuffers;
pub use builder::Builder;
pub use closures::{WithLosses, WithRows};
pub use compose::{Every, PerPart, Phases};
pub use error::{Error, Result};
pub use flat_comm::{self, Ranks};
pub use flat_core::{
    self, Entry, Layout, Number, ParamVec, Params, Purpose, Scalar, Space, Stream, Streams, Update, is_buffer,
};
pub use objective::{Batch, Need, Objective, Query, Rows, Sample};
pub use optimizer::Optimizer;
pub use oracle::Oracle;
pub use parameter_groups::{Group, Groups, Masks};
pub use pending::{PendingStep, StepReport};
pub use ranked::Ranked;
pub use rule::*;
pub use schedule::{
    Constant, Cosine, Exponential, FollowLr, Milestones, RadiusSchedule, Schedule, ScheduleConfig, ScheduleShape,
    Steps, Warmup, Window,
};
pub use spec::Spec;
pub use state::{StateVisitor, Stateful};
pub use subspace::{Account, Subspace};
pub use team::Team;
pub use then::{Keep, Then};
