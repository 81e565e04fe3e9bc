//! Reproductions: each of the papers' results by one command, from scratch.
//!
//! A reproduction is a [`Study`]: a folder of cells, each computed once and kept, so that an interrupted study goes on where
//! it stopped; what the cells come to is a [`Page`] of text, tables and plots beside the numbers it was made of. Sizes, grids,
//! seeds and recipes are in `studies/NAME.toml`, the words of the page in `studies/NAME.md`.

#![forbid(unsafe_code)]

mod args;
mod bad_minimum;
mod canon;
mod comparison;
mod defaults;
mod escape;
mod flags;
mod flatness_network;
mod groups;
mod images;
mod interval;
mod late_sam;
mod margin;
mod markdown;
mod network;
mod paired;
mod prose;
mod provenance;
mod recipe;
mod sam_vs_sgd;
mod scale;
mod scratch;
mod study;
mod theory;
mod tiny_subspace;
mod training;

pub use args::{ReproduceArgs, ReproductionName};
pub use markdown::{Page, Table};
pub use provenance::Provenance;
pub use scale::Scale;
pub use study::{Made, Study};

use anyhow::{Context, Result};
use serde_json::Value;

/// The text of a study's file: the user's own, else the one that this crate has.
///
/// # Errors
/// The user's cannot be read.
pub fn file(args: &ReproduceArgs) -> Result<String> {
    match &args.study {
        Some(file) => {
            flat_core::file::read_text(file).with_context(|| format!("cannot read --study {}", file.display()))
        }
        None => Ok(match args.name {
            ReproductionName::Defaults => defaults::FILE,
            ReproductionName::Theory => theory::FILE,
            ReproductionName::Escape => escape::FILE,
            ReproductionName::LateSam => late_sam::FILE,
            ReproductionName::SamVsSgd => sam_vs_sgd::FILE,
            ReproductionName::Groups => groups::FILE,
            ReproductionName::TinySubspace => tiny_subspace::FILE,
            ReproductionName::Canon => canon::FILE,
            ReproductionName::FlatnessNetwork => flatness_network::FILE,
        }
        .into()),
    }
}

/// Computes what a study still lacks and writes its page. Each study says what it costs; ranks share its cells out.
///
/// # Errors
/// Those of the study: data that are not there, a full disk.
pub fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Made<(Page, Value)>> {
    study.make(|study| ask(study, args))
}

/// What the cells of a study come to; `None` while some are to be computed yet.
fn ask(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    match args.name {
        ReproductionName::Defaults => defaults::run(study, args),
        ReproductionName::Theory => theory::run(study, args),
        ReproductionName::Escape => escape::run(study, args),
        ReproductionName::LateSam => late_sam::run(study, args),
        ReproductionName::SamVsSgd => sam_vs_sgd::run(study, args),
        ReproductionName::Groups => groups::run(study, args),
        ReproductionName::TinySubspace => tiny_subspace::run(study, args),
        ReproductionName::Canon => canon::run(study, args),
        ReproductionName::FlatnessNetwork => flatness_network::run(study, args),
    }
}
