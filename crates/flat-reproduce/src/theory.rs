//! The theorems of Ahn, Jadbabaie & Sra (2024, arXiv 2305.15659) on functions whose minima, flow and trace are known: where the
//! algorithms end, how long they take over eps and over D, how fast they drift, and the way along a manifold of minima in
//! up to 10^5 dimensions.

mod bowl;
mod crosscheck;
mod drift;
mod ends;
mod figures;
mod fit;
mod landscape;
mod manifold;
mod page;
mod sparse;
mod sweep;
#[cfg(test)]
mod tests;
mod valley;
mod walk;

use super::{Page, Study};
use crate::args::ReproduceArgs;
use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

/// All that was found.
#[derive(Debug, Serialize)]
struct Findings {
    ends: Vec<ends::End>,
    sweeps: Vec<sweep::Swept>,
    crosschecks: Vec<crosscheck::Check>,
    drifts: Vec<drift::Drifts>,
    manifold: Vec<manifold::Run>,
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study, _args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let (scale, seed) = (study.provenance().scale, study.provenance().seed);
    let lines = sweep::lines(scale);
    let places: usize = lines.iter().map(|l| l.places.len()).sum();
    let cells = 2 * walk::Algorithm::ALL.len() + places + 2;
    study.plan(cells + drift::settings(scale, seed).len() + manifold::settings(scale, seed).len());
    let Some(ends) = ends::run(study)? else { return Ok(None) };
    let Some(drifts) = drift::run(study)? else { return Ok(None) };
    let Some(crosschecks) = crosscheck::run(study)? else { return Ok(None) };
    let mut sweeps = Vec::new();
    for line in lines {
        match sweep::run(study, line)? {
            Some(swept) => sweeps.push(swept),
            None => return Ok(None),
        }
    }
    let Some(manifold) = manifold::run(study)? else { return Ok(None) };
    let findings = Findings { ends, sweeps, crosschecks, drifts, manifold };
    let mut page = page::page(&findings, scale)?;
    figures::draw(&mut page, &findings, study.root())?;
    Ok(Some((page, serde_json::to_value(&findings)?)))
}
