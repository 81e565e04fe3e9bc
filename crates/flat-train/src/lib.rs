//! The `flat-train` command line tool: flags as typed ([`args`]), one file a subcommand ([`command`]), and what a terminal
//! shows. What a run and a measurement are is in `flat-run`, the papers' studies in `flat-reproduce`.

pub mod args;
pub mod bench;
pub mod command;
mod company;
mod driver;
mod events;
mod exit;
pub mod heap;
mod interrupt;
mod news;
pub mod report;
pub mod runtime;
mod ui;
mod view;
