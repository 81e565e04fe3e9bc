//! Searches over the settings of training runs: grids and random draws, in processes that share the cores.
//!
//! A [`Study`] says what varies ([`Axis`], [`Sampler`]), what stays, the seeds and the [`Budget`]. It resolves to [`Cell`]s before
//! anything runs. A [`Sweep`] is a folder in which every cell runs once a seed and is kept; an interrupted one goes on. What
//! the runs come to is a [`Board`]: means over the seeds with intervals, ranked on validation images alone.
//!
//! ```no_run
//! use flat_run::Ui;
//! use flat_sweep::{Axis, Jobs, Study, Sweep, seeds, this_program};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut study = Study { seeds: seeds("0..5")?, ..Study::default() };
//! study.vary(Axis::parse("optimizer=sgd,sam")?);
//! study.vary(Axis::parse("lr=0.02,0.05,0.1")?);
//! // a program that takes the subcommands `train` and `eval` of flat-train
//! let program = this_program()?;
//! let jobs = |runs, gpu| Jobs::choose(program, None, 2, runs, gpu);
//! let board = Sweep::open(study, "runs/sweep".as_ref(), jobs, Ui::NONE)?.run()?;
//! println!("{:?}", board.best().map(|row| &row.settings));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod axis;
mod board;
mod budget;
mod cell;
mod halving;
mod held;
mod jobs;
mod known;
mod outcome;
mod ranking;
mod record;
mod results;
mod sampler;
mod seeds;
mod select;
mod spread;
mod standing;
mod store;
mod study;
mod sweep;
mod table;

pub use axis::Axis;
pub use board::{Board, Failure, Row};
pub use budget::Budget;
pub use cell::{Cell, cells};
pub use halving::Halving;
pub use jobs::Jobs;
pub use record::{Record, State};
pub use sampler::{How, Sampler};
pub use seeds::seeds;
pub use select::Select;
pub use spread::Spread;
pub use study::Study;
pub use sweep::{Sweep, this_program};
