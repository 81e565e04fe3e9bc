//! Plots of measures: the names of their files and what stands above them.

use anyhow::Result;
use flat_plot::Heading;
use flat_run::measure::card::Card;
use flat_run::usage::usage;
use std::path::Path;

/// Refuses what is no name of an SVG file, before any work is spent.
///
/// # Errors
/// A usage error that names the flag.
pub fn check_name(flag: &str, file: &Path) -> Result<()> {
    match file.extension().and_then(|e| e.to_str()) {
        Some(e) if e.eq_ignore_ascii_case("svg") => Ok(()),
        _ => Err(usage(format!("{flag} {}: plots are SVG, name a file that ends in .svg", file.display()))),
    }
}

/// What stands above the plot of a measure: where it was taken, and its notes.
pub fn heading(card: &Card) -> Heading {
    Heading { caption: card.caption(), notes: card.notes.clone() }
}
