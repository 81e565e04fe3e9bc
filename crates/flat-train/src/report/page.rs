//! The page: its frame and the order of its parts.

use super::chart::{Chart, Series, swatch};
use super::curve::{AT_MOST, Curve};
use super::html::{escape, table};
use super::panel::{Panel, panels};
use super::run::Run;
use super::study::{Plot, StudyPage};
use super::sweep::SweepPage;
use super::tables;
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");
/// What a browser may do with the page: show it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
/// Hues in the style; further runs are told apart by dashes and marks.
const HUES: usize = 8;
const DASHES: [&str; 4] = ["none", "7 3", "2 2.5", "9 3 2 3"];

/// The whole page.
pub(super) fn html(runs: &[Run], sweeps: &[SweepPage], studies: &[StudyPage]) -> String {
    let title = title(runs, sweeps, studies);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}{}</style>\n</head>\n<body>\n<header>\n\
         <label class=\"theme\"><input type=\"checkbox\" id=\"theme\"> switch light and dark</label>\n<h1>{title}</h1>\n\
         <p>{}. Written by flat-train {}.</p>\n</header>\n<main>\n",
        style_of(runs),
        contents(runs, sweeps, studies),
        env!("CARGO_PKG_VERSION")
    );
    if !runs.is_empty() {
        of_runs(runs, &mut out);
    }
    for sweep in sweeps {
        of_sweep(sweep, &mut out);
    }
    for study in studies {
        of_study(study, &mut out);
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn title(runs: &[Run], sweeps: &[SweepPage], studies: &[StudyPage]) -> String {
    match (runs, sweeps, studies) {
        ([run], [], []) => format!("Run {}", escape(&run.name)),
        ([], [sweep], []) => format!("Sweep {}", escape(&sweep.name)),
        ([], [], [study]) => escape(&study.title),
        _ => "Report of flat-train".into(),
    }
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

/// Colour, dashes and visibility of each run.
fn style_of(runs: &[Run]) -> String {
    (0..runs.len())
        .map(|i| {
            let (hue, dash) = (i % HUES, DASHES[(i + i / HUES) % DASHES.len()]);
            format!(
                ".s{i}{{--c:var(--c{hue});--d:{dash}}}\n:root:has(#r{i}:not(:checked)) .chart .s{i}{{display:none}}\n"
            )
        })
        .collect()
}

fn of_runs(runs: &[Run], out: &mut String) {
    if runs.len() > 1 {
        out.push_str("<section>\n<h2>What differs</h2>\n");
        out.push_str(
            &tables::differences(runs).unwrap_or_else(|| "<p>Nothing: the settings are the same.</p>\n".into()),
        );
        out.push_str("</section>\n");
    }
    let _ = write!(
        out,
        "<section>\n<h2>Results</h2>\n{}<p class=\"note\">Small figures are 95 % intervals. That of an accuracy is Wilson's, for the \
         choice of test images; that of a trace is of its probes. An eigenvalue lies within ± of the largest one given, which is \
         the last measured along the run. The best accuracy on the way was chosen by the test images and is no estimate.</p>\n</section>\n",
        tables::results(runs)
    );
    of_curves(runs, out);
    let _ = write!(out, "<section>\n<h2>Environment</h2>\n{}", tables::environment(runs));
    for run in runs {
        let _ = write!(
            out,
            "<details><summary>All settings of {}</summary>\n<pre class=\"scroll\" tabindex=\"0\">{}</pre>\n</details>\n",
            escape(&run.name),
            escape(&run.config)
        );
    }
    out.push_str("</section>\n");
}

fn of_curves(runs: &[Run], out: &mut String) {
    out.push_str(
        "<section>\n<h2>Along the runs</h2>\n<div class=\"legend\" role=\"group\" aria-label=\"runs shown\">\n",
    );
    for (i, run) in runs.iter().enumerate() {
        let name = escape(&run.name);
        let _ = writeln!(
            out,
            "<label><input type=\"checkbox\" id=\"r{i}\" checked>{}<span>{name}</span></label>",
            swatch(i)
        );
    }
    out.push_str("</div>\n<div class=\"charts\">\n");
    let (mut any, mut thinned) = (false, false);
    for (id, panel) in panels().iter().enumerate().filter(|(_, panel)| !panel.by_cost || costs_differ(runs)) {
        let series = series(runs, panel);
        if series.is_empty() {
            continue;
        }
        any = true;
        thinned |= series.iter().any(|s| s.curve.of > s.curve.points.len());
        let band = panel.band.map_or(String::new(), |band| format!("<small>Band: {band}.</small>"));
        let chart = Chart { title: panel.title, along: panel.along, series }.svg(id);
        let _ = write!(out, "<figure>\n<figcaption><h3>{}</h3>{band}</figcaption>\n{chart}</figure>\n", panel.title);
    }
    out.push_str("</div>\n");
    if !any {
        out.push_str("<p>Nothing has been logged yet.</p>\n");
    }
    if thinned {
        let _ = writeln!(
            out,
            "<p class=\"note\">Of a curve with more than {AT_MOST} points the smallest and the largest of equal parts are drawn.</p>"
        );
    }
    out.push_str("</section>\n");
}

fn series<'a>(runs: &'a [Run], panel: &Panel) -> Vec<Series<'a>> {
    let one = |(run, r): (usize, &'a Run)| {
        let points = panel.points(&r.journal);
        (!points.is_empty()).then(|| Series { run, name: &r.name, curve: Curve::new(points) })
    };
    runs.iter().enumerate().filter_map(one).collect()
}

/// Whether a step of one run costs more gradients than that of another.
fn costs_differ(runs: &[Run]) -> bool {
    let cost = |run: &Run| Some(run.journal.evals()? / run.journal.last_step().max(1) as f64);
    let costs: Vec<f64> = runs.iter().filter_map(cost).collect();
    costs.iter().any(|c| (c - costs[0]).abs() > 1e-6 * costs[0].abs())
}

fn of_study(study: &StudyPage, out: &mut String) {
    let _ = write!(
        out,
        "<section>\n<h2>{}</h2>\n<p>Folder <code>{}</code>, made by <code>flat-train reproduce {}</code>, \
         version {}.</p>\n",
        escape(&study.title),
        escape(&study.path),
        escape(&study.provenance.words()),
        escape(&study.provenance.version)
    );
    if !study.finished {
        out.push_str("<p>In progress: it has no results.json yet.</p>\n");
    }
    for t in &study.tables {
        let columns: Vec<String> = t.columns.iter().map(|c| escape(c)).collect();
        let rows: Vec<Vec<String>> = t.rows.iter().map(|row| row.iter().map(|cell| escape(cell)).collect()).collect();
        out.push_str(&table(&t.caption, &columns, &rows));
    }
    study.figures.iter().for_each(|plot| figure(plot, out));
    out.push_str("</section>\n");
}

fn of_sweep(sweep: &SweepPage, out: &mut String) {
    let (board, name) = (&sweep.board, escape(&sweep.name));
    let _ = write!(out, "<section>\n<h2>Sweep {name}</h2>\n<p>Folder <code>{}</code>.</p>\n", escape(&sweep.path));
    if !board.complete {
        out.push_str("<p>In progress: not all of its runs have ended.</p>\n");
    }
    let (heads, rows) = board.columns();
    let columns: Vec<String> = heads.iter().map(|head| escape(head)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| escape(cell)).collect()).collect();
    out.push_str(&table("Leaderboard: means over the seeds ± standard deviation [95 % interval].", &columns, &rows));
    out.push_str("<ul class=\"note\">\n");
    let failed = board.failures.iter().map(|f| format!("failed: {} seed {}: {}", f.cell, f.seed, f.why));
    for line in failed.chain(board.notes.iter().cloned()).chain([board.describe()]) {
        let _ = writeln!(out, "<li>{}</li>", escape(&line));
    }
    out.push_str("</ul>\n");
    sweep.figures.iter().for_each(|plot| figure(plot, out));
    out.push_str("</section>\n");
}

fn figure(plot: &Plot, out: &mut String) {
    let caption = escape(&plot.caption);
    let _ = write!(
        out,
        "<figure class=\"plot\">\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"plot\"><img src=\"{}\" alt=\"{caption}\"></div>\n<figcaption>{caption}</figcaption>\n</figure>\n",
        plot.address
    );
}
