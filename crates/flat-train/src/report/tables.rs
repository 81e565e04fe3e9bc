//! The tables of the runs: what differs, what they came to, what was measured of them, what they ran on.

use super::cell::varied;
use super::measured::{Document, Measured, Number};
use super::run::Run;
use super::sheet::Sheet;
use super::summary::{Standing, Summary};
use super::table::with;
use flat_run::measure::{self, TraceRecord};
use flat_run::store::Point;
use flat_run::value::{percent, short, wilson};
use maud::{Markup, Render, html};

/// The settings that are not the same in all of the runs, one row each; `None` where there are none.
pub(super) fn differences(runs: &[Run], cells: &[usize]) -> Option<Markup> {
    let mut keys = varied(&runs.iter().collect::<Vec<_>>());
    if runs.iter().any(|run| run.seed() != runs[0].seed()) {
        keys.push("seed");
    }
    let mut sheet = Sheet::new(runs, cells);
    for key in &keys {
        sheet.column(key, |run| run.setting(key));
    }
    (!keys.is_empty()).then(|| sheet.html())
}

/// What the runs came to.
pub(super) fn results(runs: &[Run], cells: &[usize]) -> Markup {
    let mut sheet = Sheet::new(runs, cells);
    let mut now = |name: &str, cell: &dyn Fn(&Run, &Standing) -> Option<Markup>| {
        sheet.column(name, |run| cell(run, &Standing::of(run.summary.as_ref(), &run.journal)));
    };
    fn end<R: Render>(cell: impl Fn(&Summary) -> Option<R>) -> impl Fn(&Run, &Standing) -> Option<Markup> {
        move |run, _| Some(cell(run.summary.as_ref()?)?.render())
    }
    now("state", &|run, s| match &run.summary {
        Some(summary) => Some(summary.state.as_deref().unwrap_or("finished").render()),
        None => Some(with("in progress", &format!("at step {}, numbers so far", s.steps))),
    });
    now("test accuracy", &|run, s| {
        let accuracy = s.test_accuracy?;
        let interval = run.test_images(accuracy).map(|n| wilson(accuracy, n));
        Some(with(&percent(accuracy), &interval.map_or(String::new(), percents)))
    });
    now("test loss", &|_, s| Some(short(s.test_loss?).render()));
    now("best test accuracy on the way", &|_, s| Some(percent(s.best_test_accuracy?).render()));
    now("validation accuracy", &|run, s| {
        let (accuracy, n) = (s.val_accuracy?, run.setting("validation")?.parse().ok()?);
        Some(with(&percent(accuracy), &percents(wilson(accuracy, n))))
    });
    now("validation loss", &|_, s| Some(short(s.val_loss?).render()));
    now("best validation accuracy on the way", &|_, s| Some(percent(s.best_val_accuracy?).render()));
    now("train accuracy", &end(|s| s.train_accuracy.map(percent)));
    now("train loss", &end(|s| s.train_loss.map(short)));
    now("Hessian trace", &|_, s| number(s.trace.as_ref()?.value, s.trace.as_ref()?.interval));
    now("trace from", &|_, s| Some(taken_from(s.trace.as_ref()?)?.render()));
    now("||gradient|| there", &|_, s| Some(short(s.trace.as_ref()?.read::<TraceRecord>().ok()?.grad_norm?).render()));
    for along in measure::along().filter(|along| along.name != "trace") {
        now(&lower(along.title), &|run, _| {
            let point = run.journal.last(along.name)?;
            number(point.value, point.interval)
        });
    }
    now("steps", &|_, s| Some(s.steps.render()));
    now("gradient evaluations", &|_, s| Some(format!("{:.0}", s.evals?).render()));
    now("perturbed steps", &|run, s| {
        let perturbed = s.perturbed.filter(|_| run.perturbs())?;
        Some(with(&perturbed.to_string(), &format!("of {}", s.steps)))
    });
    now("skipped steps", &end(|s| Some(s.skipped_steps)));
    now("seconds", &end(|s| s.wall_s.map(|w| format!("{w:.1}"))));
    now("warnings", &end(|s| (!s.warnings.is_empty()).then(|| s.warnings.join("; "))));
    sheet.html()
}

/// What was measured of the runs afterwards: a heading and a table a file name, then the files that do not read; `None`
/// where no run has such a file.
pub(super) fn measured(runs: &[Run], cells: &[usize]) -> Option<Markup> {
    if runs.iter().all(|run| run.measured.is_empty()) {
        return None;
    }
    let mut names: Vec<(&str, &str)> = Vec::new();
    for (file, document) in runs.iter().flat_map(found) {
        if !names.contains(&(file, document.measure.as_str())) {
            names.push((file, &document.measure));
        }
    }
    let unread = |run: &Run| {
        let why = |file: &Measured| {
            Some((format!("{}/metrics/{}", run.path, file.file), file.documents.as_ref().err()?.clone()))
        };
        run.measured.iter().filter_map(why).collect::<Vec<_>>()
    };
    Some(html! {
        @for (file, measure) in names {
            h3 { (measure) " " small { (file) } }
            (measurement(runs, cells, file, measure))
        }
        @for (path, why) in runs.iter().flat_map(unread) {
            p class="note" { code { (path) } " " (why) "." }
        }
    })
}

/// The table of one measure in the files of one name.
fn measurement(runs: &[Run], cells: &[usize], file: &str, measure: &str) -> Markup {
    let mut sheet = Sheet::new(runs, cells);
    let mut quantities: Vec<&str> = Vec::new();
    for number in runs.iter().filter_map(|run| document(run, file, measure)).flat_map(|d| &d.numbers) {
        if !quantities.contains(&number.name.as_str()) {
            quantities.push(&number.name);
        }
    }
    for name in quantities {
        sheet.column(name, |run| {
            let found: &Number = document(run, file, measure)?.numbers.iter().find(|n| n.name == name)?;
            number(found.value, found.interval)
        });
    }
    sheet.column("on", |run| Some(&document(run, file, measure)?.on));
    sheet.column("more in the file", |run| Some(document(run, file, measure)?.more).filter(|more| *more > 0));
    sheet.column("ended", |run| Some(&document(run, file, measure)?.stopped_by));
    sheet.html()
}

/// The measurements beside a run, each with the name of its file.
fn found(run: &Run) -> impl Iterator<Item = (&str, &Document)> {
    run.measured.iter().flat_map(|m| m.documents.iter().flatten().map(|d| (m.file.as_str(), d)))
}

/// The measurement of a name in a file beside a run.
fn document<'a>(run: &'a Run, file: &str, measure: &str) -> Option<&'a Document> {
    found(run).find(|(name, document)| *name == file && document.measure == measure).map(|(_, document)| document)
}

/// What the runs ran on.
pub(super) fn environment(runs: &[Run], cells: &[usize]) -> Markup {
    let mut sheet = Sheet::new(runs, cells);
    let mut said = |name: &str, of_summary: fn(&Summary) -> String, key: &str| {
        sheet.column(name, |run| run.summary.as_ref().map(of_summary).or_else(|| run.setting(key).map(str::to_string)));
    };
    said("device", |s| s.device.clone(), "device");
    said("element type", |s| s.dtype.clone(), "dtype");
    said("seed", |s| s.seed.to_string(), "seed");
    sheet.column("version of flat-train", |run| run.version());
    sheet.column("data set", |run| run.setting("dataset"));
    sheet.column("model", |run| run.setting("model"));
    sheet.column("parameters", |run| Some(run.summary.as_ref()?.dim));
    sheet.column("optimizer", |run| match &run.summary {
        Some(s) if s.base == s.optimizer => Some(s.optimizer.clone()),
        Some(s) => Some(format!("{} over {}", s.optimizer, s.base)),
        None => Some(run.method().to_string()),
    });
    sheet.column("folder", |run| Some(html! { code { (run.path) } }));
    sheet.html()
}

/// The random vectors and images that a trace was found from.
fn taken_from(trace: &Point) -> Option<String> {
    let record = trace.read::<TraceRecord>().ok()?;
    let counts = [(record.trace.probes, "probes"), (record.examples, "images")];
    let words: Vec<String> = counts.iter().filter_map(|(count, what)| Some(format!("{} {what}", (*count)?))).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// A number with its interval.
fn number(value: Option<f64>, interval: Option<[f64; 2]>) -> Option<Markup> {
    Some(with(&short(value?), &interval.map_or(String::new(), ends)))
}

fn ends([low, high]: [f64; 2]) -> String {
    format!("{} to {}", short(low), short(high))
}

fn percents([low, high]: [f64; 2]) -> String {
    format!("{:.2} to {:.2}", 100.0 * low, 100.0 * high)
}

/// A title within a row's head.
fn lower(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}
