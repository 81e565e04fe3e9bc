//! `flat-train reproduce`.

use super::print;
use crate::exit::Outcome;
use anyhow::Result;
use clap::ValueEnum;
use flat_reproduce::{Made, Provenance, ReproduceArgs, Study};
use flat_run::{Ui, signal, usage};
use std::path::PathBuf;

/// Makes or continues the study and prints its tables.
pub(super) fn run(args: &ReproduceArgs, ui: Ui, json: bool) -> Result<Outcome> {
    if !args.name.has_parts() && !args.parts.is_empty() {
        return Err(usage("--part has no effect here: it needs the reproduction escape or canon"));
    }
    signal::leaves("what was finished is kept, and the same command goes on");
    let name = args.name.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default();
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("runs/reproduce-{name}-{}", args.scale)));
    let of = Provenance::of(name, args.scale, args.seed, args.study.clone()).with_parts(args.parts.clone());
    let mut study = Study::open(&out, of, flat_reproduce::file(args)?, ui)?;
    let (page, results) = match flat_reproduce::run(&mut study, args)? {
        Made::Whole(found) => found,
        Made::ByFirst => return Ok(Outcome::Done),
        Made::Interrupted => {
            ui.say(format!("stopped; the same command with --out {} goes on", out.display()));
            return Ok(Outcome::Interrupted);
        }
    };
    let whole = study.finish(&page, &results)?;
    print(json, &whole, || format!("{}\n{}", page.summary(), out.join("results.md").display()))
}
