//! The values of the holes in the prose: tables, plots and computed sentences.

use super::Findings;
use super::crosscheck::EPS;
use super::figures::draw;
use super::manifold::BLOCKS;
use super::tables::{crosschecks, drifts, ends, manifold, places, rates};
use super::walk::DELTA;
use super::words::{others, plain_steps, start_ratio, verdict};
use crate::markdown::Page;
use crate::prose::{Holes, Prose};
use crate::scale::Scale;
use anyhow::Result;
use std::path::Path;

/// The page, with its plots drawn into the folder.
pub(super) fn page(found: &Findings, scale: Scale, seeds: u64, folder: &Path) -> Result<Page> {
    let verdicts: Vec<String> = found.sweeps.iter().filter_map(verdict).collect();
    let holes = Holes::default()
        .text("delta", DELTA)
        .table("ends", ends(&found.ends))
        .table("rates", rates(found, seeds))
        .text("verdicts", verdicts.join("\n"))
        .text("plain-steps", plain_steps(found))
        .text("others", others(found))
        .table("places", places(found)?)
        .table("crosschecks", crosschecks(found))
        .text("check-eps", EPS)
        .text("check-slope", format!("{:.3}", EPS.sqrt()))
        .table("drifts", drifts(found))
        .text("blocks", BLOCKS)
        .text("twice-blocks", 2 * BLOCKS)
        .text("start-ratio", start_ratio(found))
        .table("manifold", manifold(found))
        .blocks("figures", draw(found, folder)?);
    Prose::new(include_str!("../../studies/theory.md"), scale).page(holes)
}
