//! Training runs and flatness measurements as a library, without a terminal.
//!
//! A program trains by `Run::new(config)?.train(&mut observer)?`; see [`Run`].
//!
//! Settings ([`settings`]) become data, model and optimizer ([`parts`]). A [`Run`] trains them and writes its files ([`store`]).
//! Measures ([`measure`]) are taken of the trained model. A [`Ui`] shows progress, a [`signal`] stops the work. Several
//! processes may share a run out: its [`ranks`].

#![forbid(unsafe_code)]

mod device;
pub mod measure;
pub mod parts;
pub mod ranks;
mod run;
pub mod settings;
pub mod signal;
pub mod store;
mod ui;
mod usage;
pub mod value;

pub use device::{DeviceChoice, Opened};
pub use run::{
    End, Ended, Measured, Observer, Plan, Run, RunState, Silent, SubspaceSpent, Summary, Target, Trainer, measure_along,
};
pub use settings::config::RunConfig;
pub use ui::{Bar, Gauge, Reading, Screen, Shown, Standings, Ui};
pub use usage::{BadFlag, Usage, check_svg, flags_of, usage};
