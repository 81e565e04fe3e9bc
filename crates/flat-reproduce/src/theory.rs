//! The theorems of Ahn, Jadbabaie & Sra (2024, arXiv 2305.15659) on functions whose minima, flow and trace are known.
//! The study finds where the algorithms end, how long they take over eps and over D, and how fast they drift. It also
//! follows the way along a manifold of minima in up to 10^5 dimensions.

mod bowl;
mod crosscheck;
mod drift;
mod ends;
mod figures;
mod fit;
mod holes;
mod landscape;
mod manifold;
mod sparse;
mod sweep;
mod tables;
#[cfg(test)]
mod tests;
mod valley;
mod walk;
mod words;

use crate::args::ReproduceArgs;
use crate::markdown::Page;
use crate::recipe::Scales;
use crate::study::Study;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Its sizes, grids, seeds and recipes.
pub(crate) const FILE: &str = include_str!("../studies/theory.toml");

/// All that was found.
#[derive(Debug, Serialize)]
struct Findings {
    ends: Vec<ends::End>,
    sweeps: Vec<sweep::Swept>,
    crosschecks: Vec<crosscheck::Check>,
    drifts: Vec<drift::Drifts>,
    manifold: Vec<manifold::Run>,
}

/// The study's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scales: Scales<Plan>,
}

/// What the study does at a scale.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    /// Walks of every place and of every end.
    seeds: u64,
    ends: Vec<ends::Case>,
    drift: drift::Places,
    manifold: manifold::Places,
    sweeps: Vec<sweep::Sweep>,
}

/// Runs the study; `None` where a signal asked to stop.
pub(crate) fn run(study: &mut Study<'_>, args: &ReproduceArgs) -> Result<Option<(Page, Value)>> {
    let mut file: File = study.settings()?;
    let plan = file.scales.at(args.scale)?;
    let lines: Vec<sweep::Line> = plan.sweeps.iter().map(sweep::Sweep::line).collect();
    let (seed, places) = (args.seed, lines.iter().map(|l| l.places.len()).sum::<usize>());
    let cells = plan.ends.len() * walk::Algorithm::ALL.len() + places + crosscheck::CELLS;
    study.plan(cells + plan.drift.settings(seed).len() + plan.manifold.settings(seed).len());
    let ends = ends::run(study, &plan.ends, plan.seeds)?;
    let drifts = drift::run(study, &plan.drift)?;
    let crosschecks = crosscheck::run(study)?;
    let sweeps = study.all(lines, |study, line| sweep::run(study, line, plan.seeds))?;
    let manifold = manifold::run(study, &plan.manifold)?;
    let (Some(ends), Some(drifts), Some(crosschecks), Some(sweeps), Some(manifold)) =
        (ends, drifts, crosschecks, sweeps, manifold)
    else {
        return Ok(None);
    };
    let findings = Findings { ends, sweeps, crosschecks, drifts, manifold };
    let page = holes::page(&findings, args.scale, plan.seeds, study.root())?;
    Ok(Some((page, serde_json::to_value(&findings)?)))
}
