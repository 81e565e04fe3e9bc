//! The page: its frame and the order of its parts.

use super::cell::Cell;
use super::export::CAPTION;
use super::panel::{Panel, panels};
use super::prose::prose;
use super::ranking::{Ranking, Row};
use super::run::Run;
use super::scatter;
use super::study::StudyPage;
use super::sweep::SweepPage;
use super::table::{plain, table, with};
use super::tables;
use flat_plot::{Curve, Inline, Track, swatch};
use flat_run::value::short;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");
/// What a browser may do with the page: show it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
/// Hues in the style; further runs are told apart by dashes and marks.
const HUES: usize = 8;
const DASHES: [&str; 4] = ["none", "7 3", "2 2.5", "9 3 2 3"];

/// What a page shows.
pub(super) struct Content<'a> {
    pub title: &'a str,
    pub note: Option<&'a str>,
    /// Seconds after which a browser reads it again.
    pub refresh: Option<u64>,
    pub runs: &'a [Run],
    pub cells: &'a [Cell],
    pub ranking: Option<&'a Ranking>,
    pub sweeps: &'a [SweepPage],
    pub studies: &'a [StudyPage],
}

/// The whole page.
pub(super) fn html(content: &Content<'_>) -> String {
    let Content { title, runs, sweeps, studies, .. } = *content;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                @if let Some(seconds) = content.refresh { meta http-equiv="refresh" content=(seconds); }
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(style_of(content.cells))) }
            }
            body {
                header {
                    label class="theme" { input type="checkbox" id="theme"; " switch light and dark" }
                    h1 { (title) }
                    @if let Some(note) = content.note { p class="told" { (note) } }
                    p { (contents(runs, sweeps, studies)) ". Written by flat-train " (env!("CARGO_PKG_VERSION")) "." }
                }
                main {
                    @if !runs.is_empty() { (of_runs(content)) }
                    @for sweep in sweeps { (of_sweep(sweep)) }
                    @for study in studies { (of_study(study)) }
                }
            }
        }
    };
    legible(&page.into_string())
}

/// Control characters, and those that turn the direction of what follows, would let a name pose as another: they are
/// replaced.
fn legible(page: &str) -> String {
    let replaced = |c: char| match c {
        '\n' | '\t' => c,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    page.chars().map(replaced).collect()
}

fn contents(runs: &[Run], sweeps: &[SweepPage], studies: &[StudyPage]) -> String {
    let count = |n: usize, one: &str| match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {one}s")),
    };
    [count(runs.len(), "run"), count(sweeps.len(), "sweep"), count(studies.len(), "reproduction")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

/// Colour, dashes and visibility of each cell.
fn style_of(cells: &[Cell]) -> String {
    (0..cells.len())
        .map(|i| {
            let (hue, dash) = (i % HUES, DASHES[(i + i / HUES) % DASHES.len()]);
            format!(
                ".s{i}{{--c:var(--c{hue});--d:{dash}}}\n:root:has(#r{i}:not(:checked)) .chart .s{i}{{display:none}}\n"
            )
        })
        .collect()
}

fn of_runs(content: &Content<'_>) -> Markup {
    let Content { runs, cells, .. } = *content;
    let cell_of = |run: usize| cells.iter().position(|cell| cell.runs.contains(&run)).unwrap_or_default();
    let places: Vec<usize> = (0..runs.len()).map(cell_of).collect();
    html! {
        @if let Some(ranking) = content.ranking { (of_ranking(ranking)) }
        @if runs.len() > 1 {
            section {
                h2 { "What differs" }
                @if let Some(table) = tables::differences(runs, &places) {
                    (table)
                } @else {
                    p { "Nothing: the settings are the same." }
                }
            }
        }
        section {
            h2 { "Results" }
            (tables::results(runs, &places))
            p class="note" {
                "Small figures are 95 % intervals. That of an accuracy is Wilson's, for the choice of test images; \
                 that of a trace is of its probes. An eigenvalue lies within ± of the largest one given, which is \
                 the last measured along the run. The best accuracy on the way was chosen by the test images and \
                 is no estimate."
            }
        }
        @if let Some(measured) = tables::measured(runs, &places) {
            section {
                h2 { "Measured afterwards" }
                (measured)
                @for run in runs.iter().filter(|run| !run.plots.is_empty()) {
                    h3 { (run.name) }
                    @for plot in &run.plots { (plot.figure()) }
                }
            }
        }
        (of_curves(content, &places))
        section {
            h2 { "Environment" }
            (tables::environment(runs, &places))
            @for run in runs {
                details {
                    summary { "All settings of " (run.name) }
                    pre class="scroll" tabindex="0" { (run.config) }
                }
            }
        }
    }
}

fn of_ranking(ranking: &Ranking) -> Markup {
    let (first, others) = ranking.verdict.split_first().map(|(a, b)| (a.as_str(), b)).unwrap_or_default();
    let (heads, rows) = ranking.table();
    let cell = |text: &String| match text.split_once(" [") {
        Some((mean, ends)) => with(mean, &format!("[{ends}")),
        None => with(text, ""),
    };
    let row = |(row, cells): (&Row, &Vec<String>)| -> Vec<Markup> {
        let name = |text: &String| html! { (swatch(row.cell)) (text) };
        cells.iter().take(1).map(name).chain(cells.iter().skip(1).map(cell)).collect()
    };
    let rows: Vec<Vec<Markup>> = ranking.rows.iter().zip(&rows).map(row).collect();
    html! {
        section class="ranking" {
            h2 { "Who won" }
            p class="verdict" { strong { (first) } " " (others.join(" ")) }
            (table(CAPTION, &heads, &rows))
            ul class="note" { @for note in &ranking.notes { li { (note) } } }
            @if let (Some(chart), Some(metric)) = (scatter::svg(ranking), ranking.metric) {
                figure class="scatter" {
                    figcaption {
                        h3 { (metric) ", percent, against the trace" }
                        small { "Means of the settings with 95 % intervals." }
                    }
                    (chart)
                }
            }
        }
    }
}

fn of_curves(content: &Content<'_>, places: &[usize]) -> Markup {
    let Content { runs, cells, .. } = *content;
    let wanted = panels().into_iter().filter(|panel| !panel.by_cost || costs_differ(runs));
    let drawn: Vec<(Panel, Vec<Track<'_>>)> = wanted
        .map(|panel| (tracks(runs, places, &panel), panel))
        .filter(|(tracks, _)| !tracks.is_empty())
        .map(|(tracks, panel)| (panel, tracks))
        .collect();
    let thinned = drawn.iter().flat_map(|(_, tracks)| tracks).any(|t| t.curve.of > t.curve.points.len());
    let nothing = drawn.is_empty();
    html! {
        section {
            h2 { "Along the runs" }
            div class="legend" role="group" aria-label="runs shown" {
                @for (i, cell) in cells.iter().enumerate() {
                    label {
                        input type="checkbox" id={ "r" (i) } checked;
                        (swatch(i))
                        span {
                            @if let [run] = cell.runs[..] {
                                (runs[run].name)
                            } @else {
                                (with(&cell.name, &format!("{} runs", cell.runs.len())))
                            }
                        }
                    }
                }
            }
            div class="charts" {
                @for (id, (panel, tracks)) in drawn.into_iter().enumerate() {
                    figure {
                        figcaption {
                            h3 { (panel.title) }
                            @if let Some(band) = panel.band { small { "Band: " (band) "." } }
                        }
                        (Inline { title: panel.title, along: panel.along, tracks, number: short }.svg(id))
                    }
                }
            }
            @if nothing { p { "Nothing has been logged yet." } }
            @if thinned {
                p class="note" {
                    "Of a curve with more than " (Curve::AT_MOST)
                    " points the smallest and the largest of equal parts are drawn."
                }
            }
        }
    }
}

fn tracks<'a>(runs: &'a [Run], places: &[usize], panel: &Panel) -> Vec<Track<'a>> {
    let one = |(run, cell): (&'a Run, &usize)| {
        let points = panel.points(&run.journal);
        (!points.is_empty()).then(|| Track { class: *cell, name: &run.name, curve: Curve::new(points) })
    };
    runs.iter().zip(places).filter_map(one).collect()
}

/// Whether a step of one run costs more gradients than that of another.
fn costs_differ(runs: &[Run]) -> bool {
    let cost = |run: &Run| Some(run.journal.evals()? / run.journal.last_step().max(1) as f64);
    let costs: Vec<f64> = runs.iter().filter_map(cost).collect();
    costs.iter().any(|c| (c - costs[0]).abs() > 1e-6 * costs[0].abs())
}

fn of_study(study: &StudyPage) -> Markup {
    html! {
        section {
            h2 { (study.title) }
            p {
                "Folder " code { (study.path) } ", made by " code { "flat-train reproduce " (study.provenance.words()) }
                ", version " (study.provenance.version) "."
            }
            @if !study.finished { p { "In progress: it has no results.json yet." } }
            @if let Some(text) = &study.prose {
                (prose(text, &study.figures))
            } @else {
                @for t in &study.tables { (plain(&t.caption, &t.columns, &t.rows)) }
                @for plot in &study.figures { (plot.figure()) }
            }
        }
    }
}

fn of_sweep(sweep: &SweepPage) -> Markup {
    let board = &sweep.board;
    let (heads, rows) = board.columns();
    let failed = board.failures.iter().map(|f| format!("failed: {} seed {}: {}", f.cell, f.seed, f.why));
    html! {
        section {
            h2 { "Sweep " (sweep.name) }
            p { "Folder " code { (sweep.path) } "." }
            @if !board.complete { p { "In progress: not all of its runs have ended." } }
            (plain("Leaderboard: means over the seeds ± standard deviation [95 % interval].", &heads, &rows))
            ul class="note" {
                @for line in failed.chain(board.notes.iter().cloned()).chain([board.describe()]) { li { (line) } }
            }
            @for plot in &sweep.figures { (plot.figure()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_turns_the_direction_of_what_follows_or_hides() {
        assert_eq!(legible("a\u{0}b\u{202e}c\u{1b}\n\td"), "a\u{fffd}b\u{fffd}c\u{fffd}\n\td");
    }
}
