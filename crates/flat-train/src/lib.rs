//! Train image classifiers with any flat-minima optimizer and measure the flatness of what came out: the library behind
//! the `flat-train` command line tool.
//!
//! Flags as typed ([`args`]) become a validated, serialisable configuration ([`config`]), which [`setup`] turns into data,
//! model and optimizer for the [`trainer`]; [`command`] holds one file a subcommand.

mod along;
pub mod args;
pub mod bench;
pub mod card;
mod check;
pub mod checkpoint;
pub mod choice;
pub mod command;
pub mod config;
pub mod curvature;
pub mod device;
pub mod evaluate;
pub mod every;
mod exact;
pub mod exit;
mod fingerprint;
pub mod flatness;
mod hidden;
pub mod journal;
pub mod layers;
mod line;
mod number;
pub mod objective;
mod parts;
mod perturbed;
mod pixels;
pub mod plot;
mod relevance;
pub mod report;
pub mod reproduce;
pub mod run_dir;
pub mod runtime;
mod score;
pub mod setup;
pub mod signal;
mod statistics;
pub mod subject;
pub mod summary;
pub mod text;
pub mod trace_settings;
mod trace_summary;
pub mod trainer;
pub mod ui;
pub mod weights;
mod which;
