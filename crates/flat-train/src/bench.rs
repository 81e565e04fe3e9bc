//! Timing of training steps over devices, models, optimizers and batch sizes.

mod alone;
mod axis;
mod bandwidth;
mod cell;
mod compare;
mod energy;
mod environment;
mod memory;
mod network;
mod peak;
mod roof;
mod scaling;
mod table;
mod timing;

pub use alone::Part;
pub use axis::{Axis, Variant, blocks, family};
pub use bandwidth::Bandwidth;
pub use cell::{Cell, Place, untimed};
pub use compare::{Comparison, Verdict, compare};
pub use energy::Meter;
pub use environment::Environment;
pub(crate) use environment::processor;
pub use memory::{Memory, host_peak_mib, of_cell};
pub use network::{Prediction, RankedCell, RanksReport, measure_ranks};
pub use peak::Peak;
pub use roof::{Bound, Roof};
pub use scaling::{Allowed, Burst, Exponent, Point, ScalingReport};
pub use table::{BenchReport, Rates, Row};
pub use timing::{Timing, around_median};
