//! Black-box tests of the whole: the command line tool on the MNIST in `data/`, and the numbers of the papers and of
//! PyTorch. What a single crate promises is tested in that crate.

mod accuracy;
mod cli;
mod coverage;
mod flatness;
mod parity;
mod report;
mod reproducible;
mod resume;
mod spectrum;
mod tool;
