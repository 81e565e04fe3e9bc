//! The values of the holes in the prose.

use super::claim::{Seen, Verdict};
use super::{Case, File, Outcome, Plan, tables};
use crate::flags::Flags;
use crate::markdown::Page;
use crate::network::network;
use crate::prose::{Holes, Prose};
use crate::scale::Scale;
use anyhow::{Context, Result};

pub(super) fn page(
    scale: Scale,
    file: &File,
    plan: &Plan,
    outcomes: &[Outcome<'_>],
    verdicts: &[Verdict],
) -> Result<Page> {
    let prose = Prose::new(include_str!("../../studies/canon.md"), scale);
    let first = outcomes.first().context("the scale has no case")?;
    let reference = file.methods.first().context("the study has no method")?;
    let run = reference.base(&file.flags, first.case, None).config()?.with_effect()?;
    let mut of_cases = Vec::new();
    for outcome in outcomes {
        let holes = Holes::default()
            .text("case", describe(outcome.case, file)?)
            .table("ends", tables::ends(outcome))
            .table("differences", tables::differences(outcome));
        of_cases.extend(prose.fragment("case", holes)?);
    }
    let left_out = file.left_out.iter().map(|l| format!("- {}: {}.", l.rules.join(", "), l.reason));
    let holes = Holes::default()
        .flags(&run, &["momentum", "weight-decay", "schedule"])
        .text("reference", &reference.name)
        .text("methods", file.methods.len())
        .text("seeds", plan.seeds)
        .text("probes", crate::margin::PROBES)
        .text("ratio", file.about.ratio)
        .text("points", file.about.points)
        .text("left-out", left_out.collect::<Vec<_>>().join("\n"))
        .text("in-short", in_short(verdicts))
        .table("claims", tables::claims(verdicts))
        .blocks("cases", of_cases)
        .table("trials", tables::trials(outcomes));
    prose.page(holes)
}

fn describe(case: &Case, file: &File) -> Result<String> {
    let [train, validation, test] = case.images;
    let batch: f64 = Flags::from(file.flags.under(&case.flags).config()?.with_effect()?).needed("batch-size")?;
    Ok(format!(
        "{}: {} on the first {train} training images of {} in batches of {batch}, {} gradient evaluations a run. The search \
         holds {validation} of these images out, {}. {test} test images; the Hessian is of the first {} training images.",
        case.key,
        network(&case.flags),
        case.flags.text("dataset").unwrap_or_default(),
        case.evals,
        seeds(case.search_seeds),
        case.curvature
    ))
}

fn seeds(count: u64) -> String {
    if count == 1 { "1 seed a setting".into() } else { format!("{count} seeds a setting") }
}

/// The claims by what is seen of them.
fn in_short(verdicts: &[Verdict]) -> String {
    let with = |seen: &dyn Fn(Seen) -> bool| -> String {
        let all = verdicts.iter().filter(|v| seen(v.seen)).map(|v| {
            let how = match v.seen {
                Seen::Lower | Seen::Higher => format!(": {}", v.seen.words()),
                _ => String::new(),
            };
            format!("{} ({}, {}{how})", v.claim, v.case, v.number.short_name())
        });
        let all: Vec<String> = all.collect();
        if all.is_empty() { "nothing".into() } else { all.join("; ") }
    };
    let other = |seen| matches!(seen, Seen::NoInterval | Seen::Missing);
    let mut lines = vec![
        format!("- Seen: {}.", with(&|s| matches!(s, Seen::Yes | Seen::Lower | Seen::Higher))),
        format!("- Not seen, but the contrary: {}.", with(&|s| s == Seen::Contrary)),
        format!("- Cannot be told apart: {}.", with(&|s| s == Seen::Undecided)),
    ];
    if verdicts.iter().any(|v| other(v.seen)) {
        lines.push(format!("- No answer, for want of runs: {}.", with(&other)));
    }
    lines.join("\n")
}
