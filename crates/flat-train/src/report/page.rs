//! The page: its frame and the order of its parts.

use super::cell::Cell;
use super::chart::{Chart, Series, swatch};
use super::curve::{AT_MOST, Curve};
use super::export::CAPTION;
use super::html::{escape, table};
use super::panel::{Panel, panels};
use super::ranking::{Ranking, Row};
use super::run::Run;
use super::scatter;
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
    let Content { runs, sweeps, studies, .. } = *content;
    let title = escape(content.title);
    let refresh = content.refresh.map(|s| format!("<meta http-equiv=\"refresh\" content=\"{s}\">\n"));
    let note = content.note.map(|note| format!("<p class=\"told\">{}</p>\n", escape(note)));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n{}\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}{}</style>\n</head>\n<body>\n<header>\n\
         <label class=\"theme\"><input type=\"checkbox\" id=\"theme\"> switch light and dark</label>\n<h1>{title}</h1>\n\
         {}<p>{}. Written by flat-train {}.</p>\n</header>\n<main>\n",
        refresh.unwrap_or_default(),
        style_of(content.cells),
        note.unwrap_or_default(),
        contents(runs, sweeps, studies),
        env!("CARGO_PKG_VERSION")
    );
    if !runs.is_empty() {
        of_runs(content, &mut out);
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

fn of_runs(content: &Content<'_>, out: &mut String) {
    let Content { runs, cells, .. } = *content;
    let cell_of = |run: usize| cells.iter().position(|cell| cell.runs.contains(&run)).unwrap_or_default();
    let places: Vec<usize> = (0..runs.len()).map(cell_of).collect();
    if let Some(ranking) = content.ranking {
        of_ranking(ranking, out);
    }
    if runs.len() > 1 {
        out.push_str("<section>\n<h2>What differs</h2>\n");
        out.push_str(
            &tables::differences(runs, &places)
                .unwrap_or_else(|| "<p>Nothing: the settings are the same.</p>\n".into()),
        );
        out.push_str("</section>\n");
    }
    let _ = write!(
        out,
        "<section>\n<h2>Results</h2>\n{}<p class=\"note\">Small figures are 95 % intervals. That of an accuracy is Wilson's, for the \
         choice of test images; that of a trace is of its probes. An eigenvalue lies within ± of the largest one given, which is \
         the last measured along the run. The best accuracy on the way was chosen by the test images and is no estimate.</p>\n</section>\n",
        tables::results(runs, &places)
    );
    let measured = tables::measured(runs, &places);
    if !measured.is_empty() {
        let _ = write!(out, "<section>\n<h2>Measured afterwards</h2>\n{measured}</section>\n");
    }
    of_curves(content, &places, out);
    let _ = write!(out, "<section>\n<h2>Environment</h2>\n{}", tables::environment(runs, &places));
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

fn of_ranking(ranking: &Ranking, out: &mut String) {
    let Some((first, others)) = ranking.verdict.split_first() else { return };
    let _ = write!(
        out,
        "<section class=\"ranking\">\n<h2>Who won</h2>\n<p class=\"verdict\"><strong>{}</strong> {}</p>\n",
        escape(first),
        escape(&others.join(" "))
    );
    let (heads, rows) = ranking.table();
    let cell = |cell: &String| match cell.split_once(" [") {
        Some((mean, ends)) => format!("{} <small>[{}</small>", escape(mean), escape(ends)),
        None => escape(cell),
    };
    let row = |(row, cells): (&Row, &Vec<String>)| -> Vec<String> {
        let cells = cells.iter().enumerate();
        cells
            .map(|(i, text)| if i == 0 { format!("{}{}", swatch(row.cell), escape(text)) } else { cell(text) })
            .collect()
    };
    let rows: Vec<Vec<String>> = ranking.rows.iter().zip(&rows).map(row).collect();
    out.push_str(&table(CAPTION, &heads, &rows));
    out.push_str("<ul class=\"note\">\n");
    for note in &ranking.notes {
        let _ = writeln!(out, "<li>{}</li>", escape(note));
    }
    out.push_str("</ul>\n");
    if let (Some(chart), Some(metric)) = (scatter::svg(ranking), ranking.metric) {
        let _ = write!(
            out,
            "<figure class=\"scatter\">\n<figcaption><h3>{metric}, percent, against the trace</h3>\
             <small>Means of the settings with 95 % intervals.</small></figcaption>\n{chart}</figure>\n"
        );
    }
    out.push_str("</section>\n");
}

fn of_curves(content: &Content<'_>, places: &[usize], out: &mut String) {
    let Content { runs, cells, .. } = *content;
    out.push_str(
        "<section>\n<h2>Along the runs</h2>\n<div class=\"legend\" role=\"group\" aria-label=\"runs shown\">\n",
    );
    for (i, cell) in cells.iter().enumerate() {
        let name = match cell.runs[..] {
            [run] => escape(&runs[run].name),
            _ => format!("{} <small>{} runs</small>", escape(&cell.name), cell.runs.len()),
        };
        let _ = writeln!(
            out,
            "<label><input type=\"checkbox\" id=\"r{i}\" checked>{}<span>{name}</span></label>",
            swatch(i)
        );
    }
    out.push_str("</div>\n<div class=\"charts\">\n");
    let (mut any, mut thinned) = (false, false);
    for (id, panel) in panels().iter().enumerate().filter(|(_, panel)| !panel.by_cost || costs_differ(runs)) {
        let series = series(runs, places, panel);
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

fn series<'a>(runs: &'a [Run], places: &[usize], panel: &Panel) -> Vec<Series<'a>> {
    let one = |(run, cell): (&'a Run, &usize)| {
        let points = panel.points(&run.journal);
        (!points.is_empty()).then(|| Series { cell: *cell, name: &run.name, curve: Curve::new(points) })
    };
    runs.iter().zip(places).filter_map(one).collect()
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
        let rows: Vec<Vec<String>> = t.rows.iter().map(|row| row.iter().map(|cell| escape(cell)).collect()).collect();
        out.push_str(&table(&t.caption, &t.columns, &rows));
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
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| escape(cell)).collect()).collect();
    out.push_str(&table("Leaderboard: means over the seeds ± standard deviation [95 % interval].", &heads, &rows));
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
