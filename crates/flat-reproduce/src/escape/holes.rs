//! The values of the holes in the prose: tables, plots and computed sentences.

use super::asked::asked;
use super::compare::rows;
use super::figures::figures;
use super::part::{File, Part};
use super::tables::{ablations, headline, margins, minima, search};
use super::words::{correlation, in_short, limits, moved, why};
use super::{FITTED, Outcome};
use crate::margin::PROBES;
use crate::markdown::{Block, Page};
use crate::prose::{Holes, Prose};
use crate::scale::Scale;
use crate::study::Study;
use anyhow::Result;

/// The page of the study.
pub(super) fn page(study: &Study<'_>, scale: Scale, file: &File, parts: &[Part], outcomes: &[Outcome]) -> Result<Page> {
    let prose = Prose::new(include_str!("../../studies/escape.md"), scale);
    let (mut about, mut searches) = (Vec::new(), Vec::new());
    for (outcome, part) in outcomes.iter().zip(parts) {
        about.extend(prose.fragment("part", of_part(study, file, part, outcome)?)?);
        let holes = Holes::default().table("trials", search(outcome)).text("remarks", joined(&part.remarks));
        searches.extend(prose.fragment("search", holes)?);
    }
    let holes = Holes::default()
        .flags(&file.flags.config()?.with_effect()?, &["schedule", "momentum", "weight-decay", "batch-size"])
        .text("fitted", 100.0 * FITTED)
        .text("probes", PROBES)
        .text("in-short", in_short(file, outcomes))
        .table("minima", minima(outcomes))
        .blocks("parts", about)
        .blocks("searches", searches)
        .text("limits", limits(outcomes));
    prose.page(holes)
}

fn of_part(study: &Study<'_>, file: &File, part: &Part, outcome: &Outcome) -> Result<Holes> {
    let rows = rows(outcome);
    let curvature = match part.curvature == part.images[0] {
        true => "all training images".to_string(),
        false => format!("the first {} training images", part.curvature),
    };
    let settle = match part.settle {
        0 => String::new(),
        steps => format!(
            "Every run, SGD's too, ends with {steps} steps of plain SGD at the rate that the bad minimum was made with: \
             Algorithm 2 ends with a phase of plain descent, and it brings all methods to comparable training losses."
        ),
    };
    let (correlation, runs) = correlation(outcome);
    let variants = if outcome.variants.is_empty() { Vec::new() } else { vec![Block::Table(ablations(outcome, part))] };
    Ok(Holes::default()
        .text("title", &outcome.title)
        .images(part.images)
        .text("seeds", part.seeds)
        .text("curvature", curvature)
        .text("evals", part.evals)
        .text("search-evals", part.search_evals)
        .text("settle", settle)
        .table("headline", headline(outcome, &rows))
        .blocks("margins", margins(&rows).map(Block::Table).into_iter().collect())
        .text("moved", moved(file, &rows))
        .text("why", why(part))
        .text("runs", runs)
        .text("correlation", correlation)
        .table("measures", asked(file, &rows)?)
        .blocks("figures", figures(study.root(), file, outcome)?)
        .blocks("ablations", variants))
}

fn joined(remarks: &str) -> String {
    match remarks.is_empty() {
        true => String::new(),
        false => {
            format!("Earlier trials, not repeated here: {}", remarks.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}
