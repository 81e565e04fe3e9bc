//! Black-box tests of the whole: the command line tool on the MNIST in `data/`, and the numbers of the papers and of
//! PyTorch. What a single crate promises is tested in that crate.
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

mod accuracy;
mod bench;
mod bf16;
mod book;
mod bundle;
mod canon;
mod canon_small;
mod choices;
mod cli;
mod columns;
mod coverage;
mod damage;
mod dependencies;
mod device;
mod emulated;
mod epochs;
mod fetch;
mod flatness;
mod foreign;
mod groups;
mod honest;
mod interrupted;
mod json;
mod kept;
mod library;
mod log;
mod lost;
mod names;
mod other_data;
mod parity;
mod report;
mod report_ranking;
mod reproduce_escape;
mod reproduce_study;
mod reproduce_theory;
mod reproducible;
mod resume;
mod spectrum;
mod sweep;
mod tool;
mod untrusted;
mod verbose;
mod view;
mod words;
