//! The tables of the runs: what differs, what they came to, what was measured of them, what they ran on.

use super::cell::varied;
use super::html::escape;
use super::measured::{Document, Number};
use super::run::Run;
use super::sheet::Sheet;
use super::summary::{Standing, Summary};
use flat_run::measure::{self, TraceRecord};
use flat_run::store::Point;
use flat_run::value::{percent, short, wilson};

/// The settings that are not the same in all of the runs, one row each; `None` where there are none.
pub(super) fn differences(runs: &[Run], cells: &[usize]) -> Option<String> {
    let mut keys = varied(&runs.iter().collect::<Vec<_>>());
    if runs.iter().any(|run| run.seed() != runs[0].seed()) {
        keys.push("seed");
    }
    let mut sheet = Sheet::new(runs, cells);
    for key in &keys {
        sheet.column(key, |run| run.setting(key).map(escape));
    }
    (!keys.is_empty()).then(|| sheet.html())
}

/// What the runs came to.
pub(super) fn results(runs: &[Run], cells: &[usize]) -> String {
    let mut sheet = Sheet::new(runs, cells);
    let mut now = |name: &str, cell: &dyn Fn(&Run, &Standing) -> Option<String>| {
        sheet.column(name, |run| cell(run, &Standing::of(run.summary.as_ref(), &run.journal)));
    };
    fn end(cell: impl Fn(&Summary) -> Option<String>) -> impl Fn(&Run, &Standing) -> Option<String> {
        move |run, _| run.summary.as_ref().and_then(&cell)
    }
    now("state", &|run, s| match &run.summary {
        Some(summary) => Some(escape(summary.state.as_deref().unwrap_or("finished"))),
        None => Some(with("in progress", &format!("at step {}, numbers so far", s.steps))),
    });
    now("test accuracy", &|run, s| {
        let accuracy = s.test_accuracy?;
        let interval = run.test_images(accuracy).map(|n| wilson(accuracy, n));
        Some(with(&percent(accuracy), &interval.map_or(String::new(), percents)))
    });
    now("test loss", &|_, s| s.test_loss.map(short));
    now("best test accuracy on the way", &|_, s| s.best_test_accuracy.map(percent));
    now("validation accuracy", &|run, s| {
        let (accuracy, n) = (s.val_accuracy?, run.setting("validation")?.parse().ok()?);
        Some(with(&percent(accuracy), &percents(wilson(accuracy, n))))
    });
    now("validation loss", &|_, s| s.val_loss.map(short));
    now("best validation accuracy on the way", &|_, s| s.best_val_accuracy.map(percent));
    now("train accuracy", &end(|s| s.train_accuracy.map(percent)));
    now("train loss", &end(|s| s.train_loss.map(short)));
    now("Hessian trace", &|_, s| s.trace.as_ref().and_then(|t| number(t.value, t.interval)));
    now("trace from", &|_, s| s.trace.as_ref().and_then(taken_from));
    now("||gradient|| there", &|_, s| {
        s.trace.as_ref().and_then(|t| t.read::<TraceRecord>().ok()?.grad_norm).map(short)
    });
    for along in measure::along().filter(|along| along.name != "trace") {
        now(&lower(along.title), &|run, _| {
            let point = run.journal.last(along.name)?;
            number(point.value, point.interval)
        });
    }
    now("steps", &|_, s| Some(s.steps.to_string()));
    now("gradient evaluations", &|_, s| s.evals.map(|e| format!("{e:.0}")));
    now("perturbed steps", &|run, s| {
        let perturbed = s.perturbed.filter(|_| run.perturbs())?;
        Some(with(&perturbed.to_string(), &format!("of {}", s.steps)))
    });
    now("skipped steps", &end(|s| Some(s.skipped_steps.to_string())));
    now("seconds", &end(|s| s.wall_s.map(|w| format!("{w:.1}"))));
    now("warnings", &end(|s| (!s.warnings.is_empty()).then(|| escape(&s.warnings.join("; ")))));
    sheet.html()
}

/// What was measured of the runs afterwards: a heading and a table a file name, then the files that do not read.
pub(super) fn measured(runs: &[Run], cells: &[usize]) -> String {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for (file, document) in runs.iter().flat_map(found) {
        if !names.contains(&(file, document.measure.as_str())) {
            names.push((file, &document.measure));
        }
    }
    let mut out = String::new();
    for (file, measure) in names {
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
        sheet.column("on", |run| Some(escape(&document(run, file, measure)?.on)));
        sheet.column("more in the file", |run| {
            let more = document(run, file, measure)?.more;
            (more > 0).then(|| more.to_string())
        });
        sheet.column("ended", |run| Some(escape(&document(run, file, measure)?.stopped_by)));
        out.push_str(&format!("<h3>{} <small>{}</small></h3>\n{}", escape(measure), escape(file), sheet.html()));
    }
    for run in runs {
        for file in &run.measured {
            if let Err(why) = &file.documents {
                let path = format!("{}/metrics/{}", run.path, file.file);
                out.push_str(&format!("<p class=\"note\"><code>{}</code> {}.</p>\n", escape(&path), escape(why)));
            }
        }
    }
    out
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
pub(super) fn environment(runs: &[Run], cells: &[usize]) -> String {
    let mut sheet = Sheet::new(runs, cells);
    let mut said = |name: &str, of_summary: fn(&Summary) -> String, key: &str| {
        sheet.column(name, |run| {
            let said = run.summary.as_ref().map(of_summary).or_else(|| run.setting(key).map(str::to_string));
            said.map(|text| escape(&text))
        });
    };
    said("device", |s| s.device.clone(), "device");
    said("element type", |s| s.dtype.clone(), "dtype");
    said("seed", |s| s.seed.to_string(), "seed");
    sheet.column("version of flat-train", |run| run.version().map(escape));
    sheet.column("data set", |run| run.setting("dataset").map(escape));
    sheet.column("model", |run| run.setting("model").map(escape));
    sheet.column("parameters", |run| run.summary.as_ref().map(|s| s.dim.to_string()));
    sheet.column("optimizer", |run| match &run.summary {
        Some(s) if s.base == s.optimizer => Some(escape(&s.optimizer)),
        Some(s) => Some(escape(&format!("{} over {}", s.optimizer, s.base))),
        None => Some(escape(run.method())),
    });
    sheet.column("folder", |run| Some(format!("<code>{}</code>", escape(&run.path))));
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
fn number(value: Option<f64>, interval: Option<[f64; 2]>) -> Option<String> {
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

/// A value and, smaller, what belongs to it.
fn with(value: &str, small: &str) -> String {
    if small.is_empty() { escape(value) } else { format!("{} <small>{}</small>", escape(value), escape(small)) }
}
