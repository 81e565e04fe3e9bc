//! Train image classifiers with any flat-minima optimizer and measure the flatness of what came out, as a library: no
//! terminal, no process to end.
//!
//! [`Run`] is the door: `Run::new(config)?.train(&mut observer)?`.
//!
//! Settings ([`settings`]) become data, model and optimizer ([`parts`]); a run ([`run`]) trains them and leaves its files
//! ([`store`]); measures ([`measure`]) look at what came out. A [`ui`] hears how far things are, a [`signal`] stops them.

#![forbid(unsafe_code)]

mod device;
pub mod measure;
pub mod parts;
mod run;
pub mod settings;
pub mod signal;
pub mod store;
mod ui;
mod usage;
pub mod value;

pub use device::{DeviceChoice, Opened};
pub use run::{End, Ended, Measured, Observer, Run, RunState, Silent, SubspaceSpent, Summary, Trainer, measure_along};
pub use settings::config::RunConfig;
pub use ui::{Bar, Gauge, Screen, Ui};
pub use usage::{BadFlag, Usage, check_svg, flags_of, usage};
